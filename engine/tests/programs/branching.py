"""Worlds to branch: what a fork must not lose, and what a branch must decide anew."""

import asyncio
import ctypes
import itertools
import os
import random
import secrets
import threading
import time
import uuid

import toron

FORKED = []
os.register_at_fork(after_in_child=lambda: FORKED.append(1))
OWN_GENERATOR = random.Random()


async def serve(host):
    async def answer(reader, writer):
        while line := await reader.readline():
            await asyncio.sleep(random.random() * 0.01)
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, 80)
    await server.serve_forever()


async def ask(number, host, heard):
    reader, writer = await asyncio.open_connection(host, 80)
    for count in itertools.count():
        writer.write(b"%d %d\n" % (number, count))
        heard.append((await reader.readline()).decode().strip())
        await asyncio.sleep(0.05)


@toron.kernel
async def over_the_network(world):
    heard = []
    world.host("db").spawn(serve, "db")
    world.net.link("app", "db", latency=(0.001, 0.05))
    await world.sleep(0.1)
    for number in range(3):
        world.host("app").spawn(ask, number, "db", heard)
    await world.sleep(4)
    world.record("heard", heard[-5:])


@toron.kernel
async def every_kind_of_chance(world):
    def draw():
        drawn = [str(uuid.uuid4()), secrets.token_hex(4), os.urandom(4).hex()]
        return [*drawn, random.random(), OWN_GENERATOR.random(), random.Random().random()]

    before = draw()
    await world.sleep(2)
    world.record("before", before)
    world.record("after", draw())


@toron.kernel
async def by_no_chance(world):
    for _ in range(10):
        await world.sleep(0.1)


@toron.kernel
async def that_looks_for_forks(world):
    known = os.getpid(), os.getppid(), threading.get_native_id(), asyncio.get_running_loop()
    await world.sleep(2)
    now = os.getpid(), os.getppid(), threading.get_native_id(), asyncio.get_running_loop()
    world.record("same process", known == now)
    world.record("own loop", asyncio.get_event_loop() is now[3])
    world.record("hooks", len(FORKED))


@toron.kernel
async def with_faults(world):
    hosts = [world.host(name) for name in ("a", "b", "c")]
    for host in hosts:
        host.spawn(serve, host.name)
    heard = []
    await world.sleep(0.1)
    world.faults(partitions=True, crashes=True, slow=True, pauses=True, within=20)
    hosts[0].spawn(ask, 1, "b", heard)
    hosts[2].spawn(ask, 2, "b", heard)
    await world.quiet()
    world.record("heard", len(heard))


@toron.kernel
async def on_disk(world):
    host = world.host("db")
    world.faults(crashes=True, disk=True, within=10)

    async def write():
        number = 0
        while True:
            with open("/log", "ab") as file:
                file.write(b"%d %d\n" % (number, random.randrange(1000)))
                if number % 3 == 0:
                    file.flush()
                    os.fsync(file.fileno())
            number += 1
            await asyncio.sleep(0.1)

    host.spawn(write)
    await world.quiet()
    world.record("log", host.disk.read("/log").decode("latin-1")[-60:])


@toron.kernel
async def in_threads(world):
    def work():
        time.sleep(random.random())
        return random.random()

    await world.sleep(0.5)
    drawn = [await asyncio.to_thread(work) for _ in range(3)]
    world.record("drawn", drawn)


@toron.kernel
async def that_waits_for_ever(world):
    await world.sleep(1)
    await asyncio.Event().wait()


@toron.kernel
async def that_dies_in_one_branch(world):
    await world.sleep(2)
    if random.random() < 0.4:
        ctypes.string_at(0)


@toron.kernel
async def that_hangs_in_one_branch(world):
    await world.sleep(2)
    while random.random() < 0.4:
        while True:  # HERE
            pass


@toron.kernel
async def that_is_slow(world):
    for _ in range(1_000_000):
        await world.sleep(0.01)


@toron.kernel
async def decided_by_a_draw(world):
    """Lost from 4.2 s on, and seen to be at 9 s."""
    await world.sleep(2)
    await asyncio.sleep(2.2)
    lost = random.random() < 0.5
    await asyncio.sleep(2)
    await world.sleep(2.8)
    assert not lost, "lost"


@toron.kernel
async def that_exits_in_one_branch(world):
    await world.sleep(2)
    if random.random() < 0.4:
        os._exit(0)


@toron.kernel
async def that_exits_in_the_end(world):
    await world.sleep(2)
    os._exit(0)
