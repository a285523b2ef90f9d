"""A worker survives what it runs, and nobody waits for it without end."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import toron
from toron.errors import BadKernel, WorkerDied
from toron.search.pool import Conditions, Request, Worker, in_parallel
from toron.search.references import KernelRef
from toron.search.verify import Question, verify_many

PROGRAM = """
import asyncio, os, sys

COUNT = 0

async def spins():
    while True:
        pass

async def dies():
    os._exit(1)

async def counts():
    global COUNT
    COUNT += 1
    return COUNT

async def hashes():
    return [hash("a"), os.environ.get("SECRET_OF_THE_SHELL"), sys.argv, os.environ.get("TZ")]
"""


@pytest.fixture
def path(program: Callable[..., Path]) -> Path:
    return program(PROGRAM)


def test_an_execution_over_its_wall_limit_is_inconclusive_and_the_next_one_runs(path: Path) -> None:
    with Worker(path, wall_limit_s=1) as worker:
        begin = time.monotonic()
        outcome = worker.execute(Request("spins", 1, 0)).outcome
        assert time.monotonic() - begin < 5
        assert (outcome.verdict, outcome.trace_digest) == ("inconclusive", "")
        assert outcome.failure is not None
        assert outcome.failure.kind == "limit"
        assert "no answer within 1 s of real time" in outcome.failure.message
        assert worker.execute(Request("counts", 1, 0)).outcome.outputs == {"result": 1}


def test_a_verification_that_hangs_is_inconclusive_and_not_identical(path: Path) -> None:
    question = Question(KernelRef(path, "spins"), 1, 0)
    [verified] = verify_many([question], wall_limit_s=1)
    assert verified.execution.outcome.verdict == "inconclusive"
    assert not verified.identical


def test_every_execution_starts_from_the_clean_process(path: Path) -> None:
    with Worker(path) as worker:
        results = [worker.execute(Request("counts", 1, 0)).outcome.outputs for _ in range(3)]
    assert results == [{"result": 1}] * 3


def test_the_hash_seed_is_fixed_and_the_environment_stays_outside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SHELL", "x")
    found = []
    for conditions in (Conditions(), Conditions(), Conditions(hash_seed=1)):
        with Worker(path, conditions) as worker:
            found.append(worker.execute(Request("hashes", 1, 0)).outcome.outputs["result"])
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
    assert found[0][1] is None
    assert found[0][3] == "UTC"


def test_a_worker_started_by_a_thread_that_has_ended_is_started_anew(path: Path) -> None:
    # The system ends a worker with the thread that started it (PR_SET_PDEATHSIG).
    reference, found = KernelRef(path, "counts"), list[str]()

    def in_a_thread() -> None:
        found.append(toron.run(reference, seed=1).verdict)

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    time.sleep(0.1)
    found.append(toron.run(reference, seed=1).verdict)
    assert found == ["pass", "pass"]


def test_a_closed_worker_starts_never_again(path: Path) -> None:
    worker = Worker(path)
    worker.close()
    with pytest.raises(WorkerDied, match="was closed"):
        worker.execute(Request("counts", 1, 0))


def test_an_unknown_name_is_bad_input_and_the_worker_lives_on(path: Path) -> None:
    with Worker(path) as worker:
        with pytest.raises(BadKernel, match="it has: spins, dies, counts, hashes"):
            worker.execute(Request("missing", 1, 0))
        assert worker.execute(Request("counts", 1, 0)).outcome.verdict == "pass"


def test_workers_leave_no_descriptor_open(path: Path) -> None:
    def open_descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_descriptors()
    for _ in range(3):
        with Worker(path) as worker:
            worker.execute(Request("dies", 1, 0))
    with pytest.raises(BadKernel), Worker(path.with_name("missing.py")):
        pass
    assert open_descriptors() == before


def test_parallel_results_come_in_the_order_of_the_items_and_never_share_a_lane() -> None:
    busy, lock = set[int](), threading.Lock()

    def work(item: int, lane: int) -> int:
        with lock:
            assert lane not in busy
            busy.add(lane)
        time.sleep(0.001 * (item % 3))
        with lock:
            busy.remove(lane)
        return item * item

    assert list(in_parallel(range(30), work, jobs=4)) == [item * item for item in range(30)]
    assert list(in_parallel([], work, jobs=2)) == []


def test_an_error_in_parallel_work_reaches_the_caller() -> None:
    def work(item: int, lane: int) -> int:
        if item == 3:
            raise BadKernel("three")
        return item

    with pytest.raises(BadKernel, match="three"):
        list(in_parallel(range(10), work, jobs=2))
