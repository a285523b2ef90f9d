"""What a worker needs from the store, the durable queue and the disk; `storage` supplies it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from testops.domain.event import NewEvent
from testops.domain.execution import (
    Artifact,
    Chunk,
    Ending,
    Executor,
    Lease,
    StageRecord,
    Taken,
    Watched,
)
from testops.domain.history import History
from testops.domain.run_view import RunView
from testops.domain.waiver import Waiver
from testops.runner.stage_jobs import Result, StageJob
from testops.telemetry.clock import Clock
from testops.warroom.grounds import NoHistory


class Executions(Protocol):
    """The writes of those who execute; each raises `Fenced` when the run is not theirs any more."""

    def take(self, run_id: str, number: int, executor_id: str) -> Taken | None: ...
    def look(self, run_id: str, number: int) -> Taken | None: ...
    def begin_stage(self, taken: Taken, stage: str, executor_id: str) -> int: ...
    def tell(self, taken: Taken, events: Sequence[NewEvent]) -> None: ...
    def record(self, taken: Taken, kept: StageRecord) -> None: ...
    def finish(self, taken: Taken, ending: Ending) -> None: ...
    def abandon(self, run_id: str, number: int, ending: Ending) -> bool: ...
    def watch(self, run_ids: Sequence[str]) -> Sequence[Watched]: ...
    def open_runs(self) -> Sequence[tuple[str, int, str, str | None]]: ...
    def expire_queued(self) -> Sequence[str]: ...


class Chunks(Protocol):
    """The parts of a simulation that every runner may execute."""

    def split(self, taken: Taken, ranges: Sequence[tuple[int, int]]) -> None: ...
    def all(self, run_id: str, number: int) -> Sequence[Chunk]: ...
    def settle(self, chunk: Chunk, executor_id: str) -> None: ...


class Leases(Protocol):
    """Signs of life."""

    def beat(self, executor: Executor) -> None: ...
    def leave(self, executor_id: str) -> None: ...
    def forget(self, executor_id: str) -> None: ...
    def all(self) -> Sequence[Lease]: ...


class Queue(Protocol):
    """The durable queue."""

    def start(
        self,
        run: Callable[[str, int], None],
        chunk: Callable[[str, int, int], None],
        *,
        runs_at_once: int,
        chunks_at_once: int,
    ) -> None: ...
    def stop(self) -> None: ...
    def recover(self, executor_ids: Sequence[str]) -> int: ...
    def adopt_orphans(self) -> int: ...
    def ended(self, workflow_ids: Sequence[str]) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt is executed: the project's files, and the folder for what it leaves."""

    root: Path
    output: Path


class Places(Protocol):
    """The disk of a runner, and the store that all of them share."""

    def prepare(self, taken: Taken) -> Place:
        """The project on this disk, with what earlier stages of the attempt left."""
        ...

    def keep(self, place: Place, left: Sequence[Path]) -> Sequence[Artifact]:
        """Put files into the shared store."""
        ...

    def baselines(self, taken: Taken, place: Place, identity: str) -> Path | None:
        """A folder of what the bundle `identity` is to be compared with, before the project's own.

        None where the project's own folder of baselines says it. `BadInput` when a baseline that
        was named is not kept any more.
        """
        ...

    def keep_chunk(self, path: Path) -> str: ...
    def fetch_chunk(self, sha256: str, place: Place) -> Path: ...


class RunStage(Protocol):
    """`runner.stage_process.run_stage`."""

    def __call__(
        self,
        job: StageJob,
        *,
        on_event: Callable[[dict[str, object]], None],
        stop: Callable[[], str | None],
        clock: Clock,
    ) -> Result: ...


class Grounds(Protocol):
    """What the gates of a workspace's runs are held against."""

    def history(self, workspace: str) -> History: ...
    def waivers(self, workspace: str) -> Sequence[Waiver]: ...


class NoGrounds:
    """`Grounds` where nothing is known: relative gates are inconclusive, and nothing is waived."""

    def history(self, workspace: str) -> History:
        return NoHistory()

    def waivers(self, workspace: str) -> Sequence[Waiver]:
        return ()


@dataclass(frozen=True, slots=True)
class WorkerPorts:
    """Everything outside of a worker."""

    executions: Executions
    chunks: Chunks
    leases: Leases
    queue: Queue
    places: Places
    run_stage: RunStage
    clock: Clock
    grounds: Grounds = field(default_factory=NoGrounds)
    # Called about once a second by one thread: schedules that are due, and the like.
    duties: Sequence[Callable[[], None]] = ()
    # Told when an attempt has ended here.
    ended: Callable[[str, int], None] = lambda _run_id, _attempt: None
    # Why a run must not be executed here (another engine, versions that nobody qualified); "": it
    # may. `runner.versions` is the one that runners have.
    refusal: Callable[[RunView], str] = lambda _run: ""
