"""asyncio alone: queues, a task group that fails, a semaphore, a barrier, a timeout that moves."""

import asyncio


async def main():
    queue, taken = asyncio.PriorityQueue(maxsize=2), []

    async def consume():
        while (item := await queue.get()) is not None and item[0] < 100:
            taken.append(item[1])
            queue.task_done()

    async with asyncio.TaskGroup() as group:
        group.create_task(consume())
        for number in (3, 1, 2):
            await queue.put((number, f"item {number}"))
        await queue.put((100, ""))
    failed = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(100))
            group.create_task(asyncio.wait_for(asyncio.sleep(100), 0.01))
    except* TimeoutError as errors:
        failed = [type(error).__name__ for error in errors.exceptions]
    barrier = asyncio.Barrier(3)
    places = await asyncio.gather(*(barrier.wait() for _ in range(3)))
    async with asyncio.timeout(0.01) as scope:
        scope.reschedule(asyncio.get_running_loop().time() + 10)
        await asyncio.sleep(0.05)
    assert sorted(taken) == ["item 1", "item 2", "item 3"]
    return [sorted(taken), failed, sorted(places)]
