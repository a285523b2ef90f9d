"""aiofiles: write, append, read by lines, seek, a temporary folder."""

import aiofiles
import aiofiles.os
import aiofiles.tempfile


async def main():
    async with aiofiles.tempfile.TemporaryDirectory() as folder:
        name = f"{folder}/notes.txt"
        async with aiofiles.open(name, "w") as file:
            await file.write("one\ntwo\n")
        async with aiofiles.open(name, "a") as file:
            await file.write("three\n")
        async with aiofiles.open(name) as file:
            lines = [line.strip() async for line in file]
            await file.seek(4)
            rest = await file.read(3)
        await aiofiles.os.rename(name, f"{folder}/renamed.txt")
        names = await aiofiles.os.listdir(folder)
        size = (await aiofiles.os.stat(f"{folder}/renamed.txt")).st_size
    assert (lines, rest, names, size) == (["one", "two", "three"], "two", ["renamed.txt"], 14)
    return [lines, rest, names, size]
