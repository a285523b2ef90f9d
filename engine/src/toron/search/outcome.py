"""What one execution came to: values that cross processes as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from toron.core.wakes import Stall, Wake

Verdict = Literal["pass", "warn", "fail", "inconclusive"]
FailureKind = Literal[
    "property",
    "exception",
    "deadlock",
    "livelock",
    "leaked_task",
    "escape",
    "limit",
    "crash",
]
INCONCLUSIVE_KINDS = ("limit", "crash")
"""Kinds that say nothing about the program: the run was cut short."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run is not a pass."""

    kind: FailureKind
    message: str
    virtual_ns: int
    where: str
    property: str | None = None
    cause: str = ""
    """What failures of one bug have in common; see `toron.search.clusters`."""
    legality: str | None = field(default=None, compare=False)
    """Whether stock asyncio could fail so; None when nobody has asked yet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one execution; equal outcomes mean equal behaviour.

    ``virtual_ns`` is virtual time, ``steps`` counts handles that the loop ran, ``properties`` maps
    each name to its counts, ``token`` replays the execution with ``toron replay``.
    """

    kernel: str
    sim_seed: int
    chaos_seed: int
    verdict: Verdict
    trace_digest: str
    outputs: dict[str, Any]
    properties: dict[str, dict[str, Any]]
    failure: Failure | None
    steps: int
    virtual_ns: int
    token: str
    faults: list[str] = field(default_factory=list)
    strategy: str = "random"
    python: str = f"{sys.version_info[0]}.{sys.version_info[1]}"

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Outcome:
        """The outcome that `to_json` wrote."""
        failure = data["failure"]
        return Outcome(**{**data, "failure": None if failure is None else Failure(**failure)})

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return self.verdict in ("pass", "warn")

    def differs_from(self, other: Outcome) -> bool:
        """Whether two executions of one seed behaved differently.

        The token is no behaviour: it also names the file's content at the time. Nor is what was
        found out about a failure afterwards.
        """
        return self._behaviour() != other._behaviour()

    def _behaviour(self) -> Outcome:
        failure = self.failure
        if failure is not None:
            failure = replace(failure, legality=None)
        return replace(self, token="", failure=failure)

    @property
    def was_cut_short(self) -> bool:
        """Whether the process was killed or died, so that nothing is known of the behaviour."""
        return not self.trace_digest


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One event of a full trace."""

    number: int
    text: str
    where: str
    cause: int = 0
    """The number of the event that led to it; 0 when none is known."""
    on: str = ""
    """The host on which it takes effect, where the text has only who acts."""
    note: str = ""
    """What the text does not say: how a task ended, the name that the program gave it."""
    turn: Sequence[int] | None = None
    """For what a schedule ordered: its place, among how many, and asyncio's own place for it."""


@dataclass(frozen=True, slots=True)
class Execution:
    """An outcome with what does not belong to the behaviour: its trace and what was printed."""

    outcome: Outcome
    events: list[TraceEvent]
    tail: list[str]
    stderr: str
    count: int = 0
    """How many events there were; those that are kept may be fewer."""
    tape: list[tuple[str, int]] = field(default_factory=list)
    """What deviated from the harmless run, when it was asked for; see `toron.core.tape`."""
    wakes: list[Wake] = field(default_factory=list)
    """How each step came to its place, at level ``events`` and above."""
    stalls: list[Stall] = field(default_factory=list)
    offers: list[tuple[str, int]] = field(default_factory=list)
    """Where a run of a tape could have deviated, when a survey was asked for."""
    cancelled: list[str] = field(default_factory=list)
    """The tasks that the program itself cancelled, in a run that was searched for cancellations."""
    expiries: list[tuple[str, int, int]] = field(default_factory=list)
    """Of such a run: at which point which value lets a timeout expire that is due when (ns)."""
    states: int = 0
    """How many states all runs of its worker had seen by then, when they were looked at."""
