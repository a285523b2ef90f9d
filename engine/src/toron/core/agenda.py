"""What the world will do by itself, and when: packets in flight, timeouts of the stack, faults.

Ties break by sequence number: a heap of equal deadlines pops in an order that depends on what was
pushed and popped before.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Agenda:
    """A queue of actions by virtual time."""

    __slots__ = ("_heap", "_sequence", "_waking")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, bool, Action]] = []
        self._sequence = 0
        self._waking = 0

    def at(self, at_ns: int, action: Action, *, wakes: bool = True) -> None:
        """Do ``action`` at ``at_ns``.

        An action that cannot wake the program (a property's deadline) is put with ``wakes=False``:
        a world in which only such actions remain is a deadlock.
        """
        self._sequence += 1
        self._waking += wakes
        heapq.heappush(self._heap, (at_ns, self._sequence, wakes, action))

    def next_ns(self) -> int | None:
        """When the next action is due, or None when nothing can wake the program any more."""
        return self._heap[0][0] if self._waking else None

    def first_ns(self) -> int | None:
        """When the next action is due, one that cannot wake the program included."""
        return self._heap[0][0] if self._heap else None

    def run_due(self, now_ns: int) -> bool:
        """Do all that is due by ``now_ns``; say whether anything was."""
        heap = self._heap
        ran = False
        while heap and heap[0][0] <= now_ns:
            _, _, wakes, action = heapq.heappop(heap)
            self._waking -= wakes
            action()
            ran = True
        return ran
