"""Two printers behind a semaphore: a batch prints page after page, single pages have a deadline."""

import random

import anyio

import toron


async def print_batch(printers, printed):
    for _ in range(5):
        async with printers:
            await anyio.sleep(0.01 * random.randint(1, 3))
        printed.append("batch")


async def print_page(printers, number, printed):
    await anyio.sleep(0.02 * number)
    with anyio.move_on_after(0.02):
        async with printers:
            await anyio.sleep(0.005)
            printed.append("page")


@toron.kernel
async def main():
    printers, printed = anyio.Semaphore(1), []
    async with anyio.create_task_group() as group:
        group.start_soon(print_batch, printers, printed)
        for number in range(6):
            group.start_soon(print_page, printers, number, printed)
    assert printed.count("batch") == 5
