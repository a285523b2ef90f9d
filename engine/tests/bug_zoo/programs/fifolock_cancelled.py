"""Files that are read together and rewritten alone; a read that takes too long is given up."""

import asyncio
import random

import fifolock

import toron


class Read(asyncio.Future):
    @staticmethod
    def is_compatible(holds):
        return not holds[Write]


class Write(asyncio.Future):
    @staticmethod
    def is_compatible(holds):
        return not holds[Read] and not holds[Write]


async def read(lock, seen):
    await asyncio.sleep(0.005 * random.randint(0, 10))
    try:
        async with asyncio.timeout(0.005 * random.randint(1, 3)), lock(Read):
            await asyncio.sleep(0.005)
            seen.append("read")
    except TimeoutError:
        seen.append("gave up")


async def write(lock, seen):
    await asyncio.sleep(0.005 * random.randint(0, 10))
    async with lock(Write):
        await asyncio.sleep(0.01)
        seen.append("wrote")


@toron.kernel
async def main():
    lock, seen = fifolock.FifoLock(), []
    await asyncio.gather(
        *(read(lock, seen) for _ in range(8)), *(write(lock, seen) for _ in "abcde")
    )
    assert seen.count("wrote") == 5
