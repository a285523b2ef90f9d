"""One connection behind a Condition; bursts of users, of whom some give up waiting for it."""

import asyncio
import random

import toron


class Pool:
    def __init__(self, journal_s):
        self.free = ["connection"]
        self.changed = asyncio.Condition()
        self.journal_s = journal_s

    async def take(self):
        async with self.changed:
            while not self.free:
                await self.changed.wait()
            return self.free.pop()

    async def give_back(self, connection):
        async with self.changed:
            self.free.append(connection)
            self.changed.notify()
            if self.journal_s:
                await asyncio.sleep(self.journal_s)


async def user(pool, patience_s):
    await asyncio.sleep(random.choice([0, 0.005]))
    try:
        async with asyncio.timeout(patience_s):
            connection = await pool.take()
    except TimeoutError:
        return "gave up"
    await asyncio.sleep(0.005 * random.randint(1, 4))
    await pool.give_back(connection)
    return "served"


async def bursts(pool):
    for _ in range(3):
        impatient = [user(pool, 0.01 * random.randint(1, 5)) for _ in range(3)]
        answers = await asyncio.gather(*impatient, user(pool, None))
        assert answers[-1] == "served"


@toron.kernel
async def main():
    """The lock is held until a journal was written: who was notified may give up meanwhile."""
    await bursts(Pool(0.002))


@toron.kernel
async def quick():
    """Nothing takes time under the lock: only a deadline in the tick of a notification loses it."""
    await bursts(Pool(0))
