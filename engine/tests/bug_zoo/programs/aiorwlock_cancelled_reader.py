"""A routing table behind a readers-writer lock: lookups have a deadline, updates have none."""

import asyncio
import random

import aiorwlock

import toron


async def look_up(lock, table, name):
    await asyncio.sleep(random.uniform(0, 0.2))
    try:
        async with asyncio.timeout(random.uniform(0.01, 0.06)), lock.reader:
            await asyncio.sleep(random.uniform(0, 0.01))
            return table.get(name)
    except TimeoutError:
        return None


async def update(lock, table, name):
    await asyncio.sleep(random.uniform(0, 0.1))
    async with lock.writer:
        await asyncio.sleep(random.uniform(0.01, 0.05))
        table[name] = len(table)


@toron.kernel
async def main():
    lock, table = aiorwlock.RWLock(), {}
    names = ["a", "b", "c", "d"]
    lookups = [look_up(lock, table, random.choice(names)) for _ in range(8)]
    await asyncio.gather(*lookups, *(update(lock, table, name) for name in names))
    return sorted(table)
