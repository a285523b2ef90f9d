"""A worker that dies is a result with its seed: never a wait, never a pass."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toron
from toron.errors import WorkerDied
from toron.search.explore import Exploration, Search, explore
from toron.search.frames import FrameCut, frame_of, read_frame
from toron.search.outcome import Execution
from toron.search.pool import Request, Worker
from toron.search.references import KernelRef

PROGRAM = """
import asyncio, ctypes, os, signal
import toron

libc = ctypes.CDLL(None)

@toron.kernel
async def holds(world):
    await asyncio.gather(*[asyncio.sleep(0) for _ in range(3)])
    world.record("worker", os.getppid())

@toron.kernel
async def ends_its_worker(world):
    libc.kill(os.getppid(), signal.SIGKILL)
    await world.sleep(1)

@toron.kernel
async def dies_once(world):
    if libc.access(b"was_here", 0):
        libc.creat(b"was_here", 0o600)
        libc.kill(os.getpid(), signal.SIGKILL)

@toron.kernel
async def eats(world):
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
    eaten = []
    while True:
        eaten.append(bytes(1 << 20))

@toron.kernel
async def races(world):
    order = []
    async def one(number):
        await asyncio.sleep(0)
        order.append(number)
    await asyncio.gather(*[one(number) for number in range(4)])
    world.sometimes("backwards", order == [3, 2, 1, 0])
    if order[0] == 3:
        libc.abort()
    assert order != [0, 2, 1, 3]
    world.always("first", order[0] < 2)
"""


@pytest.fixture
def path(program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    path = program(PROGRAM)
    monkeypatch.chdir(path.parent)
    return path


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.long), 2])
def test_an_execution_that_kills_its_worker_is_reported_with_its_seed(
    path: Path, jobs: int
) -> None:
    found = toron.explore(KernelRef(path, "ends_its_worker"), seeds=[5, 6, 7], jobs=jobs)
    assert found.inconclusive_seeds == [5, 6, 7]
    [cluster] = found.failures
    assert cluster.outcome.failure is not None
    assert (cluster.outcome.failure.kind, cluster.seeds) == ("crash", [5, 6, 7])


def test_what_died_once_is_told_in_an_exploration_and_tried_again_elsewhere(path: Path) -> None:
    found = toron.explore(KernelRef(path, "dies_once"), seeds=[3, 4])
    assert found.inconclusive_seeds == [3]
    failure = found.failures[0].outcome.failure
    assert failure is not None
    assert failure.message == (
        "the process of this execution was killed by SIGKILL; a second try: pass"
    )
    Path("was_here").unlink()
    with Worker(path) as worker:
        assert worker.execute(Request("dies_once", 3, 0)).outcome.ok


def test_a_worker_killed_from_outside_costs_one_seed_and_not_the_others(path: Path) -> None:
    killed = list[int]()

    def kill_first(exploration: Exploration, execution: Execution) -> None:
        if not killed:
            killed.append(execution.outcome.outputs["worker"])
            os.kill(killed[0], signal.SIGKILL)

    found = explore(Search(KernelRef(path, "holds"), range(30), 0, jobs=2), kill_first)
    assert found.seeds_run == 30
    # Between two executions it has none to lose.
    assert len(found.inconclusive_seeds) <= 1


def test_a_program_that_runs_out_of_memory_is_a_failure(path: Path) -> None:
    found = toron.explore(KernelRef(path, "eats"), seeds=[1])
    assert found.failing_seeds == [1]
    assert "MemoryError" in str(found.failures[0].outcome.failure)


@pytest.mark.parametrize(
    "strategy",
    ["portfolio", *(pytest.param(name, marks=pytest.mark.long) for name in ("delay", "pct"))],
)
def test_what_is_found_does_not_depend_on_the_number_of_jobs(path: Path, strategy: str) -> None:
    def found(jobs: int) -> dict[str, Any]:
        reference = KernelRef(path, "races")
        result = toron.explore(reference, seeds=range(24), jobs=jobs, strategy=strategy).to_json()
        result.pop("seeds_per_second")
        return result

    one, two = found(1), found(2)
    assert json.dumps(one) == json.dumps(two)
    assert one["distinct_failures"] > 1


def test_a_strategy_that_hands_out_batches_keeps_its_workers(path: Path) -> None:
    workers = set[int]()

    def note(exploration: Exploration, execution: Execution) -> None:
        workers.add(execution.outcome.outputs["worker"])

    search = Search(KernelRef(path, "holds"), range(60), 0, jobs=2, strategy="delay")
    assert explore(search, note).seeds_run > 20
    assert 1 <= len(workers) <= 2


def test_a_program_that_ends_its_process_when_imported_is_inconclusive_and_soon(
    program: Callable[..., Path], toron_command: Callable[..., Any]
) -> None:
    path = program("import os, toron\nos._exit(7)\n")
    begin = time.monotonic()
    answer = toron_command("explore", f"{path}::k", "--seeds", "0:1000", "--jobs", "2", "--json")
    assert answer.code == 4
    assert answer.json["inconclusive_seeds"] == list(range(1000))
    messages = [failure["failure"]["message"] for failure in answer.json["failures"]]
    assert all("start" in message for message in messages)
    assert time.monotonic() - begin < 30
    with pytest.raises(WorkerDied, match="died while it started"), Worker(path):
        pass


def test_a_worker_that_reads_nothing_ends_at_the_wall_limit(path: Path) -> None:
    with Worker(path, wall_limit_s=1) as worker:
        assert worker._process is not None
        os.kill(worker._process.pid, signal.SIGSTOP)
        tape = tuple((f"net.latency.{'x' * 50} {number}", 1) for number in range(5_000))
        outcome = worker.execute(Request("holds", 1, 0, tape=tape)).outcome
        assert outcome.failure is not None
        assert outcome.failure.kind == "limit"
        worker.wall_limit_s = 60
        assert worker.execute(Request("holds", 1, 0)).outcome.ok


@given(
    st.dictionaries(st.text(max_size=3), st.text() | st.integers() | st.none(), max_size=3),
    st.data(),
)
def test_half_a_message_is_never_taken_for_one_nor_waited_for(
    message: dict[str, Any], data: st.DataObject
) -> None:
    whole, end = frame_of(message), frame_of({"kind": "end", "status": 9})
    kept = data.draw(st.integers(1, len(whole)), label="bytes written before it was killed")
    reader, writer = os.pipe()
    try:
        os.write(writer, whole[:kept] + end)
        if kept == len(whole):
            assert read_frame(reader) == message
            assert read_frame(reader)["status"] == 9
        else:
            os.set_blocking(reader, False)  # instead of a wait without end: BlockingIOError
            with pytest.raises(FrameCut):
                read_frame(reader)
    finally:
        os.close(reader)
        os.close(writer)
