"""The stores of a migrated database, and a run to keep in them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from testops.domain.execution import Ending, StageRecord, Submission
from testops.domain.run import Build, RunState
from testops.domain.run_view import NewRun
from testops.domain.seeds import SEED_COUNT, Seeds
from testops.domain.verdict import ExitCode, Verdict
from testops.storage.database import Database
from testops.storage.events import EventStore
from testops.storage.executions import ExecutionsStore
from testops.storage.leases import LeaseStore
from testops.storage.runs import RunsStore

GREEN = Ending(RunState.FINISHED, Verdict.PASS, ExitCode.HOLDS)
ERRORED = Ending(RunState.ERRORED, Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE, "killed")


@dataclass
class Stores:
    """Everything about runs in one database; `submitted` is what went into the queue."""

    database: Database
    submitted: list[Submission] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs = RunsStore(self.database, lambda _, one: self.submitted.append(one))
        self.executions = ExecutionsStore(self.database)
        self.events = EventStore(self.database)
        self.leases = LeaseStore(self.database)

    def bodies(self, run_id: str) -> list[bytes]:
        return [event.body for event in self.events.read(run_id, after=0, limit=10_000)]

    def types(self, run_id: str) -> list[str]:
        return [event.type for event in self.events.read(run_id, after=0, limit=10_000)]


def new_run(
    run_id: str = "a" * 16,
    *,
    suite: str = "core",
    priority: int = 5,
    deadline_s: float | None = None,
) -> NewRun:
    """A run of two stages, with the largest seed that there is."""
    run = NewRun(
        run_id=run_id,
        workspace="default",
        suite=suite,
        suite_shown=suite,
        profile="offline",
        seeds=Seeds(SEED_COUNT - 1, 7),
        question={"stages": ["lint", "sim"], "suite": {"name": suite}},
        build=Build("c" * 40, None),
        engine_version="toron-v2.5H+.2",
        reproduce=f"testops run {suite}",
        created_by="ada",
    )
    return replace(run, priority=priority, deadline_s=deadline_s)


def report(stage: str, verdict: str = "pass") -> StageRecord:
    """What a stage answered."""
    body = {
        "name": stage,
        "state": "ran",
        "verdict": verdict,
        "attempts": 1,
        "attempt_log": [{"number": 1, "outcome": "ran", "wall_s": 0.5, "message": ""}],
        "metrics": {"errors": 0},
        "findings": [],
        "artifacts": [],
        "notes": [],
        "reason": "",
    }
    return StageRecord(stage, body, [{"stage": stage, "metric": "errors", "verdict": verdict}])


def at_once(count: int, work: Callable[[int], None]) -> None:
    """Do `work` in `count` threads that begin together; the first error of any is raised."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def one(number: int) -> None:
        try:
            barrier.wait(30)
            work(number)
        except BaseException as error:  # noqa: BLE001 - it is raised below
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
