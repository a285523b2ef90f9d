"""A journal in SQLite with slow queries; whoever waits too long for an answer gives up."""

import asyncio
import random
import time

import aiosqlite

import toron


def score(number):
    time.sleep(0.001)
    return number * number


async def ask(connection, number):
    await asyncio.sleep(random.uniform(0, 0.05))
    try:
        async with asyncio.timeout(random.uniform(0.005, 0.03)):
            cursor = await connection.execute("SELECT sum(score(id)) FROM journal")
            return number, (await cursor.fetchone())[0]
    except TimeoutError:
        return number, None


@toron.kernel
async def main():
    async with aiosqlite.connect(":memory:") as connection:
        await connection.create_function("score", 1, score)
        await connection.execute("CREATE TABLE journal (id INTEGER)")
        await connection.executemany("INSERT INTO journal VALUES (?)", [(n,) for n in range(5)])
        await asyncio.gather(*(ask(connection, number) for number in range(6)))
