"""Threads of the standard library beside the loop: pools, locks, conditions, timers, locals."""

import asyncio
import concurrent.futures
import queue
import threading


async def main():
    loop, local, lock, total = asyncio.get_running_loop(), threading.local(), threading.Lock(), [0]

    def add(number):
        local.value = number
        for _ in range(100):
            with lock:
                total[0] += 1
        return local.value

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        added = await asyncio.gather(*(loop.run_in_executor(pool, add, n) for n in range(8)))
    events, ready = queue.Queue(), threading.Event()

    def wait():
        events.put("waiting")
        ready.wait(5)
        events.put("ready")
        loop.call_soon_threadsafe(done.set_result, "from a thread")

    done = loop.create_future()
    thread = threading.Thread(target=wait)
    thread.start()
    first = await asyncio.to_thread(events.get)
    ready.set()
    answer = await done
    await asyncio.to_thread(thread.join)
    coroutine = asyncio.to_thread(
        lambda: asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01, "slept"), loop).result(5)
    )
    found = [added, total[0], first, events.get_nowait(), answer, await coroutine]
    assert found == [list(range(8)), 800, "waiting", "ready", "from a thread", "slept"]
    return found
