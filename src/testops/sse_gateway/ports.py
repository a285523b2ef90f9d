"""What the gateway asks of the rest: the log of a run, a wake-up call, and who may see it.

The storage and the access control answer these; the gateway knows neither of them.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from testops.access.asked import Asked
from testops.domain.event import LogHead, StoredEvent


class EventLog(Protocol):
    """The durable log of every run. Both calls block, so the hub makes them in a thread."""

    def head(self, run_id: str) -> LogHead | None:
        """How far the log of `run_id` goes; None when there is no such run."""
        ...

    def read(self, run_id: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """The oldest kept events with a number above `after`, in order, `limit` at most."""
        ...


class Wakeups(Protocol):
    """Says that a log has grown. It may be late, doubled or lost: the log is the truth."""

    def listen(self, changed: Callable[[str | None], None]) -> AbstractContextManager[None]:
        """While it is open, `changed(run_id)` is called, from any thread; None: any run."""
        ...


class RunDirectory(Protocol):
    """Knows which workspace a run belongs to."""

    def workspace_of(self, run_id: str) -> str | None:
        """Its workspace, or None when there is no such run. Blocks."""
        ...


class Principal(Protocol):
    """Whoever a request came from; a value. Those of one `id` share a cap, equals a re-check."""

    @property
    def id(self) -> str: ...


P = TypeVar("P", bound=Principal)


class Guard(Protocol[P]):
    """Admits a caller, says what it may see, and keeps the record of what it refused."""

    async def admit(self, request: Asked, /) -> P:
        """Who is asking; `Refused` (401, 403 or 429) when nobody we know."""
        ...

    async def permit(self, principal: P, request: Asked, /, *, run_id: str, workspace: str) -> None:
        """Nothing when `principal` may watch the run; `Refused` (403 or 404) when not."""
        ...

    def still_valid(self, principal: P, /) -> bool:
        """Whether `principal` would be admitted now. Blocks; asked about every 15 seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the gateway. A viewer may take about twice `batch_bytes` of memory."""

    ring_events: int = 4096
    ring_bytes: int = 4 << 20
    batch_bytes: int = 48 << 10
    page_events_first: int = 64
    page_events_max: int = 512
    tick_s: float = 0.05
    heartbeat_s: float = 15.0
    recheck_s: float = 15.0
    # A viewer whose write waits this long is slow, and gets what it can take; at the second
    # bound it is cut, and may come back with its last id.
    slow_after_s: float = 1.0
    # So does one that was level and has fallen this far behind, if its writes have to wait at all.
    behind_max: int = 2048
    send_timeout_s: float = 20.0
    idle_s: float = 60.0
    viewers_max: int = 4096
    viewers_per_run_max: int = 2048
    viewers_per_principal_max: int = 1024
    runs_per_stream_max: int = 32
    retry_ms: int = 3000
    # Viewers told to come back are told so over this long.
    stagger_ms: int = 5000
    samples_one_in: int = 10

    def page_for(self, events: Sequence[StoredEvent], bytes_wanted: int) -> int:
        """How many events to ask for next, if they are as large as `events` are."""
        if not events:
            return self.page_events_first
        mean = sum(len(event.body) for event in events) // len(events) + 1
        return max(1, min(self.page_events_max, bytes_wanted // mean))
