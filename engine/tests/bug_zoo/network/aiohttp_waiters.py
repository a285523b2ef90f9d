"""aio-libs/aiohttp#9670: who gives up in the queue for a connection keeps the turn of the next.

Impatient users and a nightly job share a connector of one connection.
"""

import asyncio
import random

import aiohttp

HOST, PORT = "127.0.0.1", 8080


async def answer(reader, writer):
    """A server that takes up to a second for a request."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(random.uniform(0.1, 1.0))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def page(session):
    """One request."""
    async with session.get(f"http://{HOST}:{PORT}/") as response:
        assert await response.text() == "ok"


async def user(session):
    """Asks for a page, for at most 0.8 seconds."""
    try:
        async with asyncio.timeout(0.8):
            await page(session)
    except TimeoutError:
        pass


async def job(session):
    """Asks for three pages, as long as it takes."""
    for _ in range(3):
        await page(session)


async def visitor(session, number):
    """Comes later, asks once and is patient."""
    await asyncio.sleep(5 * number)
    await page(session)


async def share(*what):
    """All of them with one connection between them."""
    server = await asyncio.start_server(answer, HOST, PORT)
    connector = aiohttp.TCPConnector(limit=1)
    patient = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=patient) as session:
        await asyncio.gather(*[who(session, *more) for who, *more in what])
    await asyncio.sleep(1)  # the server sees that everybody has gone
    server.close()


async def main():
    """The job waits behind four users; later others come and go."""
    await share(*[(user,)] * 4, (job,), *[(visitor, number) for number in range(1, 4)])


async def nobody_comes_after():
    """The job waits behind four users, and nobody comes after it."""
    await share(*[(user,)] * 4, (job,))


async def nobody_gives_up():
    """The same without the impatience."""
    await share(*[(page,)] * 4, (job,))
