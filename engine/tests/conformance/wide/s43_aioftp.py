"""aioftp: a server on a memory file system, a client that writes, lists and reads."""

import asyncio

import aioftp


async def main():
    users = [aioftp.User("ann", "secret", home_path="/")]
    server = aioftp.Server(users, path_io_factory=aioftp.MemoryPathIO)
    await server.start("127.0.0.1", 0)
    port = server.server.sockets[0].getsockname()[1]
    async with aioftp.Client.context("127.0.0.1", port, "ann", "secret") as client:
        await client.make_directory("tea")
        async with client.upload_stream("tea/menu.txt") as stream:
            await stream.write(b"green\nblack\n" * 100)
        names = [str(path) for path, _ in await client.list("tea")]
        async with client.download_stream("tea/menu.txt") as stream:
            size = sum([len(block) async for block in stream.iter_by_block()])
    try:
        async with aioftp.Client.context("127.0.0.1", port, "ann", "wrong"):
            pass
    except aioftp.StatusCodeError as error:
        denied = str(error.received_codes[-1])
    await server.close()
    await asyncio.sleep(0)
    assert (names, size, denied) == (["tea/menu.txt"], 1200, "530")
    return [names, size, denied]
