"""Notes which event led to which, beside the trace: who woke a task, and what it had to wait for.

A step follows from the event during which its handle was put on the loop: another task's step that
set a future, a timer that was armed, bytes that arrived. Nothing of it is hashed, and a run that
nobody will look at (level ``digest``) is not followed at all. Order belongs to `loop`.
"""

from __future__ import annotations

from typing import Any

from toron.core.clock import SECOND_NS
from toron.core.loop import SimLoop, open_order
from toron.core.selector import Descriptors
from toron.core.trace import Trace, Turn

_MAKES_READY = frozenset(
    ("deliver", "open", "refused", "reset", "write", "udp", "fin", "rst", "signal", "accept")
)
"""The kinds of event after which a descriptor is ready, when they are the last before it."""


class Noting(Descriptors):
    """A table of descriptors that remembers which event last made each of them ready."""

    __slots__ = ("_trace", "touched_by")

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace
        self.touched_by: dict[int, int] = {}

    def touch(self, fd: int) -> None:
        """As the base class, and remember the event that has just happened."""
        super().touch(fd)
        number = self._trace.last_of(_MAKES_READY)
        if number:
            self.touched_by[fd] = number


class Causes:
    """What put each handle on a loop, by the handle's address.

    An address is free again when its handle is gone, and each way on to a loop writes anew.
    """

    def __init__(self, trace: Trace, descriptors: Descriptors) -> None:
        self._trace = trace
        self._descriptors = descriptors
        self._cause_of: dict[int, int] = {}
        self._turn_of: dict[int, Turn] = {}
        self._stalled = ""

    def follow(self, loop: SimLoop) -> None:
        """Note what ``loop`` schedules from now on."""
        followed: Any = loop
        for name, noting in (
            ("_call_soon", self._noting_what_is_scheduled),
            ("call_at", self._noting_what_is_scheduled),
            ("_process_events", self._noting_what_is_ready),
            ("_permute", self._noting_turns),
            ("_reorder", self._noting_late_timers),
            ("_stall", self._noting_stalls),
            ("_step", self._noting_steps),
        ):
            setattr(followed, name, noting(getattr(followed, name)))

    def _noting_what_is_scheduled(self, schedule: Any) -> Any:
        def noting(*arguments: Any, **options: Any) -> Any:
            handle = schedule(*arguments, **options)
            self._cause_of[id(handle)] = self._trace.count
            return handle

        return noting

    def _noting_what_is_ready(self, process_events: Any) -> Any:
        def noting(ready: list[Any]) -> None:
            touched_by = getattr(self._descriptors, "touched_by", {})
            for key, _ in ready:
                for handle in key.data or ():
                    if handle is not None:
                        self._cause_of[id(handle)] = touched_by.get(key.fd, 0)
            process_events(ready)

        return noting

    def _noting_turns(self, permute: Any) -> Any:
        def noting(batch: list[Any]) -> None:
            before = list(batch)
            permute(batch)
            for start, end in open_order(before):
                own = {id(handle): at for at, handle in enumerate(before[start:end], 1)}
                for at, handle in enumerate(batch[start:end], 1):
                    self._turn_of[id(handle)] = (at, end - start, own[id(handle)])

        return noting

    def _noting_late_timers(self, reorder: Any) -> Any:
        def noting(due: list[Any]) -> list[Any]:
            before = list(due)
            after: list[Any] = reorder(due)
            own = {id(handle): at for at, handle in enumerate(before, 1)}
            for at, handle in enumerate(after, 1):
                if own[id(handle)] != at:
                    self._turn_of[id(handle)] = (at, len(before), own[id(handle)])
            return after

        return noting

    def _noting_stalls(self, stall: Any) -> Any:
        def noting() -> None:
            begin_ns = self._trace.now_ns
            stall()
            stalled_ns = self._trace.now_ns - begin_ns
            if stalled_ns:
                self._stalled = f"the process stood still for {stalled_ns / SECOND_NS:g} s"

        return noting

    def _noting_steps(self, step: Any) -> Any:
        def noting(handle: Any) -> None:
            trace = self._trace
            trace.next_cause = self._cause_of.get(id(handle), 0)
            trace.next_turn = self._turn_of.pop(id(handle), None)
            trace.next_note, self._stalled = self._stalled, ""
            step(handle)
            trace.forget_next()  # of a host that is paused or down

        return noting
