"""Two slots for requests; a prefetcher takes one whenever it is free, and never waits for it."""

import random

import anyio

import toron


async def request(limiter):
    await anyio.sleep(random.uniform(0, 0.1))
    async with limiter:
        await anyio.sleep(random.uniform(0.01, 0.02))


async def prefetch(limiter):
    pages = 0
    while pages < 10:
        try:
            limiter.acquire_nowait()
        except anyio.WouldBlock:
            await anyio.sleep(0.005)
            continue
        try:
            await anyio.sleep(random.uniform(0.001, 0.01))
            pages += 1
        finally:
            limiter.release()
        if random.random() < 0.5:
            await anyio.sleep(0.005)


@toron.kernel
async def main(world):
    limiter = anyio.CapacityLimiter(2)
    world.always("no more tokens than there are", lambda: limiter.borrowed_tokens <= 2)
    async with anyio.create_task_group() as group:
        group.start_soon(prefetch, limiter)
        for _ in range(8):
            group.start_soon(request, limiter)
