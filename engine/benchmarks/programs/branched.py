"""Worlds to branch: each takes more than a second of CPU time to run from its start to its end.

What differs is what a fork has to share: a network of many hosts, tasks and queues without any
network, and a world that has filled its memory.
"""

from __future__ import annotations

import asyncio
import random

import toron

NETWORK_S, TASKS_S, MEMORY_S = 80, 50, 100
STORE: dict[str, list[object]] = {}


async def _replica(names: list[str], own: str, log: list[str]) -> None:
    """Answers pings of the others, and pings one of them again and again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(random.random() * 0.005)
            writer.write(b"ack " + line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, own, 7000)
    await asyncio.sleep(0.2)
    streams = {name: await asyncio.open_connection(name, 7000) for name in names if name != own}
    async with server:
        number = 0
        while True:
            peer = random.choice(sorted(streams))
            reader, writer = streams[peer]
            writer.write(f"{own} {number}\n".encode())
            log.append((await asyncio.wait_for(reader.readline(), 10)).decode())
            number += 1
            await asyncio.sleep(random.uniform(0.02, 0.08))


@toron.kernel(time_limit=1_000)
async def network(world: toron.World) -> None:
    """Eight hosts that talk over TCP."""
    names = [f"n{number}" for number in range(8)]
    log: list[str] = []
    hosts = [world.host(name) for name in names]
    for a in names:
        for b in names:
            if a < b:
                world.net.link(a, b, latency=(0.001, 0.020))
    for host in hosts:
        host.spawn(_replica, names, host.name, log)
    await world.sleep(NETWORK_S)
    world.record("acknowledged", len(log))


@toron.kernel(time_limit=1_000)
async def tasks(world: toron.World) -> None:
    """Producers, consumers and a lock; no network."""
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=20)
    lock = asyncio.Lock()
    total = 0

    async def produce(number: int) -> None:
        while True:
            await queue.put(number)
            await asyncio.sleep(random.uniform(0.01, 0.05))

    async def consume() -> None:
        nonlocal total
        while True:
            value = await queue.get()
            async with lock:
                await asyncio.sleep(0)
                total += value

    running = [asyncio.create_task(produce(number)) for number in range(30)]
    running += [asyncio.create_task(consume()) for _ in range(10)]
    await world.sleep(TASKS_S)
    for task in running:
        task.cancel()
    world.record("total", total)


@toron.kernel(time_limit=1_000)
async def memory(world: toron.World) -> None:
    """A store with three hundred thousand entries, a few of which change all the time."""
    STORE.update({f"key-{number}": [number, str(number)] for number in range(300_000)})
    changes = 0

    async def change() -> None:
        nonlocal changes
        while True:
            STORE[f"key-{random.randrange(len(STORE))}"][0] = changes
            changes += 1
            await asyncio.sleep(random.uniform(0.01, 0.05))

    running = [asyncio.create_task(change()) for _ in range(20)]
    await world.sleep(MEMORY_S)
    for task in running:
        task.cancel()
    world.record("changes", changes)


class _Pool:
    """One connection behind a Condition, as in the zoo; CPython 3.11 and 3.12 lose a wake-up."""

    def __init__(self) -> None:
        self.free = ["connection"]
        self.changed = asyncio.Condition()

    async def take(self) -> str:
        async with self.changed:
            while not self.free:
                await self.changed.wait()
            return self.free.pop()

    async def give_back(self, connection: str) -> None:
        async with self.changed:
            self.free.append(connection)
            self.changed.notify()
            await asyncio.sleep(0.002)


async def _use(pool: _Pool, patience_s: float | None) -> str:
    await asyncio.sleep(random.uniform(0, 0.01))
    try:
        async with asyncio.timeout(patience_s):
            connection = await pool.take()
    except TimeoutError:
        return "gave up"
    await asyncio.sleep(random.uniform(0.01, 0.03))
    await pool.give_back(connection)
    return "served"


@toron.kernel(time_limit=1_000)
async def bug_after_warm_up(world: toron.World) -> None:
    """Five hosts find each other and talk for a while; then there is one burst for the pool."""
    names = [f"n{number}" for number in range(5)]
    log: list[str] = []
    for name in names:
        world.host(name).spawn(_replica, names, name, log)
    await world.sleep(20)
    pool = _Pool()
    impatient = [_use(pool, random.uniform(0.01, 0.05)) for _ in range(3)]
    async with asyncio.timeout(2):  # the hosts talk on: nobody else would notice a lost wake-up
        answers = await asyncio.gather(*impatient, _use(pool, None))
    assert answers[-1] == "served"
