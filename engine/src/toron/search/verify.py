"""Says whether one seed is one behaviour, and if not, which line first behaved otherwise.

Every seed is executed in two processes of different origin, and the outcomes are compared whole:
digest, outputs, properties, steps, time. Under ``varied`` conditions the second process has another
hash seed and random addresses, which shows a program that depends on the order of a set; under
``fixed`` both have the same, which shows what Toron itself does not control. Where two executions
differ, both are repeated with full traces, and the first event that differs is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

from toron.core.choices import substream
from toron.search.explore import WorkerLanes
from toron.search.outcome import Execution, TraceEvent
from toron.search.pool import FIXED, WALL_LIMIT_S, Conditions, Request
from toron.search.references import KernelRef
from toron.search.strategies import DEFAULT_STRATEGY

HashSeeds = Literal["varied", "fixed"]
VARIED_WORKERS = 4
"""How many different hash seeds one verification tries."""
_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first event that differs between two executions of one seed."""

    kernel: str
    sim_seed: int
    event: int
    where: str
    first: str
    second: str
    moves: Literal["hash_seed", "always"]
    """``hash_seed``: only under another hash seed or other addresses; ``always``: at any time."""

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data."""
        return {
            "kernel": self.kernel,
            "sim_seed": self.sim_seed,
            "event": self.event,
            "where": self.where,
            "first": self.first,
            "second": self.second,
            "moves": self.moves,
        }


@dataclass(frozen=True, slots=True)
class Verified:
    """One seed executed twice."""

    reference: KernelRef
    execution: Execution
    divergence: Divergence | None

    @property
    def identical(self) -> bool:
        """Whether both executions behaved alike; of one that was cut short nothing is known."""
        return self.divergence is None and not self.execution.outcome.was_cut_short


@dataclass(frozen=True, slots=True)
class Question:
    """One execution to verify."""

    reference: KernelRef
    sim_seed: int
    chaos_seed: int
    hash_seeds: HashSeeds = "varied"
    strategy: str = DEFAULT_STRATEGY
    trace_failures: bool = False
    """Whether a failing execution comes with all its events; costs one execution more."""


def verify_many(
    questions: Sequence[Question], *, jobs: int = 1, wall_limit_s: float = WALL_LIMIT_S
) -> Iterator[Verified]:
    """Execute every question in two processes, results in the order of the questions."""

    def work(question: Question, lane: int) -> Verified:
        return _Verification(question, lane, lanes).run()

    with WorkerLanes(jobs, wall_limit_s=wall_limit_s) as lanes:
        yield from lanes.run(questions, work)


@dataclass(slots=True)
class _Verification:
    question: Question
    lane: int
    lanes: WorkerLanes

    def run(self) -> Verified:
        first = self._execute("first", FIXED)
        second = self._execute("second", self._conditions())
        for execution in (first, second):
            if execution.outcome.was_cut_short:
                return Verified(self.question.reference, execution, None)
        divergence = None
        if self.question.trace_failures and first.outcome.verdict == "fail":
            traced = self._execute("first", FIXED, "events")
            if not traced.outcome.differs_from(first.outcome):
                first = traced
        if first.outcome.differs_from(second.outcome):
            divergence = self._explain(first, second)
        return Verified(self.question.reference, first, divergence)

    def _conditions(self) -> Conditions:
        if self.question.hash_seeds == "fixed":
            return FIXED
        number = self.question.sim_seed % VARIED_WORKERS
        seed = 1 + substream(number, "verify.hash") % (2**32 - 2)
        return Conditions(hash_seed=seed, random_addresses=True)

    def _execute(self, role: str, conditions: Conditions, level: str = "digest") -> Execution:
        question = self.question
        worker = self.lanes.get(self.lane, question.reference.path, role, conditions)
        name = question.reference.name
        return worker.execute(
            Request(
                name,
                question.sim_seed,
                question.chaos_seed,
                level,
                strategy=question.strategy,
            )
        )

    def _explain(self, first: Execution, second: Execution) -> Divergence:
        """Repeat both sides with full traces until they differ again."""
        again = self._execute("second", FIXED)
        moves: Literal["hash_seed", "always"] = "hash_seed"
        if self.question.hash_seeds == "fixed" or again.outcome.differs_from(first.outcome):
            moves = "always"
        for _ in range(_REPEATS):
            a = self._execute("first", FIXED, "full")
            b = self._execute("second", self._conditions(), "full")
            found = _first_difference(_hashed(a.events), _hashed(b.events))
            if found is not None:
                return self._divergence(*found, _first_line(a.events, b.events), moves)
        return self._divergence_of_outcomes(first, second, moves)

    def _divergence(
        self,
        a: TraceEvent | None,
        b: TraceEvent | None,
        line: tuple[TraceEvent, TraceEvent] | None,
        moves: Literal["hash_seed", "always"],
    ) -> Divergence:
        """The first program line whose values differ, else the first event that does."""
        event = b or a
        assert event is not None
        first = a.text if a else "(the execution had ended)"
        second = b.text if b else "(the execution had ended)"
        where = event.where
        if line is not None:
            first, second, where = line[0].text, line[1].text, line[1].where
        return Divergence(
            kernel=self.question.reference.name,
            sim_seed=self.question.sim_seed,
            event=event.number,
            where=where,
            first=first,
            second=second,
            moves=moves,
        )

    def _divergence_of_outcomes(
        self, first: Execution, second: Execution, moves: Literal["hash_seed", "always"]
    ) -> Divergence:
        """The difference did not show again: name what differed in the results."""
        a, b = first.outcome.to_json(), second.outcome.to_json()
        field = next((name for name in a if a[name] != b[name]), "trace_digest")
        failure = second.outcome.failure or first.outcome.failure
        return Divergence(
            kernel=self.question.reference.name,
            sim_seed=self.question.sim_seed,
            event=0,
            where=failure.where if failure is not None else "",
            first=f"{field}: {a[field]}",
            second=f"{field}: {b[field]} (seen once, not again in {_REPEATS} repeats)",
            moves=moves,
        )


def _hashed(events: list[TraceEvent]) -> list[TraceEvent]:
    """The events of the trace proper, without the notes about program lines."""
    return [event for event in events if event.number]


def _first_line(a: list[TraceEvent], b: list[TraceEvent]) -> tuple[TraceEvent, TraceEvent] | None:
    """The first line that left other values, the program's own before those of its libraries."""
    for accepts in (_is_of_program, _is_any):
        left = [event for event in a if not event.number and accepts(event.where)]
        right = [event for event in b if not event.number and accepts(event.where)]
        for one, other in zip(left, right, strict=False):
            if one.where != other.where or one.text != other.text:
                return one, other
    return None


def _is_of_program(place: str) -> bool:
    return not place.startswith(("site-packages", "python/"))


def _is_any(_place: str) -> bool:
    return True


def _first_difference(
    a: list[TraceEvent], b: list[TraceEvent]
) -> tuple[TraceEvent | None, TraceEvent | None] | None:
    for left, right in zip_longest(a, b):
        if left is None or right is None or left.text != right.text:
            return left, right
    return None


@dataclass(slots=True)
class Verification:
    """The sum of many verified executions."""

    executions: int = 0
    identical: int = 0
    inconclusive: int = 0
    first_divergence: Divergence | None = None
    divergences: list[Divergence] | None = None

    def add(self, verified: Verified) -> None:
        """Count one."""
        self.executions += 1
        self.identical += verified.identical
        self.inconclusive += verified.execution.outcome.verdict == "inconclusive"
        if verified.divergence is not None:
            self.first_divergence = self.first_divergence or verified.divergence
            self.divergences = [*(self.divergences or []), verified.divergence]

    @property
    def determinism_percent(self) -> float:
        """Identical executions of a hundred; 0 when nothing was executed."""
        return 100.0 * self.identical / self.executions if self.executions else 0.0

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        first = self.first_divergence
        return {
            "executions": self.executions,
            "identical": self.identical,
            "determinism_percent": round(self.determinism_percent, 4),
            "inconclusive": self.inconclusive,
            "first_divergence": first.to_json() if first is not None else None,
            "divergences": [one.to_json() for one in self.divergences or []],
        }


def verify(
    reference: KernelRef,
    seeds: Sequence[int],
    chaos_seed: int,
    *,
    jobs: int = 1,
    hash_seeds: HashSeeds = "varied",
    strategy: str = DEFAULT_STRATEGY,
    on_verified: Callable[[Verified], None] | None = None,
) -> Verification:
    """Verify every seed of one kernel."""
    total = Verification()
    questions = [Question(reference, seed, chaos_seed, hash_seeds, strategy) for seed in seeds]
    for verified in verify_many(questions, jobs=jobs):
        total.add(verified)
        if on_verified is not None:
            on_verified(verified)
    return total
