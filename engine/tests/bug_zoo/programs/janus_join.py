"""Orders from asyncio to a thread; each sender waits until everything sent so far was handled."""

import asyncio
import random
import time

import janus

import toron


def handle(queue, handled):
    while (order := queue.get()) is not None:
        time.sleep(random.uniform(0, 0.003))
        handled.append(order)
        queue.task_done()
    queue.task_done()


async def send(queue, name):
    for number in range(5):
        await queue.put((name, number))
        await queue.join()
        await asyncio.sleep(random.uniform(0, 0.005))


@toron.kernel
async def main():
    queue = janus.Queue()
    handled = []
    handling = asyncio.create_task(asyncio.to_thread(handle, queue.sync_q, handled))
    await asyncio.gather(*(send(queue.async_q, name) for name in "abc"))
    assert len(handled) == 15
    await queue.async_q.put(None)
    await handling
    queue.close()
    await queue.wait_closed()
