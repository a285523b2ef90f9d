"""agronholm/anyio#1250: closing a stream trips when its last bytes leave in that very moment.

Reporters send what they have to an archive and close.
"""

import asyncio
import random

import anyio

HOST, PORT = "127.0.0.1", 9000
PIECE = b"p" * 65_536


async def archive(reader, writer):
    """Reads, not quite as fast as they send."""
    try:
        while await reader.read(65_536):
            await asyncio.sleep(random.uniform(0, 0.0004))
    except ConnectionError:
        pass
    finally:
        writer.close()


async def reporter(number):
    """Two reports, each sent for as long as there is time, and then the connection is closed."""
    for _ in range(2):
        stream = await anyio.connect_tcp(HOST, PORT)
        with anyio.move_on_after(random.uniform(0.001, 0.003)):
            while True:
                await stream.send(PIECE)
        await stream.aclose()


async def main():
    """Four reporters."""
    server = await asyncio.start_server(archive, HOST, PORT)
    async with anyio.create_task_group() as reporters:
        for number in range(4):
            reporters.start_soon(reporter, number)
    await asyncio.sleep(1)
    server.close()
