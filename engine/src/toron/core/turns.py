"""Turning points: the moments of virtual time at which something is done to the run itself.

At a turn the choices of a run go on under another salt, or the whole world is forked. A turn at
``t`` is reached when the world is about to leave ``t`` behind: nothing that is due by then is left.
In a world that waits this is before time jumps to something later; in a program that is busy all
the while it is the first time that an event loop looks for events later than ``t``. Both are places
of the run and not of the machine, so a replay from the start turns at the same one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

NEVER_NS = 1 << 63

Act = Callable[[], None]


class Turns:
    """The turns that are still to come, by time."""

    __slots__ = ("_heap", "_sequence", "beyond_ns", "next_ns")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Act]] = []
        self._sequence = 0
        self.next_ns = NEVER_NS
        """The time of the next one; whoever moves time compares, and calls `reach`."""
        self.beyond_ns = 0
        """While a turn is reached: where the world is about to be."""

    def at(self, at_ns: int, act: Act) -> None:
        """Do ``act`` when the world is about to go on beyond ``at_ns``."""
        self._sequence += 1
        heapq.heappush(self._heap, (at_ns, self._sequence, act))
        self.next_ns = self._heap[0][0]

    def clear(self) -> None:
        """Forget those to come."""
        self._heap.clear()
        self.next_ns = NEVER_NS

    def reach(self, beyond_ns: int) -> None:
        """The world is about to be at ``beyond_ns``: do what was to be done before that."""
        self.beyond_ns = beyond_ns
        while self._heap and self._heap[0][0] < beyond_ns:
            _, _, act = heapq.heappop(self._heap)
            self.next_ns = self._heap[0][0] if self._heap else NEVER_NS
            act()
