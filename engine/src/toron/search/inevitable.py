"""When a failure became inevitable: the failure rate of branches over the time of the fork.

A run that fails is executed again and forked at many moments in one pass. Early branches mostly do
otherwise, late ones all fail; the moment between is where the run was lost, often long before
anything was seen to be wrong. It is narrowed down to one event. "Every branch fails" is a
measurement: of n branches that all fail one may say, at 95 %, that at most 3 of n would not (the
rule of three), so the moment that is named is tried with more branches than the curve is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from toron.core.clock import SECOND_NS
from toron.errors import BadKernel, ToronError
from toron.search.branch import Turn, fork_run, from_start
from toron.search.outcome import Outcome, TraceEvent
from toron.search.pool import Request, Worker

CONFIRMED_BY = 100
"""Branches that must all fail at the moment that is named."""
_SECTIONS = 6
"""Into how many parts an interval is cut at a time: one pass over the run for that many forks."""
EVENTS_MAX = 40


@dataclass(frozen=True, slots=True)
class Point:
    """One moment of the curve: how many branches from there fail as the run does."""

    at_ns: int
    now_ns: int
    branches: int
    failing: int

    @property
    def is_lost(self) -> bool:
        """Whether every branch fails."""
        return self.failing == self.branches


@dataclass(slots=True)
class Inevitability:
    """The failure rate over time, and the first moment after which every branch fails."""

    outcome: Outcome
    curve: list[Point] = field(default_factory=list)
    moment: Point | None = None
    """From here on every branch fails; None: never before the failure itself."""
    before: Point | None = None
    """The last moment from which some branch did not; None: lost from the very start."""
    events: list[TraceEvent] = field(default_factory=list)
    """What happened between the two."""
    forked: bool = True
    elapsed_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "kernel": self.outcome.kernel,
            "sim_seed": self.outcome.sim_seed,
            "chaos_seed": self.outcome.chaos_seed,
            "outcome": self.outcome.to_json(),
            "curve": [asdict(point) for point in self.curve],
            "moment": None if self.moment is None else asdict(self.moment),
            "before": None if self.before is None else asdict(self.before),
            "events": [asdict(event) for event in self.events],
            "forked": self.forked,
            "seconds": round(self.elapsed_s, 3),
        }


def inevitable(
    worker: Worker,
    base: Request,
    *,
    points: int = 12,
    branches: int = 20,
    jobs: int = 1,
    on_point: Callable[[Point], None] | None = None,
) -> Inevitability:
    """Find out when the failure of ``base`` became inevitable; BadKernel when it does not fail."""
    begin = time.perf_counter()
    execution = worker.execute(replace(base, level="events"))
    outcome = execution.outcome
    if outcome.verdict != "fail":
        raise BadKernel(_no_failure(outcome))
    assert outcome.failure is not None
    search = _Search(worker, base, outcome, jobs, Inevitability(outcome), on_point)
    end_ns = outcome.failure.virtual_ns
    moments = sorted({end_ns * number // points for number in range(points)})
    search.found.curve = search.measure(moments, branches)
    search.narrow(_times(execution.events, end_ns), branches)
    found = search.found
    if found.moment is not None:
        since_ns = -1 if found.before is None else found.before.now_ns
        found.events = [
            event for event in execution.events if since_ns < _time_of(event) <= found.moment.now_ns
        ][-EVENTS_MAX:]
    found.elapsed_s = time.perf_counter() - begin
    return found


def _no_failure(outcome: Outcome) -> str:
    seeds = f"seed {outcome.sim_seed}, chaos seed {outcome.chaos_seed}"
    if outcome.ok:
        return f"{outcome.kernel} passes with {seeds}: there is no failure to become inevitable"
    assert outcome.failure is not None
    return f"{outcome.kernel} was cut short with {seeds}: {outcome.failure.message}"


class _Search:
    """Measures moments of one failing run and remembers what it measured."""

    def __init__(
        self,
        worker: Worker,
        base: Request,
        outcome: Outcome,
        jobs: int,
        found: Inevitability,
        on_point: Callable[[Point], None] | None,
    ) -> None:
        self._worker = worker
        self._base = base
        self._outcome = outcome
        self._jobs = jobs
        self._on_point = on_point
        self.found = found

    def measure(self, moments: Sequence[int], branches: int) -> list[Point]:
        """The failure rate of so many branches at each moment that the run reaches."""
        salts = range(1, branches + 1)
        branched = fork_run(
            self._worker,
            self._base,
            [(at_ns, salts) for at_ns in moments],
            jobs=self._jobs,
            goes_on=False,
        )
        if branched.died is not None:
            raise ToronError(f"the search for the moment was cut short: {branched.died[1]}")
        measured = []
        for turn in branched.turns:
            outcomes = [
                outcome for (at_ns, _), outcome in branched.outcomes.items() if at_ns == turn.at_ns
            ]
            if not turn.forks:
                outcomes = self._from_start(turn, salts)
            failing = sum(self._fails_alike(outcome) for outcome in outcomes)
            point = Point(turn.at_ns, turn.now_ns, len(outcomes), failing)
            measured.append(point)
            if self._on_point is not None:
                self._on_point(point)
        return measured

    def _from_start(self, turn: Turn, salts: Sequence[int]) -> list[Outcome]:
        self.found.forked = False
        executed = from_start(self._worker, self._base, turn.at_ns, salts, jobs=self._jobs)
        return [outcome for _, outcome in executed]

    def _fails_alike(self, outcome: Outcome) -> bool:
        """Whether a branch fails in the same way, be it at another time or place."""
        mine, failure = self._outcome.failure, outcome.failure
        assert mine is not None
        return failure is not None and (failure.kind, failure.property) == (
            mine.kind,
            mine.property,
        )

    def narrow(self, times: list[int], branches: int) -> None:
        """Find the first lost moment between the last open one of the curve and the failure."""
        found = self.found
        self._move(found.curve)
        while True:
            candidates = self._between(times)
            if candidates:
                measured = self.measure(_spread(candidates), branches)
                if not measured:  # the run ends before it leaves the first of them behind
                    times = [at_ns for at_ns in times if at_ns < candidates[0]]
                self._move(measured)
            elif found.moment is None or not self._is_refuted(found.moment):
                return

    def _between(self, times: list[int]) -> list[int]:
        """The moments at which something happened between the two ends."""
        before, moment = self.found.before, self.found.moment
        if before is None:
            return []
        end_ns = times[-1] + 1 if moment is None else min(moment.at_ns, moment.now_ns)
        return [at_ns for at_ns in times if before.now_ns < at_ns < end_ns]

    def _move(self, measured: list[Point]) -> None:
        """Move both ends of the interval towards each other by what was measured between."""
        found = self.found
        opened = [point for point in measured if not point.is_lost]
        if opened:
            found.before = opened[-1]
        after = [point for point in measured if not opened or point.at_ns > opened[-1].at_ns]
        if after:
            found.moment = after[0]

    def _is_refuted(self, moment: Point) -> bool:
        """Whether more branches show that the moment is still open."""
        if moment.branches >= CONFIRMED_BY:
            return False
        again = self.measure([moment.at_ns], CONFIRMED_BY)[0]
        if again.is_lost:
            self.found.moment = again
            return False
        self.found.before, self.found.moment = again, None
        return True


def _spread(times: list[int]) -> list[int]:
    """A few of ``times``, evenly."""
    count = min(_SECTIONS, len(times))
    return sorted({times[(number + 1) * len(times) // (count + 1)] for number in range(count)})


def _times(events: list[TraceEvent], end_ns: int) -> list[int]:
    """The different moments at which something happened before the end."""
    return sorted({_time_of(event) for event in events if _time_of(event) < end_ns})


def _time_of(event: TraceEvent) -> int:
    return int(event.text.partition(" ")[0])


def seconds(at_ns: int) -> str:
    """A virtual time for people."""
    return f"{at_ns / SECOND_NS:.6f} s"
