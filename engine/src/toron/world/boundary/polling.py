"""`select.select`, `select.poll` and `select.epoll` on simulated descriptors.

Libraries poll a socket with timeout 0 to ask whether a pooled connection is still good (httpcore,
pymongo), and threads of their own wait in them. Waiting hands the baton on; the loop's own thread
may wait too, which stops everything that runs on it, as it would on a real machine.
"""

from __future__ import annotations

import select
import selectors
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

from toron.core.selector import Pollable
from toron.errors import EscapeError
from toron.world.boundary.aliases import Stand, replace
from toron.world.boundary.threads import wait_until

Lookup = Callable[[int], Pollable | None]
_T = TypeVar("_T")


def install(lookup: Lookup) -> None:
    """Replace `select.select`, `select.poll` and `select.epoll`."""

    class BoundPoll(SimPoll):
        """A poll object over the descriptors of this process."""

        _lookup = staticmethod(lookup)

    class BoundEpoll(SimEpoll):
        """An epoll object over the descriptors of this process."""

        _lookup = staticmethod(lookup)

    def sim_select(
        readers: Iterable[Any],
        writers: Iterable[Any],
        exceptional: Iterable[Any],
        timeout: float | None = None,
        /,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        reading = [(one, _pollable(lookup, one)) for one in readers]
        writing = [(one, _pollable(lookup, one)) for one in writers]
        for one in exceptional:
            _pollable(lookup, one)

        def ready() -> tuple[list[Any], list[Any], list[Any]] | None:
            readable = [one for one, pollable in reading if pollable.readable()]
            writable = [one for one, pollable in writing if pollable.writable()]
            return (readable, writable, []) if readable or writable else None

        return _wait(ready, timeout, "select.select()") or ([], [], [])

    replace(select, "select", Stand(select.select, sim_select))
    replace(select, "poll", BoundPoll)
    if hasattr(select, "epoll"):
        replace(select, "epoll", BoundEpoll)
        selectors.EpollSelector._selector_cls = BoundEpoll  # type: ignore[attr-defined]
    selectors.PollSelector._selector_cls = BoundPoll  # type: ignore[attr-defined]
    selectors.SelectSelector._select = staticmethod(sim_select)  # type: ignore[attr-defined]


def _wait(ready: Callable[[], _T | None], timeout: float | None, call: str) -> _T | None:
    """What ``ready`` finds within ``timeout`` seconds (None: however long it takes)."""
    found = ready()
    if found is not None or timeout == 0:
        return found
    wait_until(lambda: ready() is not None, timeout, call)
    return ready()


class SimPoll:
    """A poll object over simulated descriptors."""

    _lookup: Lookup

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def register(self, fd: Any, eventmask: int = select.POLLIN | select.POLLOUT, /) -> None:
        """Watch ``fd``."""
        _pollable(self._lookup, fd)
        self._events[_number(fd)] = eventmask

    def modify(self, fd: Any, eventmask: int, /) -> None:
        """Watch for other events; OSError when ``fd`` was not watched."""
        if _number(fd) not in self._events:
            raise FileNotFoundError(2, "No such file or directory")
        self._events[_number(fd)] = eventmask

    def unregister(self, fd: Any, /) -> None:
        """Stop watching."""
        del self._events[_number(fd)]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """What is ready within ``timeout`` milliseconds."""
        seconds = None if timeout is None or timeout < 0 else timeout / 1_000
        return _wait(self._ready, seconds, "poll()") or []

    def _ready(self) -> list[tuple[int, int]] | None:
        ready = []
        for fd, wanted in self._events.items():
            pollable = self._lookup(fd)
            if pollable is None:  # closed while it was watched
                ready.append((fd, select.POLLNVAL))
                continue
            mask = select.POLLIN * pollable.readable() | select.POLLOUT * pollable.writable()
            if mask & wanted:
                ready.append((fd, mask & wanted))
        return ready or None


class SimEpoll:
    """An epoll object over simulated descriptors; level-triggered, or edge-triggered as asked."""

    _lookup: Lookup

    def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
        self._events: dict[int, int] = {}
        self._reported: dict[int, int] = {}
        self.closed = False

    def register(self, fd: Any, eventmask: int = select.EPOLLIN | select.EPOLLOUT) -> None:
        """Watch ``fd``; OSError when it is watched already."""
        _pollable(self._lookup, fd)
        if _number(fd) in self._events:
            raise FileExistsError(17, "File exists")
        self._events[_number(fd)] = eventmask

    def modify(self, fd: Any, eventmask: int) -> None:
        """Watch for other events."""
        if _number(fd) not in self._events:
            raise FileNotFoundError(2, "No such file or directory")
        self._events[_number(fd)] = eventmask
        self._reported.pop(_number(fd), None)

    def unregister(self, fd: Any) -> None:
        """Stop watching."""
        if self._events.pop(_number(fd), None) is None:
            raise FileNotFoundError(2, "No such file or directory")
        self._reported.pop(_number(fd), None)

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """What is ready within ``timeout`` seconds."""
        if self.closed:
            raise ValueError("I/O operation on closed epoll object")
        seconds = None if timeout is None or timeout < 0 else timeout
        ready = _wait(self._ready, seconds, "epoll.poll()") or []
        for fd, mask in ready:
            self._reported[fd] = mask
        return ready if maxevents < 1 else ready[:maxevents]

    def _ready(self) -> list[tuple[int, int]] | None:
        ready = []
        for fd, wanted in self._events.items():
            pollable = self._lookup(fd)
            if pollable is None:  # a closed descriptor leaves an epoll set by itself
                continue
            mask = select.EPOLLIN * pollable.readable() | select.EPOLLOUT * pollable.writable()
            mask &= wanted
            if wanted & select.EPOLLET:
                before = self._reported.get(fd, 0)
                self._reported[fd] = before & mask
                mask &= ~before
            if mask:
                ready.append((fd, mask))
        return ready or None

    def close(self) -> None:
        """Watch nothing more."""
        self.closed = True
        self._events.clear()

    def fileno(self) -> int:
        """Refused: nothing of the real world stands behind it."""
        raise EscapeError("epoll.fileno() hands a simulated epoll object to the real world")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())


def _pollable(lookup: Lookup, fd: Any) -> Pollable:
    number = _number(fd)
    pollable = lookup(number)
    if pollable is None:
        raise EscapeError("a descriptor of the real world cannot be polled")
    return pollable
