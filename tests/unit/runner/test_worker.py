"""A runner loses nothing that it was given, whatever fails in it or around it.

The store is real; the queue is a list, because what DBOS promises has tests of its own.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.platform import Stores, new_run

from testops.domain.errors import BadInput, StoreUnavailable
from testops.domain.execution import LEASE_MS, Artifact, Executor, Taken
from testops.domain.run import RunState
from testops.domain.run_view import RunView
from testops.domain.stage import StageName, StageReport, StageState
from testops.runner.budget import Budget
from testops.runner.stage_jobs import ChunkFile, Result, StageDone, StageJob, StageStopped
from testops.runner.worker import Worker
from testops.runner.worker_ports import Place, WorkerPorts
from testops.storage.chunks import ChunkStore
from testops.storage.database import Database, open_database
from testops.storage.tables import lease
from testops.telemetry.clock import SystemClock

RUN = "a" * 16
ME = Executor("me", "runner", "host", 1, 2, "v")
SEEDS = 100
QUESTION = {
    "stages": ["sim"],
    "suite": {
        "schema": 1,
        "name": "core",
        "seeds": {"sim": 1, "chaos": 2},
        "stages": {"sim": {"kernels": {"echo": {"run": "echo.py::echo"}}}},
    },
    "profile": {"schema": 1, "name": "offline", "network": {"policy": "loopback-only"}},
    "sim_seeds": list(range(SEEDS)),
}


@dataclass
class Listed:
    """`Queue` that keeps what it was given, and executes what the test says."""

    lost: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    run: Callable[[str, int], None] | None = None
    chunk: Callable[[str, int, int], None] | None = None

    def start(self, run: Any, chunk: Any, *, runs_at_once: int, chunks_at_once: int) -> None:
        self.run, self.chunk = run, chunk

    def stop(self) -> None:
        return

    def recover(self, executor_ids: Sequence[str]) -> int:
        self.recovered += executor_ids
        return len(executor_ids)

    def adopt_orphans(self) -> int:
        return 0

    def ended(self, workflow_ids: Sequence[str]) -> Sequence[str]:
        return [one for one in workflow_ids if one in self.lost]


@dataclass
class Disk:
    """`Places` in a folder; what is kept is only named."""

    folder: Path
    error: Exception | None = None

    def prepare(self, taken: Taken) -> Place:
        return Place(self.folder, self.folder / "output")

    def keep(self, place: Place, left: Sequence[Path]) -> Sequence[Artifact]:
        return []

    def baselines(self, taken: Taken, place: Place, identity: str) -> Path | None:
        return None

    def keep_chunk(self, path: Path) -> str:
        if self.error is not None:
            raise self.error
        return path.name

    def fetch_chunk(self, sha256: str, place: Place) -> Path:
        return self.folder / sha256


def answered(job: StageJob, **_: object) -> Result:
    report = StageReport(StageName(job.stage), StageState.RAN).to_full_json()
    if job.chunk is not None:
        name = f"{job.chunk.number}".zfill(64)
        return StageDone({}, chunk=ChunkFile(Path(name), name, len(job.chunk.seeds)))
    return StageDone(report)


@dataclass
class Slow(SystemClock):
    """A wall clock that somebody moves: the machine slept."""

    slept: timedelta = timedelta()

    def now(self) -> datetime:
        return super().now() + self.slept


@dataclass
class World:
    database: Database
    stores: Stores
    queue: Listed
    disk: Disk
    clock: Slow
    chunks: list[int]
    duties: list[Callable[[], None]] = field(default_factory=list)
    run_stage: Callable[..., Result] = answered
    worker: Worker | None = None

    def start(self) -> Worker:
        ports = WorkerPorts(
            executions=self.stores.executions,
            chunks=ChunkStore(self.database, lambda _, one: self.chunks.append(one.number)),
            leases=self.stores.leases,
            queue=self.queue,
            places=self.disk,
            run_stage=self.run_stage,
            clock=self.clock,
            duties=self.duties,
        )
        budget = Budget(cores=2, memory_mb=8000)
        self.worker = Worker(ME, ports, budget, runs_at_once=2, chunks_at_once=2)
        self.worker.start()
        return self.worker

    def give_run(self) -> threading.Thread:
        assert self.queue.run is not None
        thread = threading.Thread(target=self.queue.run, args=(RUN, 1), daemon=True)
        thread.start()
        return thread

    @property
    def kept_chunks(self) -> int:
        """How many chunks others see: they are queued within the transaction that keeps them."""
        return len(ChunkStore(self.database, lambda *_: None).all(RUN, 1))

    @property
    def run(self) -> RunView:
        found = self.stores.runs.get(RUN)
        assert found is not None
        return found


@pytest.fixture
def world(migrated_sqlite: Path, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "testops.db").write_bytes(migrated_sqlite.read_bytes())
    database = open_database(f"sqlite:///{tmp_path}/testops.db")
    stores = Stores(database)
    stores.runs.create(replace(new_run(), question=QUESTION))
    world = World(database, stores, Listed(), Disk(tmp_path), Slow(), [])
    yield world
    if world.worker is not None:
        world.worker.stop()
    database.close()


def until(holds: Callable[[], bool], *, within_s: float = 60.0) -> bool:
    pause = threading.Event()
    for _ in range(int(within_s / 0.05)):
        if holds():
            return True
        pause.wait(0.05)
    return False


@pytest.mark.parametrize(
    "error", [BadInput("has too many bytes", where="chunk"), OSError("no space left")]
)
def test_a_chunk_that_cannot_be_kept_does_not_keep_its_run_waiting(
    world: World, error: Exception
) -> None:
    world.disk.error = error
    world.start()
    thread = world.give_run()
    assert until(lambda: world.kept_chunks == 4)

    assert world.queue.chunk is not None
    for number in world.chunks:
        world.queue.chunk(RUN, 1, number)

    thread.join(60)
    assert world.run.state is RunState.FINISHED
    assert str(error) in world.run.stages[0].to_json()["reason"]


def test_a_chunk_that_the_queue_lost_is_executed_by_who_waits_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testops.runner.execution.CHUNKS_POLL_S", 0.02)
    world.start()
    thread = world.give_run()
    assert until(lambda: world.kept_chunks == 4)

    assert world.queue.chunk is not None
    for number in world.chunks[1:]:
        world.queue.chunk(RUN, 1, number)
    world.queue.lost.append(f"{RUN}-1-0")

    thread.join(60)
    assert world.run.state is RunState.FINISHED
    assert world.run.stages[0].to_json()["state"] == "ran"


def test_a_duty_that_always_fails_keeps_neither_the_others_nor_the_dead_waiting(
    world: World,
) -> None:
    done: list[int] = []

    def fail() -> None:
        raise PermissionError("the folder cannot be removed")

    world.duties = [fail, lambda: done.append(1)]
    world.stores.leases.beat(Executor("dead", "runner", "host", 2, 2, "v"))
    world.start()

    assert until(lambda: "dead" in world.queue.recovered)
    assert done


def test_a_duty_that_takes_long_does_not_keep_the_work_of_the_dead_waiting(world: World) -> None:
    over = threading.Event()

    def take_long() -> None:
        over.wait(60)

    world.duties = [take_long]
    world.stores.leases.beat(Executor("dead", "runner", "host", 2, 2, "v"))
    world.start()

    try:
        assert until(lambda: "dead" in world.queue.recovered)
    finally:
        over.set()


def test_who_slept_does_not_bury_those_that_slept_beside_it(world: World) -> None:
    worker = world.start()
    other = Executor("other", "runner", "host", 2, 2, "v")
    assert until(lambda: worker._beats * 1000 > LEASE_MS + 1000)

    world.stores.leases.beat(other)
    with world.database.write() as connection:
        # The machine slept for an hour: everybody on it was silent, and we wake first.
        world.clock.slept = timedelta(hours=1)
        slept = {"beat_ms": lease.c.beat_ms - 3_600_000}
        connection.execute(sa.update(lease).values(**slept))
    threading.Event().wait(2.5)
    world.stores.leases.beat(other)
    threading.Event().wait(1.5)

    assert world.queue.recovered == []


def test_a_run_that_arrives_while_its_runner_ends_is_left_to_the_others(world: World) -> None:
    def patient(job: StageJob, *, stop: Callable[[], str | None], **_: object) -> Result:
        assert until(lambda: stop() is not None, within_s=2), "nobody told it to stop"
        return StageStopped(stop() or "")

    world.run_stage = patient
    world.start().stop()
    world.worker = None
    # The queue gave it to a thread just before it was stopped.
    thread = world.give_run()

    thread.join(3)
    assert thread.is_alive(), "the queue would hold it for done"
    assert world.run.state is RunState.RUNNING
    assert world.run.stages[0].report is None


def test_a_runner_ends_although_the_store_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = world.start()

    def away(_: str) -> None:
        raise StoreUnavailable("the database does not answer")

    monkeypatch.setattr(world.stores.leases, "leave", away)
    worker.stop()
    world.worker = None
