"""Finds what a kernel leaves behind, when that is forbidden.

A plain asyncio program that ends with a task in the background is not wrong, so nothing of this is
judged unless the kernel asks for it. Then these are failures of kind ``leaked_task``:

- a task that is still pending when the kernel's own code has ended: one of the kernel's own
  process, or of a host where everything that was spawned has ended by itself (on a host whose main
  goes on, tasks are that daemon's own business). A task that was asked to be cancelled is none, nor
  is one that ends once everything that is ready has run;
- a task that was destroyed while it was pending, because nobody held it;
- a coroutine that nobody ever awaited.

An exception that nobody retrieved is a failure of kind ``exception`` in any run.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from toron.core.clock import Clock

DESTROYED = "Task was destroyed but it is pending!"


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that was left behind; ``origin`` is (file, line, function)."""

    text: str
    at_ns: int
    where: str = ""
    origin: tuple[str, int, str] | None = None


class Leaks:
    """What a run has left behind so far; empty unless `watch` was called."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.watched = False
        self.found: list[Leak] = []

    def watch(self) -> None:
        """Forbid leaks from now on, for the rest of this process."""
        if self.watched:
            return
        self.watched = True
        sys.set_coroutine_origin_tracking_depth(1)
        # CPython looks this up each time a coroutine dies that never ran; asyncio has no better
        # door, and a warning would have lost who made it.
        warn: Callable[[Any], None] = getattr(warnings, "_warn_unawaited_coroutine")  # noqa: B009

        def note(coroutine: Coroutine[Any, Any, Any]) -> None:
            origin = getattr(coroutine, "cr_origin", None)
            name = getattr(coroutine, "__qualname__", type(coroutine).__qualname__)
            text = f"coroutine {name} was never awaited"
            self.found.append(Leak(text, self._clock.now_ns, "", origin[0] if origin else None))
            warn(coroutine)

        setattr(warnings, "_warn_unawaited_coroutine", note)  # noqa: B010
