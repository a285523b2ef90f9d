"""Notes how every step came to its place on the loop: put there by whom, and by which way.

`causes` says which event led to which, for those who draw a run. What explains one is more: in
which iteration of the loop a step was met, whether it was put there at once, by a timer or by the
kernel, which line of the program did it, and who cancelled. Kept beside the trace at its levels
``events`` and ``full``, never hashed; at ``digest`` no loop is followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from toron.core.causes import Causes
from toron.core.clock import MONOTONIC_BASE_NS, SECOND_NS
from toron.core.loop import SimLoop, SimTask, SimTimer, suspended_stack
from toron.core.trace import Trace

Way = Literal["", "soon", "timer", "io", "thread"]
"""How a handle comes on a loop; empty: by another way (a signal)."""

_UNKNOWN: tuple[Way, int, str] = ("", 0, "")


@dataclass(slots=True)
class Wake:
    """How one step or call came to be."""

    number: int
    """Of its event."""
    tick: int
    """Which iteration of the loop it was met in."""
    way: Way = ""
    by: int = 0
    """The last event before it was put on the loop, or before its timer was set."""
    place: str = ""
    """Where the program stood then."""
    due_ns: int = 0
    delay_ns: int = 0
    timer: int = 0
    """Which timer it was, in the order in which they were set."""
    name: str = ""
    """The timer's name on a tape."""
    cancelled_by: int = 0
    """The last event before its task was cancelled, if that was since its step before."""
    cancelled_at: str = ""
    then: str = ""
    """Where its task waits after it; empty when it has ended."""
    within: str = ""
    """The innermost function of that wait, a library's or Python's own."""
    thing: int = 0
    """The object whose method that is (a lock, a queue), by the order in which they were met."""


@dataclass(slots=True)
class Stall:
    """A time for which the process stood still, before an iteration of the loop."""

    tick: int
    at_ns: int
    lasted_ns: int


class Wakes:
    """Follows the loops of one run, after `Causes`."""

    def __init__(self, causes: Causes, trace: Trace) -> None:
        self._causes = causes
        self._trace = trace
        self._tick = 0
        self._put: dict[int, tuple[Way, int, str]] = {}
        """By the address of a handle: the way, the event before it, the place."""
        self._cancelled: dict[SimTask, tuple[int, str]] = {}
        self._things: dict[int, int] = {}
        self.notes: list[Wake] = []
        self.stalls: list[Stall] = []
        self._follow_cancellations()

    def follow(self, loop: SimLoop) -> None:
        """Note what ``loop`` schedules from now on."""
        self._causes.follow(loop)
        followed: Any = loop
        for name, noting in (
            ("_call_soon", self._noting_soon),
            ("call_at", self._noting_timers),
            ("_process_events", self._noting_io),
            ("_run_once", self._noting_ticks),
            ("_stall", self._noting_stalls),
            ("_step", self._noting_steps),
        ):
            setattr(followed, name, noting(getattr(followed, name)))

    def _follow_cancellations(self) -> None:
        """For the class: this process executes one run, and nothing after it."""
        cancel, known, trace = SimTask.cancel, self._cancelled, self._trace

        def noting(task: SimTask, msg: Any = None) -> bool:
            was_cancelled: bool = cancel(task, msg)
            if was_cancelled:
                known[task] = (trace.count, trace.here())
            return was_cancelled

        tasks: Any = SimTask
        tasks.cancel = noting

    def _noting_soon(self, schedule: Any) -> Any:
        def noting(*arguments: Any, **options: Any) -> Any:
            handle = schedule(*arguments, **options)
            running = asyncio._get_running_loop()
            way: Way = "soon" if running in (None, handle._loop) else "thread"
            self._put[id(handle)] = (way, self._trace.count, self._trace.here())
            return handle

        return noting

    def _noting_timers(self, schedule: Any) -> Any:
        def noting(*arguments: Any, **options: Any) -> Any:
            handle = schedule(*arguments, **options)
            self._put[id(handle)] = ("timer", self._trace.count, self._trace.here())
            return handle

        return noting

    def _noting_io(self, process_events: Any) -> Any:
        def noting(ready: list[Any]) -> None:
            for key, _ in ready:
                for handle in key.data or ():
                    if handle is not None:
                        self._put[id(handle)] = ("io", 0, "")
            process_events(ready)

        return noting

    def _noting_ticks(self, run_once: Any) -> Any:
        def noting() -> None:
            self._tick += 1
            run_once()

        return noting

    def _noting_stalls(self, stall: Any) -> Any:
        def noting() -> None:
            begin_ns = self._trace.now_ns
            stall()
            lasted_ns = self._trace.now_ns - begin_ns
            if lasted_ns:
                self.stalls.append(Stall(self._tick, begin_ns, lasted_ns))

        return noting

    def _noting_steps(self, step: Any) -> Any:
        def noting(handle: Any) -> None:
            task = getattr(handle._callback, "__self__", None)
            way, by, place = self._put.get(id(handle), _UNKNOWN)
            note = Wake(self._trace.count + 1, self._tick, way, by, place)
            if isinstance(handle, SimTimer):
                note.due_ns, note.delay_ns = _due_ns(handle), handle.delay_ns
                note.timer, note.name = handle.number, handle.name
            if isinstance(task, SimTask):
                note.cancelled_by, note.cancelled_at = self._cancelled.pop(task, (0, ""))
            if not self._trace.is_full():
                self.notes.append(note)
            step(handle)
            if isinstance(task, SimTask) and not task.done():
                stack = suspended_stack(task)
                note.then = self._trace.place_of(stack)
                note.within, note.thing = self._wait(stack)

        return noting

    def _wait(self, stack: Sequence[FrameType]) -> tuple[str, int]:
        """The function in which a task waits for good, and its object, which is not kept."""
        for frame in stack:
            name = frame.f_code.co_qualname
            if not name.startswith("Future."):
                thing = frame.f_locals.get("self")
                if thing is None:
                    return name, 0
                return name, self._things.setdefault(id(thing), len(self._things) + 1)
        return "", 0


def _due_ns(timer: SimTimer) -> int:
    """When a timer is due, in virtual time; equal for equal times on the loop's clock."""
    return round(timer.when() * SECOND_NS) - MONOTONIC_BASE_NS
