"""One life of a simulated host: what starts at boot and ends, all of it at once, at a power cut.

Which process acts is a context variable, so it follows tasks, timers and readers exactly as far as
asyncio copies contexts, and library code needs to know nothing about it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any, Protocol

from toron.core.skew import Skew


class HostLike(Protocol):
    """What a process needs to know of the host it runs on."""

    @property
    def name(self) -> str:
        """The name of the host."""
        ...


class Process:
    """One incarnation of a host."""

    __slots__ = (
        "alive",
        "deliver",
        "held",
        "host",
        "incarnation",
        "name",
        "paused",
        "powered",
        "signals",
        "skew",
    )

    def __init__(self, host: HostLike, incarnation: int) -> None:
        self.host = host
        self.incarnation = incarnation
        self.alive = True
        self.powered = True
        """Whether its host still runs: the system sends what a killed process has left to send."""
        self.paused = False
        self.held: list[Any] = []
        """What the loop would have run while it was paused, in order."""
        self.skew: Skew | None = None
        """How its host's clocks differ from true time; None when they do not."""
        self.signals: dict[int, Any] = {}
        """Handlers by signal number: a Python handler, or a loop with the handle that it runs."""
        self.deliver: Callable[[int], None] = _nobody_listens
        """Lets it receive a signal; set when it boots."""
        self.name = host.name if incarnation == 0 else f"{host.name}'{incarnation}"


CURRENT: contextvars.ContextVar[Process] = contextvars.ContextVar("toron_process")


def _nobody_listens(_number: int) -> None:
    return None
