"""How one host's clocks run against true time: offset, drift, jumps.

The monotonic clock of a host is a line over true time, ``mono = mono_0 + rate * (true - true_0)``,
and its wall clock is the monotonic one plus an offset. Setting the wall clock moves the offset,
drift changes the slope of both, and neither ever makes the monotonic clock go back.
"""

from __future__ import annotations

PPM = 1_000_000


class Skew:
    """The clocks of one host. All times in nanoseconds since the start of the run."""

    __slots__ = ("_mono_0", "_true_0", "ppm", "wall_offset_ns")

    def __init__(self) -> None:
        self._true_0 = 0
        self._mono_0 = 0
        self.ppm = 0
        self.wall_offset_ns = 0

    def monotonic_ns(self, true_ns: int) -> int:
        """What the host's monotonic clock shows at ``true_ns``."""
        passed = true_ns - self._true_0
        return self._mono_0 + passed + passed * self.ppm // PPM

    def wall_ns(self, true_ns: int) -> int:
        """What its wall clock shows, as an offset from the start of the run."""
        return self.monotonic_ns(true_ns) + self.wall_offset_ns

    def true_ns(self, mono_ns: int) -> int:
        """The first true time at which its monotonic clock shows ``mono_ns`` or more."""
        passed = mono_ns - self._mono_0
        true_ns = self._true_0 + passed * PPM // (PPM + self.ppm)
        while self.monotonic_ns(true_ns) < mono_ns:
            true_ns += 1
        return true_ns

    def copy(self) -> Skew:
        """The same clocks, to be changed apart."""
        other = Skew()
        other._true_0, other._mono_0 = self._true_0, self._mono_0
        other.ppm, other.wall_offset_ns = self.ppm, self.wall_offset_ns
        return other

    def jump_wall(self, by_ns: int) -> None:
        """Set the wall clock forward, or back."""
        self.wall_offset_ns += by_ns

    def drift(self, ppm: int, true_ns: int) -> None:
        """Run ``ppm`` parts in a million faster (or slower) than true time from now on."""
        self._true_0, self._mono_0 = true_ns, self.monotonic_ns(true_ns)
        self.ppm = ppm

    def jump_monotonic(self, by_ns: int, true_ns: int) -> None:
        """Show ``by_ns`` more at once, as after a suspension that the clock counts."""
        assert by_ns >= 0, "a monotonic clock never goes back"
        self._true_0, self._mono_0 = true_ns, self.monotonic_ns(true_ns) + by_ns
