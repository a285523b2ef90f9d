"""Finds out why a run failed: shrinks it, looks at it, and compares it with runs that pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from toron.core.tape import Deviation as TapeDeviation
from toron.errors import BadKernel
from toron.search.explain.chain import Link, Lost, chain_of, cycle_of, focus_of, lost_wakeups
from toron.search.explain.deviations import CANCEL, Deviation, deviations_of
from toron.search.explain.explanation import Explanation
from toron.search.explain.legality import (
    Legality,
    is_order,
    legality_of,
    proven,
    same_cause,
)
from toron.search.explain.neighbours import Passing, nearest_passing
from toron.search.explain.reproduce import Reproduction, reproduced
from toron.search.explain.script import is_scriptable, obstacle
from toron.search.explain.sources import Sources
from toron.search.explain.steps import Account, account_of
from toron.search.outcome import Execution, Outcome
from toron.search.pool import Request, Worker
from toron.search.references import Token
from toron.search.shrink import shrink

WITNESS_RUNS = 100
"""How many runs in asyncio's own order are tried for a failure that came by a beyond one."""
SHRINK_RUNS = 300
_REFINEMENTS = 4
_RUNS_MIN = 4
_STEPS_MAX = 3_000_000
"""Of all runs of an explanation together: one of a livelock takes 500,000."""
_WAITERS_SHOWN = 4
_DEVIATIONS_SHOWN = 12
_AROUND = 3

Tape = Sequence[TapeDeviation]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much is to be found out."""

    shrinks: bool = True
    script: Path | None = None
    reproduces: bool = True
    """Whether to write and run a script for stock asyncio."""
    witness_runs: int = WITNESS_RUNS
    shrink_runs: int = SHRINK_RUNS

    def within(self, steps: int) -> Wanted:
        """As much of it as is bearable for runs of so many steps."""
        most = max(_RUNS_MIN, _STEPS_MAX // max(1, steps))
        return replace(
            self,
            witness_runs=min(self.witness_runs, most),
            shrink_runs=min(self.shrink_runs, most),
        )


class Runs:
    """Executes runs of one kernel and one pair of seeds."""

    def __init__(self, worker: Worker, token: Token) -> None:
        self.path = worker.path
        self._worker = worker
        self._token = token

    def turn_to(self, outcome: Outcome) -> None:
        """Execute tapes under the seeds of ``outcome`` from now on."""
        self._token = replace(
            self._token, sim_seed=outcome.sim_seed, chaos_seed=outcome.chaos_seed, reseeds=()
        )

    @property
    def is_branch(self) -> bool:
        """Whether the run goes on under other seeds from some moment on."""
        return bool(self._token.reseeds)

    def original(self, level: str = "events") -> Execution:
        """The run of the token, with its tape."""
        token = self._token
        request = replace(
            self._request(level), strategy=token.strategy, tape=token.tape, records_tape=True
        )
        return self._worker.execute(request)

    def tape(self, tape: Tape, level: str = "digest") -> Execution:
        """The run with these deviations."""
        return self._worker.execute(replace(self._request(level), tape=tuple(tape)))

    def survey(self, tape: Tape) -> list[TapeDeviation]:
        """Where a run could deviate, and by how much at most, in the order of the run."""
        request = replace(self._request("digest"), tape=tuple(tape), surveys=True)
        return list(dict.fromkeys(self._worker.execute(request).offers))

    def strategy(self, name: str, level: str = "digest", seed: int | None = None) -> Execution:
        """A run that a strategy chooses."""
        seed = self._token.sim_seed if seed is None else seed
        request = replace(
            self._request(level), strategy=name, sim_seed=seed, records_tape=True, reseeds=()
        )
        return self._worker.execute(request)

    def legal(self, runs: int) -> Iterator[Execution]:
        """Runs in asyncio's own order with stalls: of this seed, then of others."""
        seeds = (self._token.sim_seed, *range(runs))
        for seed in dict.fromkeys(seeds):
            yield self.strategy("legal", seed=seed)

    def _request(self, level: str) -> Request:
        token = self._token
        return Request(token.name, token.sim_seed, token.chaos_seed, level, reseeds=token.reseeds)


def explain(token: Token, wanted: Wanted) -> Explanation:
    """The explanation of the run of ``token``."""
    reference = token.kernel()
    if wanted.script is not None and not wanted.script.parent.is_dir():
        raise BadKernel(f"--script {wanted.script}: no such folder as {wanted.script.parent}")
    with Worker(reference.path) as worker:
        runs = Runs(worker, token)
        execution = runs.original("events")
        failure = execution.outcome.failure
        if failure is None:
            raise BadKernel("this run passes, so there is no failure to explain; see toron trace")
        if execution.outcome.was_cut_short:
            raise BadKernel(
                f"this run was cut short ({failure.message}), and nothing is known of what it did"
            )
        wanted = wanted.within(execution.outcome.steps)
        if not wanted.shrinks or execution.outcome.verdict != "fail":
            return _explained(execution, execution.tape, runs, wanted, Sources(worker.root))
        shrunk = shrink(reference, token, budget=wanted.shrink_runs, jobs=1)
        smaller = Runs(worker, Token.decode(shrunk.outcome.token))
        return _explained(
            smaller.original("events"), execution.tape, smaller, wanted, Sources(worker.root)
        )


def _explained(
    execution: Execution, first_tape: Tape, runs: Runs, wanted: Wanted, sources: Sources
) -> Explanation:
    """Explain ``execution``; ``first_tape`` is that of the run that was shrunk to it."""
    tape = execution.tape
    account = account_of(execution)
    deviations = deviations_of(account, _program_cancels(runs, tape))
    label = labelled(execution.outcome, deviations, [tape, first_tape], runs, wanted.witness_runs)
    lost = list(lost_wakeups(account))
    chain = chain_of(focus_of(account, lost), _first_of(deviations))
    passing = nearest_passing(account, tape, runs.tape, runs.survey)
    failure = execution.outcome.failure
    assert failure is not None
    return Explanation(
        outcome=replace(execution.outcome, failure=replace(failure, legality=label.text)),
        account=account,
        sources=sources,
        tape=tape,
        is_shrunk=len(tape) < len(first_tape),
        deviations=deviations,
        legality=label,
        chain=chain,
        cycle=cycle_of(account.story.waits),
        lost=lost,
        passing=passing,
        relevant=_relevant(account, deviations, chain, lost) | _around(account, passing),
        reproduction=(
            _reproduction(account, tape, label, runs, wanted) if wanted.reproduces else None
        ),
    )


def labelled(
    failing: Outcome,
    deviations: Sequence[Deviation],
    tapes: Sequence[Tape],
    runs: Runs,
    witness_runs: int,
) -> Legality:
    """The legality of a failure: of its own run, else of others that fail alike.

    ``tapes`` are runs of it from which the deviations that are beyond can be taken away.
    """
    label = legality_of(deviations)
    if label.is_legal:
        return label
    return proven(failing, label, _legal_runs(failing, tapes, runs, witness_runs))


def _legal_runs(
    failing: Outcome, tapes: Sequence[Tape], runs: Runs, witness_runs: int
) -> Iterator[Execution]:
    """Runs that do nothing beyond, the likeliest to fail alike first."""
    for tape in dict.fromkeys(tuple(tape) for tape in tapes):
        found = _without_beyond(failing, tape, runs)
        if found is not None:
            yield found
        yield runs.tape([(key, value) for key, value in tape if not is_order(key)])
    yield from runs.legal(witness_runs)


def _without_beyond(failing: Outcome, tape: Tape, runs: Runs) -> Execution | None:
    """The run of ``tape`` without what is beyond in it, if it fails alike and is legal then."""
    for _ in range(_REFINEMENTS):
        execution = runs.tape(tape, "events")
        if not same_cause(failing, execution.outcome):
            return None
        beyond = [one for one in deviations_of(account_of(execution)) if not one.is_legal]
        if not beyond:
            return execution
        keys = {key for one in beyond for key in one.keys}
        fewer = [(key, value) for key, value in tape if key not in keys]
        if len(fewer) == len(tape):
            return None
        tape = fewer
    return None


def _scriptable(
    failing: Account, tape: Tape, witness: Execution | None, runs: Runs, wanted: Wanted
) -> Account | None:
    """A run that fails alike and deviates by stalls alone, with as few as possible."""
    for candidate in _candidates(tape, witness, runs, wanted):
        stalls = [deviation for deviation in candidate if is_scriptable([deviation])]
        if same_cause(failing.execution.outcome, runs.tape(stalls).outcome):
            found = _fewest(failing.execution.outcome, stalls, runs)
            return account_of(runs.tape(found, "events"))
    return None


def _candidates(
    tape: Tape, witness: Execution | None, runs: Runs, wanted: Wanted
) -> Iterator[Tape]:
    if not runs.is_branch:
        yield tape
    if witness is not None:
        runs.turn_to(witness.outcome)
        yield witness.tape
        return
    for execution in runs.legal(wanted.witness_runs):
        if execution.outcome.verdict == "fail":
            runs.turn_to(execution.outcome)
            yield execution.tape


def _fewest(failing: Outcome, stalls: Tape, runs: Runs) -> Tape:
    """``stalls`` without those that the failure does not need."""
    left, size = list(stalls), max(1, len(stalls) // 2)
    while size and left:
        at = 0
        while at < len(left):
            fewer = left[:at] + left[at + size :]
            if same_cause(failing, runs.tape(fewer).outcome):
                left = fewer
            else:
                at += size
        size //= 2
    return left


def _reproduction(
    account: Account, tape: Tape, label: Legality, runs: Runs, wanted: Wanted
) -> Reproduction:
    why_not = obstacle(account)
    if why_not:
        return Reproduction(why_not)
    if account.execution.outcome.verdict != "fail":
        return Reproduction("not tried: the run was ended by a limit, and did not fail")
    if not label.is_legal:
        return Reproduction("not possible: stock asyncio keeps the order that this failure needs")
    found = _scriptable(account, tape, label.witness, runs, wanted)
    if found is None:
        return Reproduction(
            "not possible: no run was found that needs nothing but a process that stands still; "
            "the order of arrivals and of timers of one tick cannot be forced from outside"
        )
    return reproduced(found, runs.path, wanted.script)


def _program_cancels(runs: Runs, tape: Tape) -> set[str]:
    """The tasks that the program cancels by itself, as far as a harmless run shows."""
    if not any(key.startswith(CANCEL) for key, _ in tape):
        return set()
    harmless = account_of(runs.tape([], "events"))
    return {step.who for step in harmless.steps if step.canceller is not None}


def _first_of(deviations: Sequence[Deviation]) -> int:
    """The first step that a deviation has moved; the end of the run when there is none."""
    return min((step.number for one in deviations for step in one.steps), default=0)


def _relevant(
    account: Account,
    deviations: Sequence[Deviation],
    chain: Sequence[Link],
    lost: Sequence[Lost],
) -> frozenset[int]:
    """The numbers of the steps that matter."""
    chosen = {step.number for one in deviations[-_DEVIATIONS_SHOWN:] for step in one.steps}
    chosen |= {link.step.number for link in chain}
    chosen |= {step.number for one in lost for step in one.steps}
    for wait in account.story.waits[:_WAITERS_SHOWN]:
        steps = account.of_lane(wait.lane)
        chosen |= {step.number for step in steps[-1:]}
    return frozenset(chosen)


def _around(account: Account, passing: Passing | None) -> frozenset[int]:
    """The first steps of tasks that the nearest passing run does not have."""
    if passing is None:
        return frozenset()
    others = (step.number for step in account.steps if step.is_task)
    return frozenset(islice((number for number in others if number > passing.alike), _AROUND))
