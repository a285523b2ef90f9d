"""Hosts with their own clocks and signals, paused, killed and stopped."""

import asyncio
import signal
import time
from datetime import UTC, datetime

import toron


@toron.kernel
async def clocks_that_jump(world):
    db = world.host("db")
    seen = []

    async def look():
        while True:
            seen.append((round(time.time() - 1_767_225_600, 3), round(time.monotonic() - 1_000, 3)))
            await asyncio.sleep(1)

    db.spawn(look)
    await world.sleep(1.5)
    db.clock.jump(-3600)
    await world.sleep(1)
    db.clock.jump(10, monotonic=True)
    await world.sleep(2)
    world.record("seen", seen)
    world.record("true", round(time.time() - 1_767_225_600, 3))


@toron.kernel
async def a_clock_that_drifts(world):
    db, woken = world.host("db"), []

    async def tick():
        for _ in range(4):
            await asyncio.sleep(1)
            woken.append(round(world.now, 3))

    task = db.spawn(tick)
    await world.sleep(0.5)
    db.clock.drift(0.25)
    await task
    started = world.now
    db.spawn(sleep_in_a_thread)
    world.record("woken", woken)
    world.record("started", started)


async def sleep_in_a_thread():
    await asyncio.to_thread(time.sleep, 10)


@toron.kernel
async def a_date_of_its_own(world):
    async def today():
        return datetime.now(UTC).date().isoformat()

    db = world.host("db")
    db.clock.set_offset(86_400 * 40)
    world.record("db", await db.spawn(today))
    world.record("main", await today())


@toron.kernel
async def a_pause(world):
    db, seen = world.host("db"), []

    async def tick():
        while True:
            seen.append(round(world.now))
            await asyncio.sleep(1)

    db.spawn(tick)
    await world.sleep(2.5)
    db.pause()
    await world.sleep(10)
    db.resume()
    await world.sleep(2)
    world.record("seen", seen)


@toron.kernel
async def a_peer_of_a_paused_host(world):
    async def serve():
        async def answer(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        await (await asyncio.start_server(answer, "0.0.0.0", 9000)).serve_forever()

    db = world.host("db")
    db.spawn(serve)
    await world.sleep(1)
    reader, writer = await asyncio.open_connection("db", 9000)
    db.pause()
    writer.write(b"hello\n")
    started = world.now
    try:
        await asyncio.wait_for(reader.readline(), 5)
    except TimeoutError:
        world.record("timed out", True)
    db.resume()
    world.record("line", (await reader.readline()).decode())
    world.record("waited", round(world.now - started))
    writer.close()


@toron.kernel
async def a_kill(world):
    cleaned = []

    async def serve():
        async def answer(reader, writer):
            try:
                await reader.read()
            finally:
                cleaned.append("finally")

        await (await asyncio.start_server(answer, "0.0.0.0", 9000)).serve_forever()

    db = world.host("db")
    db.spawn(serve)
    await world.sleep(1)
    reader, writer = await asyncio.open_connection("db", 9000)
    await world.sleep(1)
    db.kill()
    world.record("end", (await reader.read()).decode())
    writer.close()
    try:
        await asyncio.open_connection("db", 9000)
    except OSError as error:
        world.record("refused", type(error).__name__)
    world.record("cleaned", cleaned)
    world.record("up", db.up)


@toron.kernel
async def a_graceful_stop(world):
    events = []

    async def serve():
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        events.append("stopping")
        await asyncio.sleep(2)
        events.append("stopped")

    async def careless():
        await asyncio.sleep(1000)

    good, bad = world.host("good"), world.host("bad")
    good.spawn(serve)
    bad.spawn(careless)
    await world.sleep(1)
    world.record("good", await good.stop())
    world.record("bad", await bad.stop())
    world.record("events", events)
    world.record("up", [good.up, bad.up])


@toron.kernel
async def handlers_by_host(world):
    seen = []

    async def listen(name):
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append((name, number)))
        await asyncio.sleep(1000)

    a, b = world.host("a"), world.host("b")
    a.spawn(listen, "a")
    b.spawn(listen, "b")
    await world.sleep(1)
    b.signal(signal.SIGUSR1)
    await world.sleep(1)
    world.record("seen", seen)
    world.record("own", signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL)


@toron.kernel
async def an_interrupt(world):
    events = []

    async def serve():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    db = world.host("db")
    db.spawn(serve)
    await world.sleep(1)
    db.signal(signal.SIGINT)
    await world.sleep(1)
    world.record("events", events)


@toron.kernel
async def an_alarm(world):
    seen = []
    signal.signal(signal.SIGALRM, lambda number, frame: seen.append(round(world.now)))
    signal.alarm(5)
    await world.sleep(10)
    world.record("seen", seen)
