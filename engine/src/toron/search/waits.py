"""Says of everything that is stuck what it waits for, and who could end that.

A task waits where its innermost coroutine stands: for another task, for a lock that some task
holds, for an event, a queue, a stream. asyncio's locks do not know their holder, so `watch_locks`
lets them remember who took them.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple

from toron.core.loop import Shared, SimTask, coroutine_name, suspended_stack
from toron.core.places import Places

STUCK_LISTED = 12
_HOLDERS = "_toron_holders"
_NUMBER = re.compile(r"#?\d+")


def watch_locks() -> None:
    """Let asyncio's locks and semaphores remember which tasks hold them."""
    _remember(asyncio.Lock, "_locked", lambda before, after: (not before and after) - (not after))
    _remember(asyncio.Semaphore, "_value", lambda before, after: (before or 0) - after)


def _remember(cls: Any, name: str, taken: Any) -> None:
    """Keep the holders beside the attribute ``name``: whoever sets it takes one, or gives back."""

    def get(self: Any) -> Any:
        return self.__dict__[name]

    def set_value(self: Any, value: Any) -> None:
        known = self.__dict__
        change = taken(known[name], value) if name in known else 0
        known[name] = value
        holders = known.setdefault(_HOLDERS, [])
        task = _running_task()
        if change > 0 and task is not None:
            holders.append(task)
        elif change < 0 and holders:
            holders.remove(task if task in holders else holders[0])

    setattr(cls, name, property(get, set_value))


def _running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class Stuck(NamedTuple):
    """What waits in a run."""

    text: str
    """All of it, the kernel's own first."""
    where: str
    """The place of the first."""
    roots: list[str]
    """The waits that keep it stuck, without numbers: those that no other wait would end."""


@dataclass(frozen=True, slots=True)
class _Wait:
    """A task that waits, and the tasks that could end that."""

    name: str
    behind: tuple[SimTask, ...]


def stuck(shared: Shared, places: Places) -> Stuck:
    """All that waits in a run."""
    lines, first = [], ""
    waits: dict[SimTask, _Wait] = {}
    for task in shared.all_tasks():
        if task.toron_process is None or task.toron_process.alive:
            frames = suspended_stack(task)
            where = places.of_stack(frames)
            first = first or where
            reason = _reason(task, frames)
            told = f" waits for {reason}" if reason else ""
            lines.append(f"{task.toron_label} at {where}{told}")
            waits[task] = _wait_of(task, frames, where, reason)
    roots = [wait.name for wait in _roots(waits)]
    for thread in shared.baton.threads[1:]:
        if thread.why:
            where = places.of_frame(thread.frame())
            lines.append(f"{thread.label} waits for {thread.why} at {where}")
            roots.append(
                f"{_NUMBER.sub('', thread.label)} for {_NUMBER.sub('', thread.why)} at {where}"
            )
    main = shared.baton.main
    if main.why and "event loop" not in main.why:
        first = shared.baton.stopped_at
        roots = [f"the event loop in {_NUMBER.sub('', main.why)} at {first}"]
        lines.insert(0, f"the thread of the event loop is blocked in {main.why} at {first}")
    more = f" and {len(lines) - STUCK_LISTED} more" if len(lines) > STUCK_LISTED else ""
    return Stuck("; ".join(lines[:STUCK_LISTED]) + more, first, roots)


def _wait_of(task: SimTask, frames: list[FrameType], where: str, reason: str) -> _Wait:
    kind = _NUMBER.sub("", reason.partition(", held by ")[0]) or "nothing known"
    if kind.startswith("the end of"):
        kind = "the end of tasks"
    name = f"{coroutine_name(task.get_coro())} at {where} for {kind}"
    return _Wait(name, _behind(task, frames))


def _behind(task: SimTask, frames: list[FrameType]) -> tuple[SimTask, ...]:
    waiter = getattr(task, "_fut_waiter", None)
    if isinstance(waiter, SimTask):
        return (waiter,)
    others = [child for child in getattr(waiter, "_children", ()) if not child.done()]
    if not others:
        things = [frame.f_locals.get("self") for frame in frames]
        held = [_holders_of(thing) for thing in things if thing is not None]
        others = next((holders for holders in held if holders), [])
    return tuple(other for other in others if isinstance(other, SimTask) and not other.done())


def _roots(waits: dict[SimTask, _Wait]) -> list[_Wait]:
    """The circles, if there are any; else what the kernel waits for in the end.

    Tasks that wait for those that wait for nobody are taken away until only circles are left, and
    what leads to them; then those for whom nobody waits.
    """
    circles = dict(waits)
    while ends := [task for task, wait in circles.items() if not _known(wait, circles)]:
        for task in ends:
            del circles[task]
    while circles:
        awaited = {other for wait in circles.values() for other in wait.behind}
        if awaited.issuperset(circles):
            return list(circles.values())
        circles = {task: wait for task, wait in circles.items() if task in awaited}
    free = {task: wait for task, wait in waits.items() if not _known(wait, waits)}
    reached: dict[SimTask, None] = {}
    following = list(waits)[:1]
    while following:
        task = following.pop()
        if task not in reached:
            reached[task] = None
            following += _known(waits[task], waits)
    of_the_kernel = [task for task in reached if task in free]
    if of_the_kernel and of_the_kernel != list(waits)[:1]:
        return [free[task] for task in of_the_kernel]
    return list(free.values())


def _known(wait: _Wait, waits: dict[SimTask, _Wait]) -> list[SimTask]:
    return [task for task in wait.behind if task in waits]


def _reason(task: SimTask, frames: list[FrameType]) -> str:
    waiter = getattr(task, "_fut_waiter", None)
    if isinstance(waiter, SimTask):
        return f"the end of task#{waiter.toron_number}"
    if waiter is None:
        return ""
    children = [child for child in getattr(waiter, "_children", ()) if not child.done()]
    if children:
        names = [f"task#{child.toron_number}" for child in children if isinstance(child, SimTask)]
        return "the end of " + ", ".join(names[:6]) if names else "futures"
    for frame in frames:
        text = _of_frame(frame)
        if text:
            return text
    return "a future that nobody has set"


def _of_frame(frame: FrameType) -> str:
    """What a coroutine of asyncio or anyio waits for, by the object that it belongs to."""
    thing = frame.f_locals.get("self")
    module = type(thing).__module__
    if thing is None or not module.startswith(("asyncio.", "anyio.")):
        return ""
    name = f"{type(thing).__name__}.{frame.f_code.co_name}"
    held = [_holder(task) for task in _holders_of(thing)]
    return f"{name}, held by {', '.join(held[:6])}" if held else name


def _holders_of(thing: Any) -> list[Any]:
    """Who holds a lock of asyncio or anyio; nobody holds anything else."""
    if not type(thing).__module__.startswith(("asyncio.", "anyio.")):
        return []
    holders = getattr(thing, _HOLDERS, None)
    if holders is not None:
        return list(holders)
    owner = getattr(thing, "_owner_task", None)
    return [] if owner is None else [owner]


def _holder(task: Any) -> str:
    if not isinstance(task, SimTask):
        return "a task of its own"
    if task.done():
        return f"{task.toron_label}, which has ended"
    if task.toron_process is not None and not task.toron_process.alive:
        return f"{task.toron_label} of a host that is down"
    return task.toron_label
