"""When to come back to a stream, from where, and when not to. No I/O, no clock: it only decides.

Waits begin at what the server told (3 s), double with each connection that brought no event, and
stop growing at 60 s. Up to a quarter is added by chance, also at the top, so that a thousand
viewers of a server that restarts do not come back as one. The count begins anew with the first
event and not with the first answer: a server that accepts and then fails is not hurried.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from testops.client.sse import Message, Retry, StreamBroken

# 4xx that pass by themselves.
_PASSING = frozenset({408, 425, 429})
_TOLD_MOST_S = 300.0


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait, and how long a silent connection is believed."""

    first_s: float = 3.0
    factor: float = 2.0
    most_s: float = 60.0
    # A server that tells no wait at all is not hurried either.
    least_s: float = 0.05
    jitter: float = 0.25
    stall_s: float = 45.0


class Stand(Enum):
    """Where a follower stands."""

    COMING = "not connected, will be"
    READING = "connected"
    COMPLETE = "everything was told"
    REFUSED = "asking again would be refused again"


class Reconnect:
    """One follower of `runs` runs. `draw` gives a number from 0 up to 1."""

    def __init__(
        self,
        draw: Callable[[], float],
        *,
        runs: int = 1,
        place: str | None = None,
        waits: Waits | None = None,
    ) -> None:
        self._draw = draw
        self._runs = runs
        self.waits = waits or Waits()
        self.place = place
        self.stand = Stand.COMING
        self.failures = 0
        self._first_s = self.waits.first_s
        self._not_before_s = 0.0
        self._ended: dict[str, None] = {}

    @property
    def over(self) -> bool:
        """Whether there is nothing more to come for."""
        return self.stand in (Stand.COMPLETE, Stand.REFUSED)

    def answered(self, status: int, retry_after: str = "") -> Stand:
        """The server answered a connection with `status`."""
        assert not self.over
        if status == 200:
            self.stand = Stand.READING
        elif status == 204:
            self.stand = Stand.COMPLETE
        elif 400 <= status < 500 and status not in _PASSING:
            self.stand = Stand.REFUSED
        elif retry_after.isdigit() and len(retry_after) < 6:
            self._not_before_s = min(float(retry_after), _TOLD_MOST_S)
        return self.stand

    def heard(self, told: Message | Retry) -> Stand:
        """Something arrived on the connection."""
        assert self.stand is Stand.READING, self.stand
        if isinstance(told, Retry):
            self._first_s = min(max(told.after_s, self.waits.least_s), self.waits.most_s)
        elif told.event == "end":
            self._ended[_run_of(told)] = None
            if len(self._ended) >= self._runs:
                self.stand = Stand.COMPLETE
        elif told.id is not None and told.id != self.place:
            # Only an event of the run moves the place; notes repeat the id before them.
            self.place = told.id
            self.failures = 0
        return self.stand

    def lost(self) -> float:
        """The connection is gone or never came: how many seconds to wait."""
        assert not self.over
        self.stand = Stand.COMING
        grown_s = self._first_s * self.waits.factor ** min(self.failures, 30)
        wait_s = max(min(grown_s, self.waits.most_s), self._not_before_s)
        self.failures += 1
        self._not_before_s = 0.0
        return wait_s * (1 + self.waits.jitter * self._draw())


def _run_of(note: Message) -> str:
    try:
        return str(json.loads(note.data)["run_id"])
    except (ValueError, KeyError, TypeError):
        raise StreamBroken(f"an end that names no run: {note.data[:80]!r}") from None
