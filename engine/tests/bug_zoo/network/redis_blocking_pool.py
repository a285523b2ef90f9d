"""redis/redis-py#3056: a connection that fails inside the blocking pool waits for its own lock.

Users share a pool of two connections. The server starts late and refuses whom it has no room for.
"""

import asyncio
import random

import redis.asyncio as redis

HOST, PORT = "127.0.0.1", 6379


async def keys(reader, writer):
    """Answers every command with OK; hangs up on a new connection now and then."""
    try:
        if random.random() < 0.2:
            return
        while count := await reader.readline():
            words = []
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
    """Sets four keys, and tries again as long as the connection fails."""
    for entry in range(4):
        while True:
            try:
                await client.set(f"{number}:{entry}", "1")
                break
            except redis.ConnectionError:
                await asyncio.sleep(0.001)


async def main():
    """Four users, two connections."""
    server = await asyncio.start_server(keys, HOST, PORT)
    pool = redis.BlockingConnectionPool(host=HOST, port=PORT, max_connections=2, timeout=60)
    client = redis.Redis.from_pool(pool)
    async with asyncio.timeout(50):
        await asyncio.gather(*[user(client, number) for number in range(4)])
    await client.aclose()
    server.close()
