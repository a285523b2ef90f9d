"""redis/redis-py#3056: a connection that fails inside the blocking pool waits for its own lock.

Users share a pool of two connections. The server is short of memory and hangs up after a few
commands; a command that fails is tried again.
"""

import asyncio
import random

import redis.asyncio as redis

HOST, PORT = "127.0.0.1", 6379


async def keys(reader, writer):
    """Answers some commands with OK and hangs up, now and then before the first one."""
    try:
        for _ in range(random.randint(0, 6)):
            words, count = [], await reader.readuntil(b"\r\n")
            for _ in range(int(count[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2])
            await asyncio.sleep(random.uniform(0, 0.002))
            writer.write(b"+OK\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def user(client, number):
    """Sets eight keys, and tries again as long as the connection fails."""
    for entry in range(8):
        while True:
            try:
                await client.set(f"{number}:{entry}", "1")
                break
            except redis.ConnectionError:
                await asyncio.sleep(0.001)


async def main():
    """Four users, two connections."""
    server = await asyncio.start_server(keys, HOST, PORT)
    pool = redis.BlockingConnectionPool(host=HOST, port=PORT, max_connections=2, timeout=None)
    client = redis.Redis.from_pool(pool)
    await asyncio.gather(*[user(client, number) for number in range(4)])
    await client.aclose()
    await asyncio.sleep(1)  # the server sees that everybody has gone
    server.close()
