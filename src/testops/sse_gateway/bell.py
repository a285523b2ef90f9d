"""A wake-up from another thread: many rings between two turns of the loop are heard as one."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence


class Bell:
    """Rung from any thread, heard on the loop: many rings between two turns are one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        heard: Callable[[Sequence[str] | None], None],
    ) -> None:
        self._loop = loop
        self._heard = heard
        self._rung: dict[str | None, None] = {}
        # Without it a ring could fall between the look at what was rung and the taking of it, and
        # every later one would think that the loop has been told.
        self._lock = threading.Lock()
        self._muted = False

    def mute(self) -> None:
        """From here on nothing is heard."""
        with self._lock:
            self._muted = True

    def ring(self, run_id: str | None) -> None:
        """Something may have changed in `run_id`, or in any run."""
        with self._lock:
            first = not self._rung and not self._muted
            if not self._muted:
                self._rung[run_id] = None
        if first:
            # The loop may have closed since; then nobody is left to hear.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            rung, self._rung = self._rung, {}
        self._heard(None if None in rung else [name for name in rung if name is not None])
