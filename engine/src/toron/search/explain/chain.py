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

LINKS_MAX = 6
_OF_CHILDREN = ("TaskGroup.__aexit__", "TaskGroup._wait")
_MS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One step of the chain, and why it ran."""

    step: Step
    why: str
    place: str
    """Where the program stood when it was caused."""


def chain_of(focus: Step | None, since: int) -> list[Link]:
    """The causes of a step, the last first, back to event ``since`` or `LINKS_MAX` links.

    A step that was woken and then cancelled has two.
    """
    links: list[Link] = []
    waiting = {} if focus is None else {focus.number: focus}
    while waiting and len(links) < LINKS_MAX:
        step = waiting.pop(max(waiting))
        links.append(Link(step, *why(step)))
        if step.number > since:
            waiting |= {origin.number: origin for origin in _origins(step)}
    return links


def _origins(step: Step) -> Iterator[Step]:
    """The steps of tasks, and the timers, that caused ``step``; callbacks are passed over."""
    for origin in (step.by, step.canceller):
        while origin is not None and not origin.is_task and origin.way == "soon":
            origin = origin.by
        if origin is not None and (origin.is_sleep or origin.way == "io") and not origin.is_task:
            origin = origin.by
        if origin is not None:
            yield origin


def why(step: Step) -> tuple[str, str]:
    """Why a step ran, and where the program stood when it was caused."""
    if step.is_cancelled:
        return _why_cancelled(step)
    by = step.by
    if step.is_task and step.ordinal == 1:
        starter = f"started by {told(by)}" if by is not None else "the kernel began"
        return starter, _program(step.wake.place)
    if step.way == "timer":
        return f"due after {step.wake.delay_ns / _MS:.6g} ms", _program(step.wake.place)
    if step.way == "io":
        return _why_ready(step), ""
    if step.way == "thread":
        return "woken by a thread", _program(step.wake.place)
    return _why_woken(step, by)


def _why_cancelled(step: Step) -> tuple[str, str]:
    by = step.canceller or step.by
    place = _program(step.wake.cancelled_at) or _program(step.wake.place)
    if by is not None and by.way == "timer":
        place = _program(by.wake.place) or place
    woken = ""
    if step.result != "cancelled" and step.by is not None and step.by is not by:
        woken = f"woken by {told(step.by)}, but before it ran "
    if by is None:
        return f"{woken}cancelled", place
    name = told(by, with_place=False)
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
    through = "" if by.is_task or by.way == "timer" else f" through {told(by)}"
    while not by.is_task and by.way == "soon" and by.by is not None:
        place, by = place or _program(by.wake.place), by.by
    if by.way == "io" and not by.is_task:
        return _why_ready(by), place
    if by.is_task and by.who == step.who:
        return "went on at its next turn", place
    return f"woken by {told(by)}{through}", place


def _why_ready(call: Step) -> str:
    """What the kernel has reported for a descriptor."""
    name = call.event.detail.rpartition(".")[2]
    told_by = call.by
    if "connect" in name and "accept" not in name:
        return "its connection was made"
    if "write" in name:
        return "there was room to write"
    what = "a connection arrived" if "accept" in name or call.is_task else "bytes arrived"
    return what if told_by is None else f"{what} from {told(told_by)}"


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


def focus_of(account: Account, lost: Sequence[Lost]) -> Step | None:
    """Where to begin: at a wake-up that was lost, at who waits for nobody, or at the last step."""
    for one in lost:
        if one.steps:
            return one.steps[-1]
    for wait in account.story.waits:
        steps = account.of_lane(wait.lane)
        if steps and not wait.holders and not wait.what.endswith(_OF_CHILDREN):
            return steps[-1]
    return account.focus()


def lost_wakeups(account: Account) -> Iterator[Lost]:
    """Of every task that waits for nobody in particular, who could have woken it last."""
    for wait in account.story.waits:
        if not wait.holders and not wait.what.endswith(_OF_CHILDREN):
            found = _lost(account, wait)
            if found is not None:
                yield found


@dataclass(slots=True, eq=False)
class _Visit:
    """From when to when a task waited at one place, and what befell it there."""

    place: str
    within: set[str]
    things: set[int]
    steps: list[Step]
    """Those with which it was woken there, in order; the last of them may have left the place."""

    def cancelled(self) -> Step | None:
        """The step in which it was cancelled there."""
        return next((step for step in self.steps if step.is_cancelled), None)

    def given(self) -> Step | None:
        """The last time that another woke it on purpose, before it was cancelled if it was."""
        cancelled = self.cancelled()
        until = self.steps[-1] if cancelled is None else cancelled
        woken = [step for step in self.steps if _is_given(step) and step.number <= until.number]
        return woken[-1] if woken else None


def _lost(account: Account, wait: Wait) -> Lost | None:
    mine = account.of_lane(wait.lane)
    if not mine or not mine[-1].wake.within:
        return None
    last, began = mine[-1].wake, _began(mine)
    within = last.within
    others = [
        visit
        for visit in _visits(account)
        if visit.steps
        and visit.steps[0].lane.index != wait.lane
        and (last.thing in visit.things if last.thing else within in visit.within)
    ]
    since = [visit for visit in others if visit.steps[-1].number > began]
    swallowed = [visit for visit in since if visit.given() and visit.cancelled()]
    if swallowed:
        return _swallowed(wait, within, swallowed[-1])
    cancelled = [visit for visit in since if visit.cancelled()]
    cancelled += [visit for visit in reversed(others) if visit.cancelled()]
    if cancelled:
        return _left(wait, within, cancelled[0])
    given = [step for visit in others if (step := visit.given()) is not None]
    if not given:
        return None
    latest = max(given, key=lambda step: step.number)
    text = f"the last one who was woken there was {latest.who}, {_reason(latest)}"
    return Lost(wait.lane, within, text, _with_origins(latest))


def _swallowed(wait: Wait, within: str, visit: _Visit) -> Lost:
    given, cancelled = visit.given(), visit.cancelled()
    assert given is not None
    assert cancelled is not None
    if given is cancelled:
        text = f"its wake-up went to {given.who}, which was {_reason(given)}"
    else:
        text = f"its wake-up went to {given.who}, {_reason(given)}, and {cancelled.who} was "
        text += f"{_reason(cancelled)} before it had what it waited for"
    return Lost(wait.lane, within, text, (*_with_origins(given), *_with_origins(cancelled)))


def _left(wait: Wait, within: str, visit: _Visit) -> Lost:
    cancelled = visit.cancelled()
    assert cancelled is not None
    text = f"{cancelled.who}, which waited there too, was {_reason(cancelled)}"
    return Lost(wait.lane, within, text, _with_origins(cancelled))


def _reason(step: Step) -> str:
    reason, place = why(step)
    return f"{reason} ({short_place(place)})" if short_place(place) else reason


def _with_origins(step: Step) -> tuple[Step, ...]:
    return (*_origins(step), step)


def _began(steps: Sequence[Step]) -> int:
    """When a task came to the place at which it waits for good."""
    place, began = steps[-1].wake.then, steps[-1]
    for step in reversed(steps):
        if step.wake.then != place:
            break
        began = step
    return began.number


def _visits(account: Account) -> Iterator[_Visit]:
    """All waits of all tasks at places of the program."""
    open_visits: dict[int, _Visit] = {}
    for step in account.steps:
        if not step.is_task:
            continue
        visit, place = open_visits.get(step.lane.index), step.wake.then
        if visit is not None:
            visit.steps.append(step)
        if visit is not None and visit.place == place:
            visit.within.add(step.wake.within)
            visit.things.add(step.wake.thing)
            continue
        if visit is not None:
            yield open_visits.pop(step.lane.index)
        if place:
            open_visits[step.lane.index] = _Visit(place, {step.wake.within}, {step.wake.thing}, [])
    yield from open_visits.values()


def _is_given(step: Step) -> bool:
    """Whether another woke the task on purpose, also when it was cancelled before it ran."""
    by = step.by
    if by is None or (step.is_cancelled and step.result == "cancelled"):
        return False
    while not by.is_task and by.way == "soon" and by.by is not None:
        by = by.by
    return by.is_task and by.who != step.who
