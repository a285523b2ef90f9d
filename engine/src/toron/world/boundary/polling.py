"""`select.select` and `select.poll` on simulated descriptors.

Libraries poll a socket with timeout 0 to ask whether a pooled connection is still good (httpcore,
pymongo). A poll that would have to wait blocks the loop's thread and is refused.
"""

from __future__ import annotations

import select
import selectors
from collections.abc import Callable, Iterable
from typing import Any

from toron.core.selector import Pollable
from toron.errors import EscapeError
from toron.world.boundary.aliases import Stand, replace

Lookup = Callable[[int], Pollable | None]


def install(lookup: Lookup) -> None:
    """Replace `select.select` and `select.poll`."""

    class BoundPoll(SimPoll):
        """A poll object over the descriptors of this process."""

        _lookup = staticmethod(lookup)

    def sim_select(
        readers: Iterable[Any],
        writers: Iterable[Any],
        exceptional: Iterable[Any],
        timeout: float | None = None,
        /,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        readable = [one for one in readers if _pollable(lookup, one).readable()]
        writable = [one for one in writers if _pollable(lookup, one).writable()]
        for one in exceptional:
            _pollable(lookup, one)
        if not readable and not writable and timeout != 0:
            raise EscapeError("select.select() would block the event loop's thread")
        return readable, writable, []

    replace(select, "select", Stand(select.select, sim_select))
    replace(select, "poll", BoundPoll)
    if hasattr(select, "epoll"):
        no_epoll = Stand(select.epoll, _refuse_epoll)
        replace(select, "epoll", no_epoll)
        selectors.EpollSelector._selector_cls = no_epoll  # type: ignore[attr-defined]


def _refuse_epoll(*_arguments: Any, **_keywords: Any) -> None:
    raise EscapeError("select.epoll() waits for descriptors of the real world, in real time")


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
        """Watch for other events."""
        self._events[_number(fd)] = eventmask

    def unregister(self, fd: Any, /) -> None:
        """Stop watching."""
        del self._events[_number(fd)]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """What is ready now."""
        ready = []
        for fd, wanted in self._events.items():
            pollable = _pollable(self._lookup, fd)
            mask = select.POLLIN * pollable.readable() | select.POLLOUT * pollable.writable()
            if mask & wanted:
                ready.append((fd, mask & wanted))
        if not ready and timeout != 0:
            raise EscapeError("poll() would block the event loop's thread")
        return ready


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())


def _pollable(lookup: Lookup, fd: Any) -> Pollable:
    number = _number(fd)
    pollable = lookup(number)
    if pollable is None:
        raise EscapeError("a descriptor of the real world cannot be polled")
    return pollable
