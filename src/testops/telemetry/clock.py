"""The time, as an argument: everything above takes a `Clock`, so that a test can hold one."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Says what time it is, and how much of it has passed."""

    def now(self) -> datetime:
        """The wall-clock time, in UTC."""
        ...

    def elapsed_s(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed_s(self) -> float:
        return time.monotonic()
