"""The newest events of one run, encoded, for every viewer of it at once.

A ring is pure: no clock, no loop, no lock. It holds consecutive numbers, bounded in events and in
bytes; each viewer is only a number, the last one that it has. What fell out of the ring is in the
log, and `hub` reads it from there.

A viewer that keeps up, or replays, gets every event. For one whose connection cannot take them
all, `take` thins: what must be delivered stays, of each key of progress only the newest stays, of
log lines one in so many. What was left out is counted, and never silently: the stream says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testops.domain.event import Delivery
from testops.sse_gateway.frames import Frame

# Batches that several viewers are about to ask for; dropped with the next event.
_SHARED_MAX = 16


@dataclass(frozen=True, slots=True)
class Missed:
    """How much a slow viewer was spared."""

    coalesced: int = 0
    sampled: int = 0

    def __add__(self, other: "Missed") -> "Missed":
        return Missed(self.coalesced + other.coalesced, self.sampled + other.sampled)

    def __bool__(self) -> bool:
        return bool(self.coalesced or self.sampled)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a viewer gets next, and where it stands after that."""

    frames: tuple[Frame, ...]
    upto: int
    missed: Missed = Missed()


class Thinning:
    """Decides what a slow viewer may miss; `newest` names the last event of each key."""

    def __init__(self, newest: dict[str, int], *, one_in: int) -> None:
        self._newest = newest
        self._one_in = one_in
        self.missed = Missed()

    def keeps(self, frame: Frame) -> bool:
        """Whether `frame` is sent; when it is not, it is counted."""
        match frame.delivery:
            case Delivery.MUST:
                return True
            case Delivery.COALESCE:
                if self._newest.get(frame.key, frame.seq) <= frame.seq:
                    return True
                self.missed += Missed(coalesced=1)
            case Delivery.SAMPLE:
                # By number and not by count: which lines are shown does not depend on where the
                # batches of this viewer happened to end.
                if frame.seq % self._one_in == 0:
                    return True
                self.missed += Missed(sampled=1)
        return False


class Ring:
    """The events `first` to `last` of a run; empty when `first` is `last + 1`."""

    def __init__(self, *, events_max: int, bytes_max: int, after: int) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        # By number: a viewer begins anywhere, and a deque would have to be walked to it.
        self._frames: dict[int, Frame] = {}
        self._newest: dict[str, int] = {}
        self._shared: dict[tuple[int, int], tuple[bytes, int]] = {}
        self.first = after + 1
        self.last = after
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def holds(self, after: int) -> bool:
        """Whether a viewer that has everything up to `after` can go on from here."""
        return self.first <= after + 1 <= self.last + 1

    def append(self, frame: Frame) -> None:
        """Add the next event; a number out of order is a bug of the caller."""
        assert frame.seq == self.last + 1, (frame.seq, self.last)
        self._frames[frame.seq] = frame
        self.last = frame.seq
        self.size_bytes += len(frame.sse)
        if frame.delivery is Delivery.COALESCE:
            self._newest[frame.key] = frame.seq
        self._shared.clear()
        while len(self._frames) > self._events_max or self.size_bytes > self._bytes_max:
            self._evict()

    def extend(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self.append(frame)

    def restart(self, after: int) -> None:
        """Forget everything and go on after `after`: the log is not the one that was read."""
        self._frames.clear()
        self._newest.clear()
        self._shared.clear()
        self.first, self.last, self.size_bytes = after + 1, after, 0

    def _evict(self) -> None:
        frame = self._frames.pop(self.first)
        self.first += 1
        self.size_bytes -= len(frame.sse)
        if self._newest.get(frame.key) == frame.seq:
            del self._newest[frame.key]

    def take(self, after: int, *, bytes_max: int) -> Taken:
        """All that follows `after`, at most about `bytes_max`, at least one where there is one."""
        assert self.holds(after), (after, self.first, self.last)
        frames: list[Frame] = []
        size, upto = 0, after
        while upto < self.last and size < bytes_max:
            frame = self._frames[upto + 1]
            size += len(frame.sse)
            if frames and size > bytes_max:
                break
            frames.append(frame)
            upto += 1
        return Taken(tuple(frames), upto)

    def take_joined(self, after: int, *, bytes_max: int) -> tuple[bytes, int]:
        """The same as one piece of SSE, which all viewers at the same place share."""
        asked = (after, bytes_max)
        shared = self._shared.get(asked)
        if shared is None:
            taken = self.take(after, bytes_max=bytes_max)
            shared = b"".join([frame.sse for frame in taken.frames]), taken.upto
            if len(self._shared) >= _SHARED_MAX:
                self._shared.clear()
            self._shared[asked] = shared
        return shared

    def take_thinned(self, after: int, *, bytes_max: int, one_in: int) -> Taken:
        """What follows `after` for a viewer that cannot take all of it."""
        assert self.holds(after), (after, self.first, self.last)
        thinning = Thinning(self._newest, one_in=one_in)
        frames: list[Frame] = []
        size, upto = 0, after
        while upto < self.last:
            frame = self._frames[upto + 1]
            # Asked once: being asked counts what is left out.
            full = bool(frames) and size + len(frame.sse) > bytes_max
            if full:
                break
            if thinning.keeps(frame):
                frames.append(frame)
                size += len(frame.sse)
            upto += 1
        return Taken(tuple(frames), upto, thinning.missed)

    def thin_page(self, page: Sequence[Frame], *, one_in: int) -> Taken:
        """The same of a `page` of the log that is older than the ring."""
        newest = {frame.key: frame.seq for frame in page if frame.delivery is Delivery.COALESCE}
        thinning = Thinning(newest | self._newest, one_in=one_in)
        kept = tuple(frame for frame in page if thinning.keeps(frame))
        return Taken(kept, page[-1].seq, thinning.missed)
