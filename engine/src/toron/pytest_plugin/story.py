"""The words of a failure: what, when, where with its line, and what the world did to it."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toron.search.outcome import Outcome


def headline_of(outcome: Outcome) -> str:
    """Kind and message of the failure, in one line."""
    failure = outcome.failure
    assert failure is not None
    [first, *_] = failure.message.splitlines() or [""]
    mark = "INCONCLUSIVE, " if outcome.verdict == "inconclusive" else ""
    return f"{mark}{failure.kind}: {first}"


def why(outcome: Outcome) -> list[str]:
    """What failed, when and where, with the line of the program."""
    failure = outcome.failure
    if failure is None:
        return [f"    now: {outcome.verdict}, digest {outcome.trace_digest[:16]}"]
    at = f"{failure.virtual_ns / 1_000_000_000:.6f} virtual s"
    lines = [f"    {failure.kind} at {at} (seed {outcome.sim_seed}, chaos {outcome.chaos_seed})"]
    lines += [f"    {line}" for line in failure.message.splitlines()]
    if failure.where:
        lines.append(f"    {failure.where}")
        lines += _source_line(failure.where)
    if failure.legality:
        lines.append(f"    {failure.legality}")
    lines += [f"    fault: {line}" for line in outcome.faults]
    return lines


def _source_line(where: str) -> list[str]:
    """The line that a place ``file:line in function`` means, if it is a file of this project."""
    file, _, rest = where.partition(":")
    number = rest.split(" ", 1)[0]
    text = linecache.getline(file, int(number)) if number.isdigit() else ""
    return [f"  >   {text.strip()}"] if text.strip() else []
