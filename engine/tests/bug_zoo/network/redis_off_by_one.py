"""redis/redis-py#2665: a command that is cancelled leaves its answer to the next command.

Users look up their entries through one client, each with little patience. What a user gets must be
the user's.
"""

import asyncio
import random

import redis.asyncio as redis

HOST, PORT = "127.0.0.1", 6379


async def keys(reader, writer):
    """A server of one command: GET KEY answers `value of KEY`, after up to a second."""
    try:
        while count := await reader.readline():
            words = []
            for _ in range(int(count[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2])
            await asyncio.sleep(random.uniform(0.1, 1.0))
            value = b"value of " + words[-1]
            writer.write(b"$%d\r\n%s\r\n" % (len(value), value))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def user(client, number):
    """Looks up three entries, each for at most 0.9 seconds."""
    for entry in range(3):
        try:
            async with asyncio.timeout(0.9):
                value = await client.get(f"{number}:{entry}")
        except TimeoutError:
            continue
        assert value == b"value of %d:%d" % (number, entry), value


async def main():
    """Three users share the connections of one client."""
    server = await asyncio.start_server(keys, HOST, PORT)
    client = redis.Redis(host=HOST, port=PORT)
    await asyncio.gather(*[user(client, number) for number in range(3)])
    await client.close()
    await asyncio.sleep(1)  # the server sees that everybody has gone
    server.close()
