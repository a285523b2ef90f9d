"""One connection behind a lock: a sync uses it again and again, requests have a deadline."""

import random

import anyio

import toron


async def synchronize(lock, done):
    for part in range(8):
        async with lock:
            await anyio.sleep(random.uniform(0.01, 0.04))
        done.append(part)


async def request(lock, number, answered):
    await anyio.sleep(0.04 * number)
    with anyio.move_on_after(0.02):
        async with lock:
            await anyio.sleep(0.005)
            answered.append(number)


@toron.kernel
async def main():
    lock = anyio.Lock()
    done, answered = [], []
    async with anyio.create_task_group() as group:
        group.start_soon(synchronize, lock, done)
        for number in range(6):
            group.start_soon(request, lock, number, answered)
    assert done == list(range(8))
    return sorted(answered)
