"""Programs with one bug each, among much that has nothing to do with it."""

import asyncio
import random

import toron


async def idle() -> None:
    for _ in range(random.randrange(4)):
        await asyncio.sleep(0)


async def two_of_thirty() -> None:
    """Two tasks share a list, and thirty others do something else."""
    order: list[str] = []

    async def note(name: str) -> None:
        await asyncio.sleep(0)
        order.append(name)

    others = [asyncio.create_task(idle()) for _ in range(15)]
    pair = [asyncio.create_task(note(name)) for name in ("first", "second")]
    others += [asyncio.create_task(idle()) for _ in range(15)]
    await asyncio.gather(*pair, *others)
    assert order == ["first", "second"]


async def locks_in_two_orders() -> None:
    """Harmless as long as the one task has both before the other has any."""
    left, right = asyncio.Lock(), asyncio.Lock()

    async def take(first: asyncio.Lock, second: asyncio.Lock) -> None:
        async with first:
            await asyncio.sleep(0)
            async with second:
                await asyncio.sleep(0)

    async def late() -> None:
        await asyncio.sleep(0)
        await take(right, left)

    others = [asyncio.create_task(idle()) for _ in range(10)]
    await asyncio.gather(take(left, right), late(), *others)


async def deadline_in_the_tick_of_the_answer() -> None:
    """The answer is there and the deadline as well: who takes it away?"""
    answers: asyncio.Queue[str] = asyncio.Queue()
    taken: list[str] = []

    async def ask() -> None:
        try:
            async with asyncio.timeout(1.0):
                taken.append(await answers.get())
        except TimeoutError:
            return

    async def noise() -> None:
        for _ in range(6):
            await asyncio.sleep(random.random() / 3)

    asyncio.get_running_loop().call_later(0.995, answers.put_nowait, "yes")
    await asyncio.gather(ask(), *[noise() for _ in range(4)])
    assert taken == ["yes"], "the answer came in time"


@toron.kernel
async def one_fault_of_many(world: toron.World) -> None:
    """A client that gives up when one answer takes longer than three seconds."""
    hosts = [world.host(name) for name in "abcd"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1))
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "0.0.0.0", 80)
        await server.serve_forever()

    async def ask() -> None:
        for _ in range(10):
            await asyncio.sleep(2)
            async with asyncio.timeout(3):
                reader, writer = await asyncio.open_connection("a", 80)
                writer.write(b"?")
                await reader.read(1)
                writer.close()

    hosts[0].spawn(serve)
    world.net.link("a", "b", latency=(0.001, 0.05))
    world.faults(partitions=True, pauses=True, within=40.0)
    await world.sleep(0.1)
    hosts[1].spawn(ask)
    await world.sleep(30)


@toron.kernel
async def on_asyncios_own_order() -> None:
    """Fails whatever the schedule is."""
    await asyncio.gather(idle(), idle())
    raise LookupError(f"no account {random.randrange(100)}")


race = toron.kernel(two_of_thirty)
locks = toron.kernel(locks_in_two_orders)
deadline = toron.kernel(deadline_in_the_tick_of_the_answer)
