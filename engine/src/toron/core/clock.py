"""Virtual time: whole nanoseconds since the start of the run.

The monotonic clock and the wall clock are this one number with an offset each, so that they can
never disagree, unless a kernel skews the clocks of a host (see `skew`). Time
moves in two ways: every step of the program costs ``STEP_NS``, because a
program that polls a frozen clock would never see its deadline pass, and an idle loop jumps to the
next thing that happens.
"""

from __future__ import annotations

from toron.core.process import CURRENT

SECOND_NS = 1_000_000_000
STEP_NS = 1_000
MONOTONIC_BASE_NS = 1_000 * SECOND_NS
WALL_BASE_NS = 1_767_225_600 * SECOND_NS
"""2026-01-01T00:00:00Z, where every run begins."""


def to_ns(seconds: float) -> int:
    """Seconds as whole nanoseconds, rounded up so that a deadline is never early."""
    ns = int(seconds * SECOND_NS)
    return ns if ns >= seconds * SECOND_NS else ns + 1


class Clock:
    """The one clock of a run."""

    __slots__ = ("is_skewed", "now_ns")

    def __init__(self) -> None:
        self.now_ns = 0
        self.is_skewed = False
        """Whether some host's clocks differ from true time."""

    def advance_to(self, at_ns: int) -> None:
        """Move forward to ``at_ns``; time never goes back."""
        assert at_ns >= self.now_ns, f"time went back from {self.now_ns} to {at_ns}"
        self.now_ns = at_ns

    def monotonic_ns(self) -> int:
        """What ``time.monotonic_ns`` says on the host that asks; reading it costs nothing."""
        if self.is_skewed:
            process = CURRENT.get(None)
            if process is not None and process.skew is not None:
                return MONOTONIC_BASE_NS + process.skew.monotonic_ns(self.now_ns)
        return MONOTONIC_BASE_NS + self.now_ns

    def wall_ns(self) -> int:
        """What ``time.time_ns`` says on the host that asks: nanoseconds since 1970 in UTC."""
        if self.is_skewed:
            process = CURRENT.get(None)
            if process is not None and process.skew is not None:
                return WALL_BASE_NS + process.skew.wall_ns(self.now_ns)
        return WALL_BASE_NS + self.now_ns

    def after(self, seconds: float) -> int:
        """The true time at which ``seconds`` have passed on the clock of the host that asks."""
        if self.is_skewed:
            process = CURRENT.get(None)
            if process is not None and process.skew is not None:
                skew = process.skew
                return skew.true_ns(skew.monotonic_ns(self.now_ns) + to_ns(seconds))
        return self.now_ns + to_ns(seconds)
