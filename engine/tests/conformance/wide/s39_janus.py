"""janus: a queue between a thread and the loop, in both directions."""

import asyncio

import janus


async def main():
    there, back = janus.Queue(maxsize=2), janus.Queue()

    def thread():
        total = 0
        while (item := there.sync_q.get()) is not None:
            total += item
            back.sync_q.put(item * 2)
            there.sync_q.task_done()
        return total

    job = asyncio.get_running_loop().run_in_executor(None, thread)
    for number in range(6):
        await there.async_q.put(number)
    doubled = [await back.async_q.get() for _ in range(6)]
    await there.async_q.put(None)
    total = await job
    await there.aclose()
    await back.aclose()
    assert (doubled, total) == ([0, 2, 4, 6, 8, 10], 15)
    return [doubled, total]
