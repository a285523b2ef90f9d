"""Shrinks a failure: fewer deviations from the harmless run, and smaller ones, while it stays.

The failure that must stay is the *cause* of it (`toron.search.clusters`), not the digest: a smaller
run behaves differently. A candidate that fails with another cause is noted and not followed, since
a shrunk failure must be the one that was asked about. The passes are in `shrink_passes`; this file
executes their candidates, with a budget in runs, on as many processes as it is given. What is
executed ahead of its turn and not needed is not counted, so the result and the number of runs are
the same for any number of processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from toron.core.clock import SECOND_NS
from toron.errors import BadKernel, ToronError
from toron.search.clusters import is_same
from toron.search.explore import WorkerLanes
from toron.search.outcome import Execution, Outcome
from toron.search.pool import Request, Worker
from toron.search.references import KernelRef, Token
from toron.search.shrink_passes import (
    ANEW_FROM,
    DELETING,
    FIRST,
    LOWERING,
    Pass,
    Tape,
    anew,
    size_of,
)

BUDGET_RUNS = 500
_RUNS_MIN = 2
"""The run itself, and once more from its tape."""
_LONGER_THAN = 4
_AND_SECONDS = 60
"""A candidate may take four times as long as the failure did, and a minute, in virtual time."""


class NotReproduced(ToronError):
    """A run behaves differently when it is repeated: the program is not deterministic."""


@dataclass(slots=True)
class Shrunk:
    """What shrinking came to."""

    outcome: Outcome
    request: Request
    """What executes it."""
    before: int
    """How many deviations the run had that was shrunk."""
    runs: int = 0
    finished: bool = True
    """Whether no pass finds anything smaller; else the budget or Ctrl-C has ended it."""
    interrupted: bool = False
    also_found: list[Outcome] = field(default_factory=list)
    """Failures with other causes that were met on the way, one for each."""

    @property
    def deviations(self) -> Tape:
        """What is left."""
        return self.request.tape or ()

    def to_json(self) -> dict[str, Any]:
        """The fields of the outcome, and what is known about the shrinking."""
        return {
            **self.outcome.to_json(),
            "deviations": [[key, value] for key, value in self.deviations],
            "deviations_before": self.before,
            "runs": self.runs,
            "finished": self.finished,
            "interrupted": self.interrupted,
            "also_found": [outcome.to_json() for outcome in self.also_found],
        }


class _BudgetSpent(Exception):
    """The number of runs that were allowed has been executed."""


class _Walk:
    """A pass as it goes on, and a scout that goes ahead as if all candidates were refused."""

    def __init__(self, make_pass: Callable[[Tape], Pass], tape: Tape) -> None:
        self._begin: Callable[[], Pass] = lambda: make_pass(tape)
        self._answers: list[Tape | None] = []
        self._running = self._begin()
        self._scout: Pass | None = None
        self._ahead: deque[Tape] = deque()
        self.candidate = next(self._running, None)

    def answer(self, found: Tape | None) -> None:
        """Tell the pass what became of its candidate; it comes to the next."""
        self._answers.append(found)
        self.candidate = _send(self._running, found)
        if found is not None:
            self._scout = None
            self._ahead.clear()
        elif self._ahead:
            self._ahead.popleft()

    def ahead(self, count: int) -> list[Tape]:
        """At most ``count`` candidates that come next if none before them is accepted."""
        if self._scout is None and count:
            self._scout = self._begin()
            next(self._scout, None)
            for answer in self._answers:
                _send(self._scout, answer)
        while self._scout is not None and len(self._ahead) < count:
            candidate = _send(self._scout, None)
            if candidate is None:
                break
            self._ahead.append(candidate)
        return list(self._ahead)[:count]


def _send(running: Pass, answer: Tape | None) -> Tape | None:
    try:
        return running.send(answer)
    except StopIteration:
        return None


class Shrinker:
    """One shrinking: executes candidates, remembers the answers, keeps the smallest."""

    def __init__(
        self, run: Callable[[Sequence[Request]], list[Execution]], budget: int, jobs: int
    ) -> None:
        self._run = run
        self._budget = max(_RUNS_MIN, budget)
        self._jobs = jobs
        self._answers: dict[Request, Execution] = {}
        self._counted: set[Request] = set()

    def shrink(self, first: Request) -> Shrunk:
        """Shrink the run that ``first`` asks for; NotReproduced when it does not fail."""
        self._begin(first)
        shrunk = self.shrunk
        try:
            for make_pass in FIRST:
                self._pass(make_pass)()
            self._look_anew()
            self._until_nothing_changes([self._delete, *map(self._pass, LOWERING)])
            self._lower_seeds()
        except _BudgetSpent:
            shrunk.finished = False
        except KeyboardInterrupt:
            shrunk.finished, shrunk.interrupted = False, True
        shrunk.runs = len(self._counted)
        return shrunk

    def _begin(self, first: Request) -> None:
        original = self._ask(replace(first, records_tape=first.tape is None))
        failure = original.outcome.failure
        if failure is None:
            raise BadKernel("the run of this token passes; there is nothing to shrink")
        if original.outcome.was_cut_short:
            raise BadKernel(f"the run of this token cannot be shrunk: {failure.message}")
        self._wanted = failure
        self._causes = {failure.cause}
        tape = tuple(original.tape)
        again = self._ask(replace(first, tape=tape))
        if not is_same(again.outcome.failure, failure):
            raise NotReproduced(
                "the run of this token fails, and does not when it is repeated: the program is not "
                "deterministic (see toron verify)"
            )
        limit_s = original.outcome.virtual_ns / SECOND_NS * _LONGER_THAN + _AND_SECONDS
        self._best = replace(
            first, tape=tape, time_limit_s=None if failure.kind == "limit" else limit_s
        )
        self.shrunk = Shrunk(again.outcome, self._best, before=len(tape))

    def _look_anew(self) -> None:
        if len(self.shrunk.deviations) >= ANEW_FROM:
            survey = self._ask(replace(self._best, tape=(), surveys=True))
            self._pass(anew(survey.offers))()

    def _delete(self) -> None:
        self._until_nothing_changes([self._pass(make_pass) for make_pass in DELETING])

    def _until_nothing_changes(self, steps: Sequence[Callable[[], None]]) -> None:
        before = None
        while before != self._best:
            before = self._best
            for step in steps:
                step()

    def _pass(self, make_pass: Callable[[Tape], Pass]) -> Callable[[], None]:
        def walk() -> None:
            assert self._best.tape is not None
            walk = _Walk(make_pass, self._best.tape)
            while walk.candidate is not None:
                walk.answer(self._try(walk.candidate, walk))

        return walk

    def _try(self, candidate: Tape, walk: _Walk) -> Tape | None:
        """The tape that the run of a candidate met, when it is smaller and fails alike."""
        request = replace(self._best, tape=candidate)
        ahead: list[Request] = []
        if request not in self._answers:
            ahead = [replace(request, tape=tape) for tape in walk.ahead(self._jobs - 1)]
        return self._judge(request, self._ask(request, ahead))

    def _judge(
        self, request: Request, execution: Execution, *, may_be_equal: bool = False
    ) -> Tape | None:
        assert self._best.tape is not None
        outcome, met = execution.outcome, tuple(execution.tape)
        if not is_same(outcome.failure, self._wanted):
            self._note(outcome)
            return None
        size, least = size_of(met), size_of(self._best.tape)
        if size > least or (size == least and not may_be_equal):
            return None
        self._best = replace(request, tape=met)
        self.shrunk.outcome, self.shrunk.request = outcome, self._best
        return met

    def _note(self, outcome: Outcome) -> None:
        failure = outcome.failure
        if failure is not None and outcome.verdict == "fail" and failure.cause not in self._causes:
            self._causes.add(failure.cause)
            self.shrunk.also_found.append(outcome)

    def _lower_seeds(self) -> None:
        """What still hangs on the seeds (random numbers, what faults are planned): seeds 0."""
        best = self._best
        for request in (
            replace(best, sim_seed=0, chaos_seed=0, reseeds=()),
            replace(best, reseeds=()),
            replace(best, sim_seed=0),
            replace(best, chaos_seed=0),
        ):
            if request != best:
                found = self._judge(request, self._ask(request), may_be_equal=True)
                if found is not None:
                    break

    def _ask(self, request: Request, ahead: Sequence[Request] = ()) -> Execution:
        """The answer to ``request``; processes that would idle take what may be asked next."""
        if request not in self._counted:
            if len(self._counted) >= self._budget:
                raise _BudgetSpent
            self._counted.add(request)
        if request not in self._answers:
            asked = [one for one in dict.fromkeys([request, *ahead]) if one not in self._answers]
            self._answers.update(zip(asked, self._run(asked), strict=True))
        return self._answers[request]


def shrink(reference: KernelRef, token: Token, *, budget: int, jobs: int) -> Shrunk:
    """Shrink what ``token`` stands for; the result was replayed in a fresh process."""
    first = Request(
        reference.name,
        token.sim_seed,
        token.chaos_seed,
        strategy=token.strategy,
        tape=token.tape,
        reseeds=token.reseeds,
    )
    # In this order: after Ctrl-C the workers end first, then the threads that wait for them, and
    # then another worker is started, which must not get a descriptor that such a thread reads.
    with ThreadPoolExecutor(jobs) as threads, WorkerLanes(jobs) as lanes:

        def work(request: Request, lane: int) -> Execution:
            return lanes.get(lane, reference.path, "only").execute(request)

        def run(requests: Sequence[Request]) -> list[Execution]:
            if len(requests) == 1:
                return [work(requests[0], 0)]
            return list(threads.map(work, requests, range(len(requests))))

        shrunk = Shrinker(run, budget, jobs).shrink(first)
    with Worker(reference.path) as fresh:
        checked = fresh.execute(replace(shrunk.request, time_limit_s=None)).outcome
    if checked.trace_digest != shrunk.outcome.trace_digest:
        raise NotReproduced(
            "the shrunk run behaves differently in a fresh process: the program is not "
            "deterministic (see toron verify)"
        )
    shrunk.outcome = checked
    return shrunk
