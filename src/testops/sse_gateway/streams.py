"""What one viewer gets, in which order: from the ring, from the log behind it, and about itself.

The only waiting here is for the log and for news. A place that looks odd (at the end of a run that
is over, beyond the end, in a run that is gone) is believed only after a read of the log that began
later: another gateway may be ahead of this one, and a new attempt reopens a log.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from testops.sse_gateway.channels import Channel
from testops.sse_gateway.frames import (
    Encoding,
    Frame,
    drain_note,
    frame_of,
    heartbeat,
    note,
    opening,
)
from testops.sse_gateway.places import spelled
from testops.sse_gateway.ports import Limits
from testops.sse_gateway.ring import Missed, Taken
from testops.sse_gateway.viewers import Stop, Track, Viewer

# A write that had to wait at all; what the system takes at once takes less than this.
_WAITED_S = 0.1


@dataclass(slots=True)
class Tally:
    """What all streams together were spared."""

    missed: Missed = field(default_factory=Missed)


@dataclass(frozen=True, slots=True)
class Stream:
    """The stream of one viewer over the channels of its runs, one for each of its tracks."""

    viewer: Viewer
    channels: Sequence[Channel]
    limits: Limits
    tally: Tally
    # Reads a channel again unless a read after that number did.
    refresh: Callable[[Channel, int], Awaitable[None]]

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The stream piece by piece; each is written before the next is made."""
        viewer = self.viewer
        loop = asyncio.get_running_loop()
        yield opening(viewer.encoding, self.limits.retry_ms)
        pairs = list(zip(viewer.tracks, self.channels, strict=True))
        while viewer.stop is None:
            viewer.looking()
            moved = False
            for track, channel in pairs:
                if not track.over:
                    piece = await self._next(track, channel)
                    moved = moved or piece is not None
                    if piece:
                        yield piece
            if all(track.over for track in viewer.tracks):
                return
            if not moved:
                if loop.time() - viewer.sent_at >= self.limits.heartbeat_s:
                    yield heartbeat(viewer.encoding)
                await viewer.wait()
        yield self._last_words()

    def _last_words(self) -> bytes:
        match self.viewer.stop:
            case Stop.DRAIN:
                return drain_note(self.viewer.encoding, self.viewer.retry_ms)
            case Stop.AUTH_EXPIRED:
                return note(self.viewer.encoding, "auth-expired")
            case _:
                return b""

    async def _next(self, track: Track, channel: Channel) -> bytes | None:
        """The next piece of one run, empty when it only moved; None when it has to wait."""
        if channel.read_done == 0:
            return None
        ring = channel.ring
        at_end = track.place == ring.last and channel.ended
        if at_end or track.place > ring.last or not channel.exists:
            if track.doubted_at is None:
                track.doubted_at = channel.reads_begun
            if channel.read_done <= track.doubted_at:
                await self.refresh(channel, track.doubted_at)
                return b""
            return self._odd(track, channel)
        track.doubted_at = None
        if not ring.holds(track.place):
            return await self._from_log(track, channel)
        if track.place < ring.last:
            return self._from_ring(track, channel)
        track.was_level = True
        return None

    def _odd(self, track: Track, channel: Channel) -> bytes:
        if channel.exists and track.place > channel.ring.last:
            # The viewer has seen what this log never had: it is told, and shown the log anew.
            last = channel.ring.last
            return self._skip_to(track, 1, last_available=last)
        track.over = True
        return note(self.viewer.encoding, "end", run_id=track.run_id, last_seq=track.place)

    def _from_ring(self, track: Track, channel: Channel) -> bytes:
        limits = self.limits
        if self._is_slow(track, channel):
            taken = channel.ring.take_thinned(
                track.place, bytes_max=limits.batch_bytes, one_in=limits.samples_one_in
            )
            return self._spell(track, channel, taken)
        if self.viewer.encoding is Encoding.SSE and not self.viewer.several:
            joined, track.place = channel.ring.take_joined(
                track.place, bytes_max=limits.batch_bytes
            )
            return joined
        taken = channel.ring.take(track.place, bytes_max=limits.batch_bytes)
        return self._spell(track, channel, taken)

    async def _from_log(self, track: Track, channel: Channel) -> bytes:
        """A batch from before the ring. What does not fit into it is dropped, and read again."""
        page = await channel.page(track.place, limit=track.page_events)
        track.page_events = self.limits.page_for(page, self.limits.batch_bytes)
        first = page[0].seq if page else channel.ring.first
        assert first > track.place, (first, track.place)
        gap = self._skip_to(track, first) if first != track.place + 1 else b""
        if not page:
            return gap
        batch = _fitting([frame_of(event) for event in page], self.limits.batch_bytes)
        if self._is_slow(track, channel):
            taken = channel.ring.thin_page(batch, one_in=self.limits.samples_one_in)
        else:
            taken = Taken(tuple(batch), batch[-1].seq)
        return gap + self._spell(track, channel, taken)

    def _is_slow(self, track: Track, channel: Channel) -> bool:
        """Whether it is spared what it may miss. A run that is over is replayed whole."""
        viewer, limits = self.viewer, self.limits
        if not viewer.thins or channel.ended:
            return False
        if viewer.is_slow(limits):
            return True
        behind = channel.ring.last - track.place > limits.behind_max
        return behind and track.was_level and viewer.write_s >= _WAITED_S

    def _skip_to(self, track: Track, first: int, **more: int) -> bytes:
        asked, track.place = track.place + 1, first - 1
        return note(
            self.viewer.encoding,
            "gap",
            run_id=track.run_id,
            asked=asked,
            first_available=first,
            **more,
        )

    def _spell(self, track: Track, channel: Channel, taken: Taken) -> bytes:
        spelt = self._spell_frames(track, taken.frames)
        track.place = taken.upto
        if taken.missed:
            track.missed += taken.missed
            self.tally.missed += taken.missed
            spelt.append(self._coalesced(track, channel, taken.missed))
        return b"".join(spelt)

    def _spell_frames(self, track: Track, frames: Sequence[Frame]) -> list[bytes]:
        viewer = self.viewer
        if viewer.encoding is Encoding.NDJSON:
            return [frame.line for frame in frames]
        if not viewer.several:
            return [frame.sse for frame in frames]
        spelt = []
        for frame in frames:
            track.place = frame.seq
            spelt.append(frame.sse_at(spelled(viewer.places())))
        return spelt

    def _coalesced(self, track: Track, channel: Channel, missed: Missed) -> bytes:
        return note(
            self.viewer.encoding,
            "coalesced",
            run_id=track.run_id,
            upto=track.place,
            coalesced=missed.coalesced,
            sampled=missed.sampled,
            coalesced_total=track.missed.coalesced,
            sampled_total=track.missed.sampled,
            behind=channel.ring.last - track.place,
        )


def _fitting(page: Sequence[Frame], bytes_max: int) -> Sequence[Frame]:
    """As much of `page` as `bytes_max` holds, and always its first."""
    size = 0
    for number, frame in enumerate(page):
        size += len(frame.sse)
        if size > bytes_max and number:
            return page[:number]
    return page
