"""The passing run that is nearest to a failing one: of those with one deviation less.

Nearest is the one that is the same run for the longest. Without a deviation to take away, or when
each neighbour fails too, it is a run of the same seed under another strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from toron.core.tape import Deviation
from toron.search.explain.steps import Account, account_of
from toron.search.outcome import Execution
from toron.search.traces.diff import difference

_NEIGHBOURS_MAX = 16
_STRATEGIES = ("random", "portfolio", "pct", "coincidence")

Tape = Sequence[Deviation]
RunTape = Callable[[Tape, str], Execution]
"""Executes a tape at a level of the trace."""
RunStrategy = Callable[[str, str], Execution]


@dataclass(frozen=True, slots=True, eq=False)
class Passing:
    """A run that passes, and how long it is the failing one."""

    account: Account
    without: str
    """What it does not have, as a key of the tape; empty: it is another run of the seed."""
    alike: int
    """How many events both have in common."""


def nearest_passing(
    failing: Account, tape: Tape, run: RunTape, run_strategy: RunStrategy
) -> Passing | None:
    """The nearest run that passes, or None when none of those that were tried does."""
    found: list[Passing] = []
    for without, execution in _neighbours(tape, run):
        if execution.outcome.ok:
            found.append(_passing(failing, without, execution))
    if not found:
        for strategy in _STRATEGIES:
            execution = run_strategy(strategy, "events")
            if execution.outcome.ok:
                found.append(_passing(failing, "", execution))
    return max(found, key=lambda passing: passing.alike, default=None)


def _neighbours(tape: Tape, run: RunTape) -> Iterator[tuple[str, Execution]]:
    for at, (key, _) in enumerate(tape[:_NEIGHBOURS_MAX]):
        yield key, run([*tape[:at], *tape[at + 1 :]], "events")
    if len(tape) > 1:
        yield "all deviations", run([], "events")


def _passing(failing: Account, without: str, execution: Execution) -> Passing:
    account = account_of(execution)
    return Passing(account, without, difference(failing.story, account.story).alike)
