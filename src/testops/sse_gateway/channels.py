"""Keeps the ring of a run level with its log: reads in a thread, at most once a tick.

Several viewers that wait for the same read share it. A log can do what a ring cannot: be pruned,
be reopened by a new attempt, or be gone; each read says so, and the ring follows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from testops.domain.event import LogHead, StoredEvent
from testops.sse_gateway.frames import frame_of
from testops.sse_gateway.ports import EventLog, Limits
from testops.sse_gateway.ring import Ring

T = TypeVar("T")


class OffLoop(Protocol):
    """Makes a blocking call without holding up the loop."""

    def __call__(self, call: Callable[[], T]) -> Awaitable[T]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Tail:
    """One look at a log: its head, and then what followed a number. The head is the older."""

    head: LogHead | None
    events: Sequence[StoredEvent]


class Channel:
    """One run: its ring, and what was last read of its log."""

    def __init__(self, run_id: str, log: EventLog, off_loop: OffLoop, limits: Limits) -> None:
        self.run_id = run_id
        self._log = log
        self._off_loop = off_loop
        self._limits = limits
        self._reading = asyncio.Lock()
        self._page_events = limits.page_events_first
        self.ring = Ring(events_max=limits.ring_events, bytes_max=limits.ring_bytes, after=0)
        # The run's newest attempt is over, and the ring has its last event.
        self.ended = False
        self.exists = False
        # Reads are numbered, so that somebody can ask for one that began after a certain moment;
        # two moments may have the same time.
        self.reads_begun = 0
        self.read_done = 0
        self.read_at = 0.0
        self.idle_since: float | None = None
        # The oldest event that the last read found new, of a log that was being watched.
        self.news: StoredEvent | None = None

    async def refresh(self, *, since: int) -> bool:
        """Read what is new, unless a read after number `since` did; whether anything changed."""
        async with self._reading:
            if self.read_done > since:
                return False
            self.read_at = asyncio.get_running_loop().time()
            self.reads_begun += 1
            before = self._state()
            watched = self.read_done > 0
            self.news = None
            level = False
            while not level:
                tail = await self._off_loop(self._look)
                if watched and self.news is None and tail.events:
                    self.news = tail.events[0]
                level = self._absorb(tail)
            self.read_done = self.reads_begun
            return before != self._state()

    def _state(self) -> tuple[object, ...]:
        return self.ring.first, self.ring.last, self.ended, self.exists, self.read_done > 0

    def _look(self) -> _Tail:
        """In a thread. The head first: events that come between make us read again, not miss."""
        head = self._log.head(self.run_id)
        if head is None:
            return _Tail(None, ())
        after = self.ring.last if self.exists else self._tail_begins(head)
        if head.last_seq <= after:
            return _Tail(head, ())
        return _Tail(head, self._log.read(self.run_id, after=after, limit=self._page_events))

    def _tail_begins(self, head: LogHead) -> int:
        """Where a new ring begins: with as much as it holds, for viewers that come back."""
        return max(head.first_seq - 1, head.last_seq - self._limits.ring_events, 0)

    def _absorb(self, tail: _Tail) -> bool:
        """Bring the ring to what was read; whether it is level with the log."""
        head = tail.head
        if head is None:
            self.exists = self.ended = False
            return True
        if not self.exists:
            self.exists = True
            self.ring.restart(self._tail_begins(head))
        if head.last_seq < self.ring.last and not tail.events:
            # Not the log that we knew: restored from a copy, or deleted and begun again.
            self.ring.restart(head.last_seq)
        for event in tail.events:
            if event.seq != self.ring.last + 1:
                self.ring.restart(event.seq - 1)
            self.ring.append(frame_of(event))
        if not tail.events and head.last_seq > self.ring.last:
            # Pruned to its end between the two calls.
            self.ring.restart(head.last_seq)
        self._page_events = self._limits.page_for(tail.events, self._limits.ring_bytes // 4)
        self.ended = head.ended and self.ring.last == head.last_seq
        return self.ring.last >= head.last_seq and (self.ended or not head.ended)

    async def page(self, after: int, *, limit: int) -> Sequence[StoredEvent]:
        """What follows `after` in the log, for a viewer that is behind the ring."""
        return await self._off_loop(lambda: self._log.read(self.run_id, after=after, limit=limit))
