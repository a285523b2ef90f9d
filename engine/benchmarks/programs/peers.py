"""The programs of `against_peers`: plain asyncio, the same file for every engine.

Each says how many operations it did. `localhost` and a fixed port, because not every engine knows
more than that.
"""

import asyncio

CLIENTS, REQUESTS = 20, 250
HOST, PORT = "127.0.0.1", 9000


async def round_trips():
    """A line to a stream server and a line back."""

    async def answer(reader, writer):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    async def ask():
        reader, writer = await asyncio.open_connection(HOST, PORT)
        for _ in range(REQUESTS):
            writer.write(b"x" * 99 + b"\n")
            await writer.drain()
            assert len(await reader.readline()) == 100
        writer.close()

    server = await asyncio.start_server(answer, HOST, PORT)
    await asyncio.gather(*[ask() for _ in range(CLIENTS)])
    await asyncio.sleep(0.1)  # the last handlers see the end of their streams
    server.close()
    return CLIENTS * REQUESTS


async def switches():
    """A task gives way to others."""

    async def spin():
        for _ in range(300):
            await asyncio.sleep(0)

    await asyncio.gather(*[spin() for _ in range(100)])
    return 100 * 300


async def timers():
    """A task sleeps; stock asyncio waits for real, which costs time and no processor."""

    async def tick(number):
        for step in range(20):
            await asyncio.sleep(0.001 + (number * 7 + step) % 13 / 10_000)

    await asyncio.gather(*[tick(number) for number in range(500)])
    return 500 * 20


async def queues():
    """An item goes through a bounded queue."""
    queue = asyncio.Queue(maxsize=10)

    async def produce():
        for number in range(20_000):
            await queue.put(number)

    async def consume():
        for _ in range(20_000):
            await queue.get()

    await asyncio.gather(produce(), consume())
    return 20_000
