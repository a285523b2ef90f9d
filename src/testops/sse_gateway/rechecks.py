"""Asks again, while a stream is open, whether its viewer may still watch.

A key that was revoked or a session that was closed ends its streams at the next question. When the
question cannot be answered a stream goes on for a while, and then ends in good order: the viewer
comes back, and is told properly.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic

from testops.sse_gateway.channels import OffLoop
from testops.sse_gateway.ports import Guard, P
from testops.sse_gateway.viewers import Stop, Viewer

log = logging.getLogger("testops.sse_gateway")

_UNANSWERED_MAX = 4


class Rechecks(Generic[P]):
    """One task for all viewers; equal principals are asked about once."""

    def __init__(self, guard: Guard[P], off_loop: OffLoop, *, every_s: float) -> None:
        self._guard = guard
        self._off_loop = off_loop
        self._every_s = every_s
        self._principals: dict[Viewer, P] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def of(self, viewer: Viewer, principal: P) -> Iterator[None]:
        """Ask about `principal` for `viewer`, while this is open."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._go_on(), name="sse-recheck")
        self._principals[viewer] = principal
        try:
            yield
        finally:
            del self._principals[viewer]

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _go_on(self) -> None:
        unanswered = 0
        while True:
            await asyncio.sleep(self._every_s)
            asked = list(dict.fromkeys(self._principals.values()))
            if not asked:
                continue
            try:
                valid = await self._ask(asked)
                unanswered = 0
            except Exception:
                unanswered += 1
                log.warning("nobody can say who may still watch", exc_info=True)
                valid = {}
            for viewer, principal in list(self._principals.items()):
                if not valid.get(principal, True):
                    viewer.stop_for(Stop.AUTH_EXPIRED)
                elif unanswered >= _UNANSWERED_MAX:
                    viewer.stop_for(Stop.UNVERIFIED)

    async def _ask(self, principals: Sequence[P]) -> Mapping[P, bool]:
        still_valid = self._guard.still_valid
        return await self._off_loop(lambda: {one: still_valid(one) for one in principals})
