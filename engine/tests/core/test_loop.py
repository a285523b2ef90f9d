"""One iteration of the loop: what asyncio promises is kept, what it leaves open is permuted."""

import asyncio
import math
import weakref
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

import toron
from toron.core import loop as loop_module


def results(kernel: Callable[[], Awaitable[object]], seeds: int) -> list[Any]:
    outcomes = [toron.run(kernel, seed=seed) for seed in range(seeds)]
    for outcome in outcomes:
        assert outcome.verdict == "pass", outcome.failure
    return [outcome.outputs["result"] for outcome in outcomes]


def several(kernel: Callable[[], Awaitable[object]], seeds: int = 6) -> int:
    return len({str(result) for result in results(kernel, seeds)})


def test_steps_of_tasks_that_are_ready_together_are_permuted() -> None:
    async def kernel() -> list[int]:
        order: list[int] = []

        async def one(number: int) -> None:
            order.append(number)

        await asyncio.gather(*[one(number) for number in range(5)])
        return order

    assert several(kernel) > 4


def test_timers_of_one_instant_are_permuted_and_others_are_not() -> None:
    async def kernel() -> list[list[int]]:
        loop, same, apart = asyncio.get_running_loop(), list[int](), list[int]()
        begin = loop.time()
        for number in range(5):
            loop.call_at(begin + 1, same.append, number)
            loop.call_at(begin + 2 + number / 1e6, apart.append, number)
        await asyncio.sleep(3)
        return [same, apart]

    found = results(kernel, 12)
    assert {str(apart) for _, apart in found} == {"[0, 1, 2, 3, 4]"}
    assert len({str(same) for same, _ in found}) > 4


def test_every_step_costs_a_microsecond_so_that_polling_a_deadline_ends() -> None:
    async def kernel() -> int:
        loop = asyncio.get_running_loop()
        end, polls = loop.time() + 0.001, 0
        while loop.time() < end:
            await asyncio.sleep(0)
            polls += 1
        return polls

    assert results(kernel, 1) == [1_000]


@pytest.mark.parametrize("seconds", [0.1, 1e-9, 1 / 3, 123456.789012345])
def test_a_timer_is_never_early_and_hardly_late(seconds: float) -> None:
    async def kernel() -> float:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await asyncio.sleep(seconds)
        return loop.time() - begin - seconds

    outcome = toron.run(with_limit(kernel), seed=1)
    assert 0 <= outcome.outputs["result"] < 3e-6


def with_limit(kernel: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    return toron.kernel(time_limit=1e6)(kernel)


def test_an_infinite_sleep_waits_for_ever_as_it_does_under_asyncio() -> None:
    async def kernel() -> str:
        forever = asyncio.create_task(asyncio.sleep(math.inf))
        await asyncio.sleep(10)
        forever.cancel()
        await asyncio.wait([forever])
        return "cancelled" if forever.cancelled() else "ended"

    assert results(kernel, 1) == ["cancelled"]


def test_an_infinite_sleep_does_not_stop_packets_from_arriving() -> None:
    async def kernel() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await asyncio.sleep(math.inf)

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        return await reader.readline()

    assert results(kernel, 1) == [{"$bytes": b"hello\n".hex()}]


def test_only_an_infinite_sleep_left_is_a_deadlock() -> None:
    async def kernel() -> None:
        await asyncio.sleep(math.inf)

    failure = toron.run(kernel, seed=1).failure
    assert failure is not None
    assert failure.kind == "deadlock"


def test_a_program_that_never_waits_is_a_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "STEPS_WITHOUT_WAITING_MAX", 1_000)

    async def kernel() -> None:
        while True:
            await asyncio.sleep(0)

    failure = toron.run(kernel, seed=1).failure
    assert failure is not None
    assert failure.kind == "livelock"
    assert "1000 steps in a row" in failure.message
    assert failure.where.endswith("<locals>.kernel")


def test_steps_with_waits_between_them_are_no_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "STEPS_WITHOUT_WAITING_MAX", 1_000)

    async def kernel() -> str:
        for _ in range(3_000):
            await asyncio.sleep(0.001)
        return "done"

    assert results(kernel, 1) == ["done"]


def test_cyclic_garbage_is_collected_every_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "_COLLECT_EVERY_STEPS", 100)

    async def kernel() -> list[int]:
        fired: list[int] = []

        class Cycle:
            def __init__(self, number: int) -> None:
                self.me = self
                weakref.finalize(self, fired.append, number)

        seen = []
        for number in range(300):
            Cycle(number)
            await asyncio.sleep(0)
            seen.append(len(fired))
        return sorted(set(seen))

    [seen] = results(kernel, 1)
    assert len(seen) == 4
    assert [later - earlier for earlier, later in pairwise(seen)][1:] == [100, 100]


def test_a_cancelled_timer_never_fires_and_does_not_hold_up_a_deadlock() -> None:
    async def kernel() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(5, lambda: 1 / 0).cancel()
        await loop.create_future()

    outcome = toron.run(kernel, seed=1)
    assert outcome.failure is not None
    assert outcome.failure.kind == "deadlock"
    assert outcome.virtual_ns < 1_000_000


def test_a_task_factory_of_the_program_is_honoured() -> None:
    async def kernel() -> list[str]:
        loop, made = asyncio.get_running_loop(), list[str]()

        def factory(loop: asyncio.AbstractEventLoop, coro: object, **more: object) -> object:
            made.append("task")
            return asyncio.Task(coro, loop=loop, **more)  # type: ignore[arg-type]

        loop.set_task_factory(factory)  # type: ignore[arg-type]
        await asyncio.create_task(asyncio.sleep(0))
        return made

    assert results(kernel, 1) == [["task"]]


def test_an_exception_handler_of_the_program_has_handled_it() -> None:
    def kernel_with(handler: object) -> Callable[[], Awaitable[object]]:
        async def kernel() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(handler)  # type: ignore[arg-type]
            loop.call_soon(lambda: 1 / 0)
            await asyncio.sleep(1)

        return kernel

    assert toron.run(kernel_with(lambda loop, context: None), seed=1).verdict == "pass"
    failure = toron.run(kernel_with(None), seed=1).failure
    assert failure is not None
    assert failure.kind == "exception"
    assert "ZeroDivisionError" in failure.message


def test_a_task_that_fails_unseen_fails_the_run_and_one_that_is_awaited_does_not() -> None:
    async def fails() -> None:
        raise ValueError("unseen")

    async def unseen() -> None:
        task = asyncio.create_task(fails(), name="background")
        await asyncio.sleep(1)
        assert task.done()

    async def seen() -> None:
        with pytest.raises(ValueError, match="unseen"):
            await asyncio.create_task(fails())

    failure = toron.run(unseen, seed=1).failure
    assert failure is not None
    assert failure.kind == "exception"
    assert "ValueError: unseen ended task#" in failure.message
    assert failure.where.endswith("<locals>.fails")
    assert toron.run(seen, seed=1).verdict == "pass"


def test_a_deadlock_names_who_waits_and_where() -> None:
    async def kernel() -> None:
        async def waits(lock: asyncio.Lock) -> None:
            await lock.acquire()

        lock = asyncio.Lock()
        await lock.acquire()
        await asyncio.gather(waits(lock), waits(lock))

    failure = toron.run(kernel, seed=1).failure
    assert failure is not None
    assert failure.kind == "deadlock"
    assert failure.message.count("waits at ") == 2
    assert "test_loop.py:" in failure.message
