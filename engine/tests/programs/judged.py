"""Kernels whose histories are judged, and kernels that leave something behind."""

import asyncio
import gc
from typing import Any

import toron


class Primary:
    """A register on a host of its own, with a copy that lags behind."""

    def __init__(self, lag: float) -> None:
        self.value = 0
        self.copy = 0
        self._lag = lag

    async def serve(self) -> None:
        server = await asyncio.start_server(self._answer, "0.0.0.0", 9000)
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            if verb == "write":
                self.value = int(rest)
                asyncio.get_running_loop().call_later(self._lag, self._replicate, int(rest))
            answer = self.copy if verb == "read-copy" else self.value
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        writer.close()

    def _replicate(self, value: int) -> None:
        self.copy = value


async def ask(line: str) -> int:
    reader, writer = await asyncio.open_connection("db", 9000)
    writer.write(f"{line}\n".encode())
    answer = await reader.readline()
    writer.close()
    return int(answer)


async def work(world: toron.World, read: str) -> None:
    history = world.history("store")
    world.linearizable("one register", history, toron.models.Register(0))
    world.host("db").spawn(Primary(lag=0.050).serve)
    await world.sleep(1)

    async def client(number: int) -> None:
        name = f"c{number}"
        for turn in range(3):
            value = number * 10 + turn
            with history.call(name, "write", value) as call:
                await ask(f"write {value}")
                call.ok()
            await history.record(name, "read", None, ask(read))
            await world.sleep(0.040)

    async with asyncio.TaskGroup() as group:
        for number in (1, 2):
            group.create_task(client(number))


@toron.kernel
async def reads_from_the_primary(world: toron.World) -> None:
    await work(world, "read")


@toron.kernel
async def reads_from_a_stale_copy(world: toron.World) -> None:
    await work(world, "read-copy")


class Bank:
    """Transactions on two lists; without its lock, reads and writes of several mix."""

    def __init__(self, *, locks: bool) -> None:
        self._lists: dict[str, list[int]] = {"x": [], "y": []}
        self._lock = asyncio.Lock() if locks else None

    async def run(self, accesses: list[list[Any]]) -> list[list[Any]]:
        if self._lock is None:
            return await self._run(accesses)
        async with self._lock:
            return await self._run(accesses)

    async def _run(self, accesses: list[list[Any]]) -> list[list[Any]]:
        answers = []
        for kind, key, value in accesses:
            await asyncio.sleep(0)
            if kind == "append":
                self._lists[key].append(value)
                answers.append([kind, key, value])
            else:
                answers.append([kind, key, list(self._lists[key])])
        return answers


async def transfers(world: toron.World, bank: Bank) -> None:
    history = world.history("bank")
    world.serializable("isolated", history, level="strict-serializable")

    async def client(name: str, read: str, write: str, value: int) -> None:
        plan = [["r", read, None], ["append", write, value]]
        await history.record(name, "txn", plan, bank.run(plan))

    await asyncio.gather(client("c1", "x", "y", 1), client("c2", "y", "x", 2))
    plan: list[list[Any]] = [["r", "x", None], ["r", "y", None]]
    await history.record("c3", "txn", plan, bank.run(plan))


@toron.kernel
async def bank_with_a_lock(world: toron.World) -> None:
    await transfers(world, Bank(locks=True))


@toron.kernel
async def bank_without_a_lock(world: toron.World) -> None:
    await transfers(world, Bank(locks=False))


@toron.kernel
async def judged_with_too_few_steps(world: toron.World) -> None:
    history = world.history("store")
    world.linearizable("one register", history, toron.models.Register(0), steps_max=1)
    for value in range(3):
        await history.record("c1", "write", value, world.sleep(1))


@toron.kernel(time_limit=5)
async def wrong_when_time_runs_out(world: toron.World) -> None:
    history = world.history("store")
    world.linearizable("one register", history, toron.models.Register(0))
    with history.call("c1", "read") as call:
        call.ok(7)
    await world.sleep(60)


@toron.kernel
async def a_set_of_words_that_loses_one(world: toron.World) -> None:
    history = world.history("words")
    world.linearizable("one set", history, toron.models.Set())
    words = {"alpha", "beta", "gamma", "delta", "epsilon"}
    for word in sorted(words):
        with history.call("c1", "add", word) as call:
            call.ok()
    with history.call("c1", "read") as call:
        call.ok(words - {"gamma"})


@toron.kernel
async def an_unknown_operation(world: toron.World) -> None:
    history = world.history("store")
    world.linearizable("one register", history, toron.models.Register(0))
    with history.call("c1", "push", 7) as call:
        call.ok()


@toron.kernel
async def nothing_was_recorded(world: toron.World) -> None:
    world.linearizable("one register", world.history("store"), toron.models.Register(0))


@toron.kernel
async def a_host_that_dies_leaves_its_call_open(world: toron.World) -> None:
    history = world.history("store")
    world.linearizable("one register", history, toron.models.Register(0))

    async def write() -> None:
        with history.call("app", "write", 1) as call:
            await world.sleep(60)
            call.ok()

    app = world.host("app")
    app.spawn(write)
    await world.sleep(1)
    app.crash()
    world.record("endings", [operation.ending for operation in history])
    with history.call("c1", "read") as call:
        call.ok(1)


@toron.kernel
async def a_client_that_dies_starts_again(world: toron.World) -> None:
    history = world.history("store")
    world.linearizable("one register", history, toron.models.Register(0))
    value = iter(range(1, 9))

    async def write() -> None:
        with history.call("app", "write", next(value)) as call:
            await world.sleep(2)
            call.ok()

    app = world.host("app")
    app.spawn(write)
    await world.sleep(1)
    app.restart()
    await world.sleep(3)
    world.record("endings", [operation.ending for operation in history])


# Leaks


@toron.kernel(leaks=True)
async def leaves_a_task(world: toron.World) -> None:
    task = asyncio.create_task(world.sleep(60), name="forgotten")
    world.record("name", task.get_name())
    await world.sleep(1)


@toron.kernel
async def leaves_a_task_and_may(world: toron.World) -> None:
    task = asyncio.create_task(world.sleep(60))
    world.record("name", bool(task.get_name()))
    await world.sleep(1)


@toron.kernel
async def forbids_it_by_itself(world: toron.World) -> None:
    world.forbid_leaks()
    world.record("name", bool(asyncio.create_task(world.sleep(60)).get_name()))


@toron.kernel(leaks=True)
async def cancels_what_it_started(world: toron.World) -> None:
    task = asyncio.create_task(world.sleep(60))
    await world.sleep(1)
    task.cancel()


@toron.kernel(leaks=True)
async def ends_one_step_before_its_task(world: toron.World) -> None:
    async def last_steps() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    world.record("name", bool(asyncio.create_task(last_steps()).get_name()))


@toron.kernel(leaks=True)
async def forgets_to_await(world: toron.World) -> None:
    asyncio.sleep(1)  # type: ignore[unused-coroutine]
    await world.sleep(1)


@toron.kernel(leaks=True)
async def loses_a_task(world: toron.World) -> None:
    async def waits_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    asyncio.create_task(waits_for_nobody())  # noqa: RUF006
    await world.sleep(1)
    gc.collect()


@toron.kernel(leaks=True)
async def a_daemon_goes_on(world: toron.World) -> None:
    async def serve() -> None:
        tasks = [asyncio.create_task(world.sleep(1000)) for _ in range(3)]
        await asyncio.gather(*tasks)

    world.host("db").spawn(serve)
    await world.sleep(1)


@toron.kernel(leaks=True)
async def a_host_ends_and_leaves_a_task(world: toron.World) -> None:
    kept: list[asyncio.Task[Any]] = []

    async def main() -> None:
        kept.append(asyncio.create_task(world.sleep(1000)))
        await world.sleep(0.1)

    await world.host("app").spawn(main)
    await world.sleep(1)


@toron.kernel(leaks=True)
async def an_exception_is_worse(world: toron.World) -> None:
    async def fails() -> None:
        raise KeyError("x")

    world.record("name", bool(asyncio.create_task(fails()).get_name()))
    world.record("other", bool(asyncio.create_task(world.sleep(60)).get_name()))
    await world.sleep(1)
