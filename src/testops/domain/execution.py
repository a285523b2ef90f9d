"""Executing a run: who holds it, what a stage leaves, how an attempt ends, who executes at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testops.domain.review import Review
from testops.domain.run import RunState
from testops.domain.run_view import RunView
from testops.domain.snapshot import NewBundle
from testops.domain.verdict import ExitCode, Verdict

# An executor that was silent for so long is taken for dead.
LEASE_MS = 4000


class Fenced(Exception):
    """Another executor has taken the run, or it has ended: nothing of this one counts any more."""


class AlreadyRecorded(Exception):
    """The stage has its result: an earlier try of this very write was made after all."""


@dataclass(frozen=True, slots=True)
class Submission:
    """An attempt for the durable queue: the lower `rank` goes first."""

    run_id: str
    attempt: int
    rank: int


@dataclass(frozen=True, slots=True)
class ChunkSubmission:
    """Some seeds of an attempt for the durable queue."""

    run_id: str
    attempt: int
    number: int
    rank: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A run in the hands of an executor."""

    run: RunView
    fence: int
    recorded: frozenset[str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of a run's sim seeds, by position, half-open; settled by a digest or a problem."""

    run_id: str
    attempt: int
    number: int
    first: int
    end: int
    sha256: str | None = None
    problem: str | None = None

    @property
    def settled(self) -> bool:
        return self.sha256 is not None or self.problem is not None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that an attempt left."""

    path: str
    sha256: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class OpenedReview:
    """What moved, as a stage found it; `cause` is whether executing it again agreed."""

    review: Review
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What a stage answered, as it is kept; with it the bundle that it left, or what moved."""

    stage: str
    report: Mapping[str, Any]
    gates: Sequence[Mapping[str, Any]]
    artifacts: Sequence[Artifact] = ()
    cause: str | None = None
    bundle: NewBundle | None = None
    opened: OpenedReview | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended."""

    state: RunState
    verdict: Verdict
    exit_code: ExitCode
    reason: str = ""
    bundle: str | None = None
    bundle_identity: str | None = None
    # Of the run as a whole: its score, the gates of stages that it has not, idle waivers.
    judgement: Mapping[str, Any] | None = None


def cancelled(by: str) -> Ending:
    """The end of a run that somebody cancelled."""
    return Ending(
        RunState.CANCELLED, Verdict.INCONCLUSIVE, ExitCode.INTERRUPTED, f"cancelled by {by}"
    )


def killed() -> Ending:
    """The end of an attempt whose process ended before it could say how it went."""
    said = "its process ended before it could say how it went"
    return Ending(RunState.ERRORED, Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE, said)


def overdue(*, started: bool) -> Ending:
    """The end of a run that reached its deadline."""
    where = "while it ran" if started else "before it could start"
    return Ending(
        RunState.ERRORED,
        Verdict.INCONCLUSIVE,
        ExitCode.INCONCLUSIVE,
        f"its deadline passed {where}",
    )


@dataclass(frozen=True, slots=True)
class Watched:
    """What an executor must know of a run that it executes, while it does."""

    run_id: str
    fence: int
    state: RunState
    cancel_requested_by: str | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class Executor:
    """A process that executes runs."""

    executor_id: str
    kind: str
    host: str
    pid: int
    cores: int
    version: str


@dataclass(frozen=True, slots=True)
class Lease:
    """An executor, and for how long it has been silent."""

    executor: Executor
    started_ms: int
    silent_ms: int

    @property
    def alive(self) -> bool:
        return self.silent_ms < LEASE_MS
