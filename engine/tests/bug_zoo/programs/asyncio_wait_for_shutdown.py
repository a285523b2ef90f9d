"""Workers on a short queue; a bad job must stop them all."""

import asyncio

import toron


async def worker(queue, handled):
    while True:
        try:
            job = await asyncio.wait_for(queue.get(), timeout=0.5)
        except TimeoutError:
            continue  # idle
        if job < 0:
            raise ValueError(job)
        await asyncio.sleep(0.01)
        handled.append(job)


async def produce(queue):
    for job in [1, 2, 3, 4, -1, 5, 6, 7]:
        await queue.put(job)


async def work(handled):
    queue = asyncio.Queue(maxsize=1)
    async with asyncio.TaskGroup() as group:
        group.create_task(produce(queue))
        for _ in range(3):
            group.create_task(worker(queue, handled))


@toron.kernel
async def main():
    working = asyncio.create_task(work([]))
    done, _ = await asyncio.wait({working}, timeout=30)
    assert working in done, "workers go on although one has failed"
    assert isinstance(working.exception(), ExceptionGroup)
