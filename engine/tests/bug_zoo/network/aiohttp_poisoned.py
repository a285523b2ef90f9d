"""aio-libs/aiohttp#12953: the read timeout of an answer runs on in the pool and spoils the next.

A poller asks a quick server for news, now and then; two seconds without an answer are too long.
"""

import asyncio
import random

import aiohttp

HOST, PORT = "127.0.0.1", 8080
NEWS = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnews"


async def answer(reader, writer):
    """Answers within a tenth of a second, and keeps the connection."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(random.uniform(0, 0.1))
            writer.write(NEWS)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    """Five polls."""
    server = await asyncio.start_server(answer, HOST, PORT)
    quick = aiohttp.ClientTimeout(total=None, sock_read=2)
    async with aiohttp.ClientSession(timeout=quick) as session:
        for _ in range(5):
            async with session.get(f"http://{HOST}:{PORT}/") as response:
                assert await response.text() == "news"
            await asyncio.sleep(random.uniform(0, 2.5))
    await asyncio.sleep(1)  # the server sees that it has gone
    server.close()
