"""Branches of one run: its world is forked at a moment, and each copy goes on by its own chance.

A branch is named by the run and a salt, which is its number; branch 0 is the run itself, going on
as it does without being branched. A fork is only the cheap way to execute one: `Request.reseeds`
executes the same branch from the start, to the same digest, and is what its token holds. So where a
world cannot be forked (it has threads at that moment) its branches are executed from the start.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from toron.core.clock import SECOND_NS
from toron.errors import BadKernel, ToronError, WorkerDied
from toron.search.explore import WorkerLanes
from toron.search.outcome import FailureKind, Outcome
from toron.search.pool import Request, Worker, death_of, in_parallel

ITSELF = 0
"""The branch that is the run itself."""
SALT_MAX = 2**53
_ATTEMPTS_MAX = 2
Hear = Callable[[int, int, Outcome], None]
"""Told of each branch as it comes: the time of the turn, the salt, what it came to."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A moment that the run reached: the time asked for and the true one, and whether it forks."""

    at_ns: int
    now_ns: int
    threads: int
    forks: bool


@dataclass(slots=True)
class Branched:
    """What one execution and the forks of it came to."""

    turns: list[Turn] = field(default_factory=list)
    outcomes: dict[tuple[int, int], Outcome] = field(default_factory=dict)
    """By the time of the turn and the salt."""
    itself: Outcome | None = None
    """The outcome of the execution, when it was to go on behind its last turn."""
    died: tuple[FailureKind, str] | None = None
    """How the process of the execution ended before it had forked everything, if it did."""


def reseeded(base: Request, at_ns: int, salt: int) -> Request:
    """The request that executes a branch from the start."""
    if salt == ITSELF:
        return base
    return replace(base, reseeds=(*base.reseeds, (at_ns, salt)))


def fork_run(
    worker: Worker,
    base: Request,
    points: Sequence[tuple[int, Sequence[int]]],
    *,
    jobs: int,
    goes_on: bool,
    hear: Hear | None = None,
) -> Branched:
    """Execute ``base`` once, and fork it at each of ``points`` once for each salt.

    What the machine killed is tried once more. A turn that cannot be forked has no outcomes.
    """
    branched = Branched()
    wanted = [(at_ns, [salt for salt in salts if salt != ITSELF]) for at_ns, salts in points]
    for _ in range(_ATTEMPTS_MAX):
        plan = {"points": wanted, "jobs": jobs, "goes_on": goes_on}
        branched.turns.clear()
        branched.died = None
        try:
            _listen(worker, base, plan, branched, hear)
        except TimeoutError:
            text = f"no answer within {worker.wall_limit_s:g} s of real time; the run was killed"
            branched.died = "limit", text
        except (EOFError, WorkerDied) as error:
            branched.died = "crash", f"the run that was branched died: {error}"
        if branched.died is None or branched.died[0] == "limit":
            break
        worker.stop()
        wanted = [
            (at_ns, [salt for salt in salts if (at_ns, salt) not in branched.outcomes])
            for at_ns, salts in wanted
        ]
    return branched


def _listen(
    worker: Worker, base: Request, plan: dict[str, Any], branched: Branched, hear: Hear | None
) -> None:
    current: tuple[int, int] | None = None
    for message in worker.converse(base, plan):
        match message["kind"]:
            case "turn":
                told = {name: value for name, value in message.items() if name != "kind"}
                branched.turns.append(Turn(**told))
            case "branch":
                current = message["at_ns"], message["salt"]
                if "status" in message:
                    request = reseeded(base, *current)
                    outcome = _died(worker, request, message)
                    _keep(branched, current, outcome, hear)
                    current = None
            case "outcome":
                if current is None:
                    branched.itself = worker.execution_from(message, base).outcome
                else:
                    request = reseeded(base, *current)
                    outcome = worker.execution_from(message, request).outcome
                    _keep(branched, current, outcome, hear)
                    current = None
            case "refused":
                raise BadKernel(message["message"])
            case "error":
                raise ToronError(f"Toron failed inside the worker:\n{message['message']}")
            case "end" if message["status"]:
                raise WorkerDied(death_of(message["status"]))


def _keep(branched: Branched, key: tuple[int, int], outcome: Outcome, hear: Hear | None) -> None:
    branched.outcomes[key] = outcome
    if hear is not None:
        hear(*key, outcome)


def _died(worker: Worker, request: Request, message: dict[str, Any]) -> Outcome:
    """The outcome of a branch that ended without one."""
    status = message["status"]
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM):
        return worker.cut_short(request, "crash", death_of(status)).outcome
    text = f"no answer within {worker.wall_limit_s:g} s of real time; the process was killed"
    place = message.get("stuck")
    if place:
        text += f"; it was stuck at {place}, in C code or in a loop that never waits"
    return worker.cut_short(request, "limit", text).outcome


@dataclass(slots=True)
class Branching:
    """What the branches of one run at one moment came to."""

    kernel: str
    sim_seed: int
    chaos_seed: int
    at_ns: int
    salts: list[int]
    branches: list[Outcome] = field(default_factory=list)
    forked: bool = True
    """Whether the branches are forks; if not, each was executed from the start."""
    note: str = ""
    """Why they are not."""
    interrupted: bool = False
    elapsed_s: float = 0.0

    @property
    def failing(self) -> list[int]:
        """The branches that failed."""
        return self._with("fail")

    @property
    def inconclusive(self) -> list[int]:
        """The branches that say nothing: they were cut short."""
        return self._with("inconclusive")

    def _with(self, verdict: str) -> list[int]:
        both = zip(self.salts, self.branches, strict=True)
        return [salt for salt, outcome in both if outcome.verdict == verdict]

    def causes(self) -> list[list[tuple[int, Outcome]]]:
        """What failed or was cut short, by number, grouped by kind and place."""
        groups: dict[tuple[str, str], list[tuple[int, Outcome]]] = {}
        for salt, outcome in zip(self.salts, self.branches, strict=True):
            if outcome.failure is not None:
                cause = outcome.failure.kind, outcome.failure.where
                groups.setdefault(cause, []).append((salt, outcome))
        return list(groups.values())

    @property
    def distinct_digests(self) -> int:
        """How many different behaviours there are among the branches that ended."""
        return len({outcome.trace_digest for outcome in self.branches} - {""})

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "kernel": self.kernel,
            "sim_seed": self.sim_seed,
            "chaos_seed": self.chaos_seed,
            "at_ns": self.at_ns,
            "branches": [
                {**outcome.to_json(), "branch": salt}
                for salt, outcome in zip(self.salts, self.branches, strict=True)
            ],
            "distinct_digests": self.distinct_digests,
            "failing": self.failing,
            "inconclusive": self.inconclusive,
            "forked": self.forked,
            "note": self.note,
            "interrupted": self.interrupted,
            "seconds": round(self.elapsed_s, 3),
        }


def branch(
    worker: Worker,
    base: Request,
    at_ns: int,
    salts: Sequence[int],
    *,
    jobs: int = 1,
    on_branch: Callable[[int, Outcome], None] | None = None,
) -> Branching:
    """Branch ``base`` at ``at_ns``; BadKernel when the run ends before.

    Ctrl-C ends it early, with the branches that are known by then.
    """
    begin = time.perf_counter()
    branching = Branching(base.name, base.sim_seed, base.chaos_seed, at_ns, list(salts))
    found: dict[int, Outcome] = {}

    def hear(_at_ns: int, salt: int, outcome: Outcome) -> None:
        found[salt] = outcome
        if on_branch is not None:
            on_branch(salt, outcome)

    try:
        _find(worker, base, branching, jobs, found, hear)
    except KeyboardInterrupt:
        branching.interrupted = True
        branching.salts = [salt for salt in salts if salt in found]
    branching.branches = [found[salt] for salt in branching.salts]
    branching.elapsed_s = time.perf_counter() - begin
    return branching


def _find(
    worker: Worker,
    base: Request,
    branching: Branching,
    jobs: int,
    found: dict[int, Outcome],
    hear: Hear,
) -> None:
    """Execute all branches of ``branching``, by forks if they can be."""
    at_ns, salts = branching.at_ns, branching.salts
    goes_on = ITSELF in salts
    branched = fork_run(worker, base, [(at_ns, salts)], jobs=jobs, goes_on=goes_on, hear=hear)
    if branched.itself is not None and branched.turns:
        hear(at_ns, ITSELF, branched.itself)
    rest = [salt for salt in salts if salt not in found]
    if branched.died is not None:  # again and again: of what is missing nothing is known
        for salt in rest:
            request = reseeded(base, at_ns, salt)
            hear(at_ns, salt, worker.cut_short(request, *branched.died).outcome)
    elif not branched.turns:
        raise BadKernel(_too_late(worker, base, at_ns, branched.itself))
    elif not branched.turns[0].forks:
        branching.forked = False
        branching.note = _why_slow(branched.turns[0])
        for salt, outcome in from_start(worker, base, at_ns, rest, jobs=jobs):
            hear(at_ns, salt, outcome)


def _why_slow(turn: Turn) -> str:
    return (
        f"the program has {turn.threads} threads at {turn.at_ns / SECOND_NS:g} s, which a fork "
        "would lose: each branch was executed from the start (same results, slower)"
    )


def from_start(
    worker: Worker, base: Request, at_ns: int, salts: Sequence[int], *, jobs: int
) -> Iterator[tuple[int, Outcome]]:
    """Execute branches without forks, each from the start of the run."""

    def work(salt: int, lane: int) -> tuple[int, Outcome]:
        own = lanes.get(lane, worker.path, "branch")
        return salt, own.execute(reseeded(base, at_ns, salt)).outcome

    with WorkerLanes(wall_limit_s=worker.wall_limit_s) as lanes:
        yield from in_parallel(list(salts), work, jobs=jobs)


def _too_late(worker: Worker, base: Request, at_ns: int, itself: Outcome | None) -> str:
    outcome = itself if itself is not None else worker.execute(base).outcome
    ended = outcome.virtual_ns / SECOND_NS
    how = "passed" if outcome.ok else "failed" if outcome.verdict == "fail" else "was cut short"
    if outcome.was_cut_short:
        assert outcome.failure is not None
        return f"the run was cut short before it could be branched: {outcome.failure.message}"
    return (
        f"the run never gets beyond --at {at_ns / SECOND_NS:g}: with these seeds it {how} at "
        f"{ended:.6f} virtual seconds; branch before that"
    )
