"""Delivers one cancellation to every await of every task, one run for each.

First, at each await of a task that has a timeout set (`asyncio.timeout`, `wait_for`, a cancel scope
of anyio), the timeout expires there, as if what came before had taken so long. Then each task that
the program itself cancels (`task.cancel()`, a task group that aborts) is cancelled at each of its
awaits, while it waits, and once more when it has its result and has not gone on yet: the two
moments that asyncio's cancellation tells apart. A timeout that is due after the harmless run has
ended is a guard, which is left alone.

With ``beyond``, guards and every other task too: whether a program survives that is a question of
robustness, and such a failure is labelled so.

A cancelled await is not a failure by itself, nor is the CancelledError that it sends upwards; what
it leaves behind is: a lock that nobody releases, a broken property, another exception.
"""

from __future__ import annotations

from collections import deque

from toron.core.tape import Deviation
from toron.search.outcome import Execution

Deviations = tuple[Deviation, ...]
_LABEL = "cancel "


class CancellationPoints:
    """A survey of the harmless run, then one run for each point that it has met."""

    surveys = True

    def __init__(self, *, beyond: bool = False) -> None:
        self._beyond = beyond
        self._waiting: deque[Deviations] = deque([()])
        self._points = self._outside = self._tried = 0

    def next_tapes(self, most: int) -> list[Deviations]:
        """At most ``most`` runs to execute now; none when every point was tried."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def learn(self, tape: Deviations, execution: Execution) -> None:
        """Read the points from the survey; of the other runs only count."""
        if tape:
            self._tried += 1
            return
        inside: list[Deviations] = []
        cancelled: list[Deviations] = []
        outside: list[Deviations] = []
        for point, value, due_ns in execution.expiries:
            is_guard = due_ns > execution.outcome.virtual_ns
            (outside if is_guard else inside).append(((f"{_LABEL}{point}", value),))
        for key, _ in execution.offers:
            if key.startswith(_LABEL):
                task = key.removeprefix(_LABEL).rpartition("/")[0]
                (cancelled if task in execution.cancelled else outside).append(((key, 1),))
        self._outside = len(outside)
        self._waiting.extend([*inside, *cancelled, *(outside if self._beyond else [])])
        self._points = len(self._waiting)

    def bound(self) -> str:
        """How many of the points were tried."""
        text = f"{self._tried} of {self._points} cancellation points were tried"
        if self._outside and not self._beyond:
            text += (
                f"; {self._outside} more are of tasks that the program never cancels, or timeouts "
                "that are due when it has long ended (--beyond)"
            )
        return text
