"""A latch for a shelf that has no locks: two kinds of markers, each with an end.

Whoever comes writes a marker and then looks for those of others. An object store answers every
reading with the last writing, so of two who come at once at least one sees the other. One who adds
keeps its marker and waits until nobody removes. One who removes gives way to whoever adds; of
several who remove, the one with the smallest token stays.

A marker ends by itself, so that a killed process is waited for only so long. Its holder moves the
end while it works, and stops, well before it comes, where that is not possible.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from testops.domain.errors import StoreUnavailable
from testops.snapshots.objects.ports import Hold, Shelf
from testops.telemetry.clock import Clock

_LEASE = timedelta(minutes=5)
# What is left of a lease when its holder must not act any more, and how much longer others wait:
# between them lies what the clocks of two machines may differ.
_MARGIN = timedelta(minutes=1)
_RENEWED_AFTER = timedelta(minutes=1)
_WAIT_S = 900.0
_POLL_S = 0.5
_TOLD_AFTER_S = 1.0
_SHARED, _EXCLUSIVE = "latch/shared/", "latch/exclusive/"


class LeaseLatch:
    """The latch of `shelf`; `token` names this process among all that use it."""

    def __init__(
        self,
        shelf: Shelf,
        clock: Clock,
        *,
        token: str,
        pause: Callable[[float], None],
        told: Callable[[str], None],
    ) -> None:
        self._shelf = shelf
        self._clock = clock
        self._token = token
        self._pause = pause
        self._told = told

    def shared(self) -> contextlib.AbstractContextManager[Hold]:
        return self._held(_SHARED + self._token, self._nobody_removes)

    def exclusive(self) -> contextlib.AbstractContextManager[Hold]:
        return self._held(_EXCLUSIVE + self._token, self._nobody_else)

    @contextlib.contextmanager
    def _held(self, name: str, is_free: Callable[["_Lease"], bool]) -> Iterator[Hold]:
        lease = _Lease(self._shelf, self._clock, name)
        try:
            self._wait(lease, is_free)
            yield lease
        finally:
            lease.end()

    def _wait(self, lease: "_Lease", is_free: Callable[["_Lease"], bool]) -> None:
        for turn in range(int(_WAIT_S / _POLL_S)):
            lease.require()
            if is_free(lease):
                return
            if turn * _POLL_S == _TOLD_AFTER_S:
                self._told(
                    f"another process works in {self._shelf.shown()}, or was killed there less than"
                    " six minutes ago; waiting for it"
                )
            self._pause(_POLL_S)
        raise StoreUnavailable(
            f"the snapshot store {self._shelf.shown()} has been in use for {_WAIT_S:g} s; wait for "
            "the others, then run again"
        )

    def _nobody_removes(self, _lease: "_Lease") -> bool:
        return not self._live(_EXCLUSIVE)

    def _nobody_else(self, lease: "_Lease") -> bool:
        removing = [name for name in self._live(_EXCLUSIVE) if name != lease.name]
        adding = self._live(_SHARED)
        if adding or any(name < lease.name for name in removing):
            lease.end()
        return not adding and not removing

    def _live(self, prefix: str) -> list[str]:
        """The markers of `prefix` that have not ended; those that have are removed."""
        live = []
        for entry in self._shelf.entries(prefix):
            content = self._shelf.read(entry.name)
            if content is None:
                continue
            if self._clock.now() < _end_of(content) + _MARGIN:
                live.append(entry.name)
            else:
                self._shelf.remove(entry.name)
        return live


class _Lease:
    def __init__(self, shelf: Shelf, clock: Clock, name: str) -> None:
        self.name = name
        self._shelf = shelf
        self._clock = clock
        self._end: datetime | None = None

    def require(self) -> None:
        now = self._clock.now()
        if self._end is not None and now > self._end - _MARGIN:
            self.end()
            raise StoreUnavailable(
                f"the snapshot store {self._shelf.shown()} answered too slowly to go on safely; "
                "run the command again"
            )
        if self._end is None or now > self._end - _LEASE + _RENEWED_AFTER:
            end = now + _LEASE
            self._shelf.write(self.name, json.dumps({"until": end.isoformat()}).encode())
            self._end = end

    def end(self) -> None:
        if self._end is not None:
            self._end = None
            self._shelf.remove(self.name)


def _end_of(content: bytes) -> datetime:
    try:
        return datetime.fromisoformat(json.loads(content)["until"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreUnavailable(
            "a marker under latch/ of the snapshot store cannot be read; remove it by hand"
        ) from error
