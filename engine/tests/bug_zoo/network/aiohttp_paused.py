"""aio-libs/aiohttp#10169: a connection comes back to the pool while reading from it is paused.

A copier downloads files, and uploads each part where it found a picture before it reads on.
"""

import asyncio
import random

import aiohttp

HOST, PORT = "127.0.0.1", 8080
PART = b"p" * 16_384
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


async def answer(reader, writer):
    """Sends a file of some parts for a GET, nothing for a POST."""
    try:
        while True:
            asked = await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.0005)
            parts = random.randint(1, 20) if asked.startswith(b"GET") else 0
            writer.write(HEAD % (parts * len(PART)))
            for _ in range(parts):
                writer.write(PART)
                await writer.drain()
                if random.random() < 0.2:
                    await asyncio.sleep(0.0005)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def copy(session):
    """Reads one file, and tells the server of some parts."""
    async with session.get(f"http://{HOST}:{PORT}/") as response:
        async for _ in response.content.iter_chunked(len(PART)):
            if random.random() < 0.3:
                async with session.post(f"http://{HOST}:{PORT}/pictures") as told:
                    assert told.status == 200


async def main():
    """Four files."""
    server = await asyncio.start_server(answer, HOST, PORT)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        for _ in range(4):
            await copy(session)
    await asyncio.sleep(1)  # the server sees that it has gone
    server.close()
