"""One viewer: how it is woken, how it is doing, and why it has to stop.

A viewer waits without a timer of its own: the keeper of the hub looks at all of them once a
second, for heartbeats and for writes that take too long. A timer each would cost more than the
events do.
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from testops.sse_gateway.frames import Encoding
from testops.sse_gateway.ports import Limits
from testops.sse_gateway.ring import Missed


class Stop(Enum):
    """Why a stream ends before its run does."""

    GONE = "the viewer has gone"
    CUT = "the viewer has not read for too long"
    DRAIN = "the server is going"
    AUTH_EXPIRED = "the viewer's key or session has ended"
    UNVERIFIED = "nobody can tell whether the viewer may still watch"


@dataclass(slots=True)
class Track:
    """Where a viewer stands on one run."""

    run_id: str
    place: int
    over: bool = False
    missed: Missed = field(default_factory=Missed)
    # It has had everything there was, at least once; before that it replays.
    was_level: bool = False
    # The number of the read after which an odd place (at the end, beyond it) is believed.
    doubted_at: int | None = None
    # How many events to ask the log for; follows from the size of those that came.
    page_events: int = 1


class Viewer:
    """One open stream."""

    def __init__(
        self, tracks: list[Track], encoding: Encoding, *, several: bool, thins: bool
    ) -> None:
        self.tracks = tracks
        self.encoding = encoding
        # A stream of several runs spells its ids as places on all of them.
        self.several = several
        self.thins = thins
        # How long the last write took; while one goes on, the keeper of the hub counts.
        self.write_s = 0.0
        self.stop: Stop | None = None
        self.retry_ms = 0
        self.sent_at = 0.0
        self.sent_bytes = 0
        # When the write began that has not ended yet.
        self.writing_since: float | None = None
        self._poked = False
        self._waiter: asyncio.Future[None] | None = None

    def poke(self) -> None:
        """Something may have changed; the viewer looks again."""
        self._poked = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def stop_for(self, reason: Stop) -> None:
        """End the stream, for the first reason given."""
        if self.stop is None:
            self.stop = reason
        self.poke()

    def looking(self) -> None:
        """From here on, a poke is news."""
        self._poked = False

    async def wait(self) -> None:
        """Until the next poke, or not at all when there was one since `looking`."""
        if self._poked:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def write_begins(self, now: float) -> None:
        self.writing_since = now

    def write_ended(self, now: float, size: int) -> None:
        assert self.writing_since is not None
        self.sent_bytes += size
        self.write_s = now - self.writing_since
        self.writing_since = None
        self.sent_at = now

    def is_slow(self, limits: Limits) -> bool:
        """Whether its last write had to wait for long."""
        return self.write_s >= limits.slow_after_s

    def places(self) -> dict[str, int]:
        return {track.run_id: track.place for track in self.tracks}
