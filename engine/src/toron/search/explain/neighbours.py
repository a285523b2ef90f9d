"""The passing run that is nearest to a failing one: it has one deviation less, or one more.

Nearest is the one that is the same run for the longest. When no run with less passes, as when there
is nothing to take away, single deviations are added, the latest first.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from toron.core.tape import Deviation
from toron.search.explain.steps import Account, account_of
from toron.search.outcome import Execution
from toron.search.traces.diff import difference

_NEIGHBOURS_MAX = 16
_ADDED_MAX = 60

Tape = Sequence[Deviation]
RunTape = Callable[[Tape, str], Execution]
"""Executes a tape at a level of the trace."""
Survey = Callable[[Tape], Sequence[Deviation]]
"""Says where a run of a tape could deviate, and by how much at most, in the order of the run."""


@dataclass(frozen=True, slots=True, eq=False)
class Passing:
    """A run that passes, and how long it is the failing one."""

    account: Account
    change: str
    """What is otherwise in it."""
    alike: int
    """How many events both have in common."""


def nearest_passing(failing: Account, tape: Tape, run: RunTape, survey: Survey) -> Passing | None:
    """The nearest run that passes, or None when none of those that were tried does."""
    found = [
        _passing(failing, change, execution)
        for change, execution in _with_less(tape, run)
        if execution.outcome.ok
    ]
    if found:
        return max(found, key=lambda passing: passing.alike)
    known = {key for key, _ in tape}
    offers = [one for one in reversed(survey(tape)) if _may_be_added(one[0], known)]
    for key, most in offers[:_ADDED_MAX]:
        longer = [*tape, (key, most if key.startswith("stall ") else 1)]
        if run(longer, "digest").outcome.ok:
            return _passing(failing, f"with `{key}`", run(longer, "events"))
    return None


def _may_be_added(key: str, known: Container[str]) -> bool:
    return key not in known and key.startswith(("schedule ", "stall ", "schedule.timer "))


def _with_less(tape: Tape, run: RunTape) -> Iterator[tuple[str, Execution]]:
    for at, (key, _) in enumerate(tape[:_NEIGHBOURS_MAX]):
        yield f"without `{key}`", run([*tape[:at], *tape[at + 1 :]], "events")
    if len(tape) > 1:
        yield "in asyncio's own order", run([], "events")


def _passing(failing: Account, change: str, execution: Execution) -> Passing:
    account = account_of(execution)
    return Passing(account, change, difference(failing.story, account.story).alike)
