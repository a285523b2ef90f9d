"""What led to a failure, backwards: who woke, cancelled, started or answered whom.

For a deadlock also who waits for whom, the cycle if there is one, and, of a task that nobody will
wake any more, the wake-up that was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toron.search.explain.deviations import told
from toron.search.explain.sources import is_pythons, short_place
from toron.search.explain.steps import Account, Step
from toron.search.traces.events import Wait

LINKS_MAX = 12
_MS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One step of the chain, and why it ran."""

    step: Step
    why: str
    place: str
    """Where the program stood when it was caused."""


def chain_of(account: Account, since: int) -> list[Link]:
    """The causes of the failure, the last first, back to event ``since`` or `LINKS_MAX` links."""
    links: list[Link] = []
    step = account.focus()
    while step is not None and len(links) < LINKS_MAX:
        links.append(Link(step, *why(step)))
        if step.number <= since:
            break
        step = _origin(step)
    return links


def _origin(step: Step) -> Step | None:
    """The step of a task, or the timer, that caused ``step``; callbacks between are passed over."""
    origin = step.canceller if step.canceller is not None else step.by
    while origin is not None and not origin.is_task and origin.wake.way == "soon":
        origin = origin.by
    if origin is not None and origin.is_sleep:
        return origin.by
    return origin


def why(step: Step) -> tuple[str, str]:
    """Why a step ran, and where the program stood when it was caused."""
    if step.is_cancelled:
        return _why_cancelled(step)
    by = step.by
    if step.is_task and step.ordinal == 1:
        starter = f"started by {told(by)}" if by is not None else "the kernel began"
        return starter, _program(step.wake.place)
    if step.wake.way == "timer":
        return f"due after {step.wake.delay_ns / _MS:.6g} ms", _program(step.wake.place)
    if step.wake.way == "io":
        sender = f", sent by {told(by)}" if by is not None else ""
        return f"bytes arrived{sender}", ""
    if step.wake.way == "thread":
        return "woken by a thread", _program(step.wake.place)
    return _why_woken(step, by)


def _why_cancelled(step: Step) -> tuple[str, str]:
    by = step.canceller or step.by
    place = _program(step.wake.cancelled_at) or _program(step.wake.place)
    woken = ""
    if step.result != "cancelled" and step.by is not None and step.by is not by:
        woken = f"woken by {told(step.by)}, but before it ran "
    if by is None:
        return f"{woken}cancelled", place
    name = told(by)
    if not by.is_task and by.who == step.who:
        name = name.replace(f" of {by.who}", "").replace("the ", "its own ", 1)
    return f"{woken}cancelled by {name}", place


def _why_woken(step: Step, by: Step | None) -> tuple[str, str]:
    place = _program(step.wake.place)
    if by is None:
        return "put on the loop from outside of it", place
    if by.is_sleep:
        return f"its sleep of {by.wake.delay_ns / _MS:.6g} ms was over", _program(by.wake.place)
    if by.is_task and by.who == step.who:
        return "went on at its next turn", place
    through = "" if by.is_task or by.wake.way == "timer" else f" through {told(by)}"
    while not by.is_task and by.wake.way == "soon" and by.by is not None:
        place, by = place or _program(by.wake.place), by.by
    return f"woken by {told(by)}{through}", place


def _program(place: str) -> str:
    return "" if is_pythons(place) else place


# Who waits for whom


def cycle_of(waits: Sequence[Wait]) -> list[int]:
    """Lanes that wait for each other in a ring; empty when there is none."""
    holders = {wait.lane: wait.holders for wait in waits}
    for first in holders:
        path = _ring(holders, first)
        if path:
            return path
    return []


def _ring(holders: dict[int, tuple[int, ...]], first: int) -> list[int]:
    reached, todo = {first: -1}, [first]
    while todo:
        lane = todo.pop()
        for holder in holders.get(lane, ()):
            if holder == first:
                path = [lane]
                while reached[path[-1]] >= 0:
                    path.append(reached[path[-1]])
                return path[::-1]
            if holder not in reached:
                reached[holder] = lane
                todo.append(holder)
    return []


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """A task that nobody will wake any more, and the last wake-up of its kind."""

    waiter: int
    """Its lane."""
    within: str
    text: str
    steps: tuple[Step, ...]


def lost_wakeups(account: Account) -> Iterator[Lost]:
    """Of every task that waits for nobody in particular, who could have woken it last."""
    for wait in account.story.waits:
        if not wait.holders:
            found = _lost(account, wait)
            if found is not None:
                yield found


def _lost(account: Account, wait: Wait) -> Lost | None:
    mine = account.of_lane(wait.lane)
    if not mine or not mine[-1].wake.within:
        return None
    within, began = mine[-1].wake.within, mine[-1].number
    woken = list(_woken_from(account, within))
    swallowed = [step for step in woken if step.is_cancelled and _was_given(step)]
    cancelled = [step for step in woken if step.is_cancelled and _since(step, began)]
    given = [step for step in woken if not step.is_cancelled]
    best = (swallowed or cancelled or given)[-1:]
    if not best:
        return Lost(wait.lane, within, "nobody was ever woken from there", ())
    step = best[0]
    reason, place = why(step)
    at = f" at {short_place(place)}" if short_place(place) else ""
    text = f"the last one in question was {step.who}, {reason}{at}"
    origins = [origin for origin in (step.by, step.canceller) if origin is not None]
    return Lost(wait.lane, within, text, (*origins, step))


def _woken_from(account: Account, within: str) -> Iterator[Step]:
    """The steps with which tasks left a wait in the function ``within``."""
    last: dict[int, Step] = {}
    for step in account.steps:
        if not step.is_task:
            continue
        before = last.get(step.lane.index)
        if before is not None and before.wake.within == within:
            yield step
        last[step.lane.index] = step


def _was_given(step: Step) -> bool:
    """Whether a cancelled step had been woken before: the one who woke it relied on it."""
    return step.result != "cancelled" and step.canceller is not None and step.by is not step.canceller


def _since(step: Step, number: int) -> bool:
    return step.number >= number or (step.by is not None and step.by.number <= number)
