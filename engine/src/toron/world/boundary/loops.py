"""Event loops that the program makes itself: in a thread, by `asyncio.run`, or by their class."""

from __future__ import annotations

import asyncio
from typing import Any

from toron.core.loop import Shared, SimLoop
from toron.errors import EscapeError
from toron.world.boundary.aliases import replace


class _Active:
    shared: Shared | None = None


class ProgramLoop(SimLoop):
    """``asyncio.SelectorEventLoop`` to a program."""

    def __init__(self, selector: Any = None) -> None:
        if _Active.shared is None:
            raise EscapeError(
                "an event loop was made before the run began (at import time?); "
                "make it in the kernel"
            )
        super().__init__(_Active.shared)


def install() -> None:
    """Every way to make a loop makes one of the simulated world."""
    policy: Any = asyncio.DefaultEventLoopPolicy
    policy._loop_factory = ProgramLoop
    replace(asyncio, "SelectorEventLoop", ProgramLoop)
    replace(asyncio.unix_events, "_UnixSelectorEventLoop", ProgramLoop)
    if hasattr(asyncio, "EventLoop"):  # of Python 3.13
        replace(asyncio, "EventLoop", ProgramLoop)


def begin(shared: Shared) -> None:
    """Loops made from now on belong to this run."""
    _Active.shared = shared
