"""Programs with threads of their own, and with those of pools."""

import asyncio
import concurrent.futures
import contextlib
import itertools
import logging
import queue
import threading
import time

import toron


async def jobs_of_the_default_executor():
    loop = asyncio.get_running_loop()

    def job(number):
        time.sleep(number * 0.1)
        return number

    return await asyncio.gather(*[loop.run_in_executor(None, job, n) for n in range(5)])


async def a_worker_with_a_queue():
    jobs, done = queue.Queue(maxsize=2), []

    def work():
        while (job := jobs.get()) is not None:
            done.append(job)
            jobs.task_done()

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    for job in range(6):
        jobs.put(job)
    jobs.join()
    jobs.put(None)
    worker.join()
    return [done, worker.is_alive()]


async def a_lost_update():
    total, lock = 0, threading.Lock()

    def add():
        nonlocal total
        for _ in range(3):
            with lock:
                seen = total
            with lock:
                total = seen + 1

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


async def a_job_that_waits_for_the_loop():
    loop = asyncio.get_running_loop()

    async def answer():
        await asyncio.sleep(2)
        return "from the loop"

    def ask():
        return asyncio.run_coroutine_threadsafe(answer(), loop).result()

    return await asyncio.to_thread(ask)


async def a_loop_in_a_thread():
    async def inner():
        await asyncio.sleep(5)
        reader, writer = await asyncio.open_connection("127.0.0.1", 9000)
        writer.write(b"hello\n")
        line = await reader.readline()
        writer.close()
        return line.decode()

    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 9000)
    async with server:
        return await asyncio.to_thread(asyncio.run, inner())


async def waits_that_time_out():
    started = time.monotonic()
    lock = threading.Lock()
    lock.acquire()
    found = [
        lock.acquire(timeout=1.5),
        threading.Event().wait(2),
        threading.Condition().acquire(),
        threading.Semaphore(0).acquire(timeout=0.5),
    ]
    with contextlib.suppress(queue.Empty):
        queue.Queue().get(timeout=1)
    return [found, round(time.monotonic() - started, 3)]


async def a_timer_and_a_barrier():
    barrier, order = threading.Barrier(3), []

    def meet(name):
        time.sleep(len(name))
        barrier.wait()
        order.append(name)

    threads = [threading.Timer(1, meet, [name]) for name in ("a", "bb")]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    await asyncio.to_thread(barrier.wait)
    for thread in threads:
        thread.join()
    return [sorted(order), round(time.monotonic() - started)]


async def two_locks_in_opposite_order():
    first, second = threading.Lock(), threading.Lock()

    def one():
        with first:
            time.sleep(1)
            with second:  # ONE
                pass

    def other():
        with second:
            time.sleep(1)
            with first:  # OTHER
                pass

    threads = [threading.Thread(target=work) for work in (one, other)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(threads[0].join)


async def an_exception_in_a_thread():
    def fail():
        raise RuntimeError("nobody looks")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


async def a_pool_that_logs():
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    log = logging.getLogger("pool")
    log.addHandler(Keep())
    log.propagate = False
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        futures = [pool.submit(log.warning, "job %d", n) for n in range(9)]
        await asyncio.gather(*map(asyncio.wrap_future, futures))
    return lines


async def names_and_idents():
    seen = []

    def look():
        current = threading.current_thread()
        seen.append([current.name, current.ident, threading.get_ident(), current.native_id])

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    main = threading.main_thread()
    return [seen, main is threading.current_thread(), main.ident == threading.get_ident()]


@toron.kernel
async def a_host_that_loses_power(world):
    done = []

    async def serve():
        def work():
            while True:
                time.sleep(1)
                done.append(world.now)

        await asyncio.to_thread(work)

    db = world.host("db")
    db.spawn(serve)
    await world.sleep(3.5)
    db.crash()
    counted = len(done)
    await world.sleep(5)
    assert len(done) == counted == 3
    db.restart()
    await world.sleep(2.5)
    world.record("done", len(done))


@toron.kernel
async def a_lock_that_the_dead_held(world):
    shared = threading.Lock()

    async def hold():
        def work():
            with shared:
                time.sleep(100)

        await asyncio.to_thread(work)

    db = world.host("db")
    db.spawn(hold)
    await world.sleep(1)
    db.crash()
    world.record("free", await asyncio.to_thread(shared.acquire, True, 5))


@toron.kernel
async def a_host_that_is_paused_in_a_thread(world):
    ticks = []

    async def serve():
        def work():
            while True:
                time.sleep(0.01)
                ticks.append(world.now)

        await asyncio.to_thread(work)

    world.host("db").spawn(serve)
    world.faults(pauses=True, hosts=["db"], within=5)
    await world.quiet()
    gaps = [after - before for before, after in itertools.pairwise(ticks)]
    world.record("longest", max(gaps))


@toron.kernel
async def a_property_that_expires_in_a_thread(world):
    async def serve():
        def work():
            while True:
                time.sleep(0.01)

        await asyncio.to_thread(work)

    world.host("db").spawn(serve)
    world.eventually("it never holds", lambda: False, within=1)
    await world.sleep(5)


@toron.kernel
async def what_dies_with_its_thread(world):
    own = threading.local()
    log = []
    lock = threading.Lock()

    class Slow:
        """Takes real time to be destroyed, and waits for a lock meanwhile, as a connection may."""

        def __init__(self, name):
            self.name = name

        def __del__(self):
            sum(range(2_000_000))
            with lock:
                log.append(f"{self.name} is gone")

    def work(_argument):
        own.slow = Slow("a thread-local")

    for number in range(3):
        thread = threading.Thread(target=work, args=(Slow("an argument"),))
        thread.start()
        await world.sleep(1)
        log.append(f"after thread {number}")
    world.record("result", log)
