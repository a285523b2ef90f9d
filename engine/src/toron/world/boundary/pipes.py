"""Pipes that a program makes to wake itself (twisted, signal wakers): real ones, in one process.

Both ends stay within the run, so that a real pipe is as deterministic as a list; what is simulated
is waiting for it, so that an event loop or a poll can watch its ends.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

from toron.core.process import CURRENT
from toron.core.selector import Descriptors
from toron.world.boundary.aliases import Stand, replace

_real_poll = select.poll


class PipeEnd:
    """One end of a pipe, asked for its state each time: nobody announces what is written to it."""

    def __init__(self, fd: int) -> None:
        self._poll = _real_poll()
        self._poll.register(fd, select.POLLIN | select.POLLOUT)
        self._fd = fd

    def _state(self) -> int:
        return next((mask for _, mask in self._poll.poll(0)), 0)

    def readable(self) -> bool:
        """Whether bytes, or the end of the stream, can be read."""
        return bool(self._state() & (select.POLLIN | select.POLLHUP))

    def writable(self) -> bool:
        """Whether it takes bytes."""
        return bool(self._state() & (select.POLLOUT | select.POLLERR))

    def process_ended(self) -> None:
        """Its process ended."""
        os.close(self._fd)


def install(descriptors: Callable[[], Descriptors | None]) -> None:
    """Let the ends of a pipe be watched."""
    pipe, pipe2, close = os.pipe, os.pipe2, os.close

    def known(ends: tuple[int, int]) -> tuple[int, int]:
        table, process = descriptors(), CURRENT.get(None)
        if table is not None and process is not None:
            for fd in ends:
                table.add(fd, PipeEnd(fd), process, is_polled=True)
        return ends

    def sim_close(fd: int, /) -> None:
        table = descriptors()
        if table is not None and isinstance(table.get(fd), PipeEnd):
            table.remove(fd)
        close(fd)

    def sim_pipe() -> tuple[int, int]:
        return known(pipe())

    def sim_pipe2(flags: int, /) -> tuple[int, int]:
        return known(pipe2(flags))

    stands: dict[str, tuple[Any, Any]] = {
        "pipe": (pipe, sim_pipe),
        "pipe2": (pipe2, sim_pipe2),
        "close": (close, sim_close),
    }
    for name, (original, stand) in stands.items():
        replace(os, name, Stand(original, stand))
