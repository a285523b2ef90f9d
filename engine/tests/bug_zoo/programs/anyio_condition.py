"""One connection behind a Condition; bursts of users, of whom some give up waiting for it."""

import math
import random

import anyio

import toron


class Pool:
    def __init__(self):
        self.free = ["connection"]
        self.changed = anyio.Condition()

    async def take(self):
        async with self.changed:
            while not self.free:
                await self.changed.wait()
            return self.free.pop()

    async def give_back(self, connection):
        async with self.changed:
            self.free.append(connection)
            self.changed.notify()
            await anyio.sleep(0.002)  # write the journal


async def user(pool, patience_s, served):
    await anyio.sleep(random.choice([0, 0.005]))
    connection = None
    with anyio.move_on_after(patience_s):
        connection = await pool.take()
    if connection is not None:
        await anyio.sleep(0.005 * random.randint(1, 4))
        await pool.give_back(connection)
        served.append(patience_s)


@toron.kernel
async def main():
    pool, served = Pool(), []
    for _ in range(3):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(user, pool, 0.01 * random.randint(1, 5), served)
            group.start_soon(user, pool, math.inf, served)
    assert served.count(math.inf) == 3
