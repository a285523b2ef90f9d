"""Says of everything that is stuck what it waits for, and who could end that.

A task waits where its innermost coroutine stands: for another task, for a lock that some task
holds, for an event, a queue, a stream. asyncio's locks do not know their holder, so `watch_locks`
lets them remember who took them.
"""

from __future__ import annotations

import asyncio
from types import FrameType
from typing import Any

from toron.core.loop import Shared, SimTask, suspended_stack
from toron.core.places import Places

STUCK_LISTED = 12
_HOLDERS = "_toron_holders"


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


def stuck(shared: Shared, places: Places) -> tuple[str, str]:
    """All that waits in a run, the kernel's own first, and the place of the first."""
    lines, first = [], ""
    for task in shared.all_tasks():
        if task.toron_process is None or task.toron_process.alive:
            frames = suspended_stack(task)
            where = places.of_stack(frames)
            first = first or where
            reason = _reason(task, frames)
            waits = f" waits for {reason}" if reason else ""
            lines.append(f"{task.toron_label} at {where}{waits}")
    for thread in shared.baton.threads[1:]:
        if thread.why:
            where = places.of_frame(thread.frame())
            lines.append(f"{thread.label} waits for {thread.why} at {where}")
    main = shared.baton.main
    if main.why and "event loop" not in main.why:
        first = shared.baton.stopped_at
        lines.insert(0, f"the thread of the event loop is blocked in {main.why} at {first}")
    more = f" and {len(lines) - STUCK_LISTED} more" if len(lines) > STUCK_LISTED else ""
    return "; ".join(lines[:STUCK_LISTED]) + more, first


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
    holders = getattr(thing, _HOLDERS, None)
    if holders is None:
        owner = getattr(thing, "_owner_task", None)
        holders = [] if owner is None else [owner]
    held = [_holder(task) for task in holders]
    return f"{name}, held by {', '.join(held[:6])}" if held else name


def _holder(task: Any) -> str:
    if not isinstance(task, SimTask):
        return "a task of its own"
    if task.done():
        return f"{task.toron_label}, which has ended"
    if task.toron_process is not None and not task.toron_process.alive:
        return f"{task.toron_label} of a host that is down"
    return task.toron_label
