"""One life of a simulated host: what starts at boot and ends, all of it at once, at a power cut.

Which process acts is a context variable, so it follows tasks, timers and readers exactly as far as
asyncio copies contexts, and library code needs to know nothing about it.
"""

from __future__ import annotations

import contextvars
from typing import Protocol


class HostLike(Protocol):
    """What a process needs to know of the host it runs on."""

    @property
    def name(self) -> str:
        """The name of the host."""
        ...


class Process:
    """One incarnation of a host."""

    __slots__ = ("alive", "host", "incarnation", "name")

    def __init__(self, host: HostLike, incarnation: int) -> None:
        self.host = host
        self.incarnation = incarnation
        self.alive = True
        self.name = host.name if incarnation == 0 else f"{host.name}'{incarnation}"


CURRENT: contextvars.ContextVar[Process] = contextvars.ContextVar("toron_process")
