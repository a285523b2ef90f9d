"""A limit on concurrent uploads; small ones are given up when no slot is free in time."""

import random

import anyio

import toron


async def big_upload(limiter, uploaded):
    async with limiter:
        await anyio.sleep(0.02)
        uploaded.append("big")


async def small_upload(limiter, number, uploaded):
    await anyio.sleep(0.01 * number)
    with anyio.move_on_after(0.01):
        async with limiter:
            await anyio.sleep(0.001)
            uploaded.append("small")


@toron.kernel
async def main():
    limiter, uploaded = anyio.CapacityLimiter(1), []
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(small_upload, limiter, number, uploaded)
        for _ in range(3):
            group.start_soon(big_upload, limiter, uploaded)
            await anyio.sleep(random.uniform(0, 0.01))
    assert uploaded.count("big") == 3
