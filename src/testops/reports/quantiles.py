"""Percentiles of single measurements, and fewer of them where there are too many to keep."""

from collections.abc import Sequence

ASKED = (50.0, 90.0, 95.0, 99.0, 99.9)


def quantile(ordered: Sequence[float], q: float) -> float:
    """The `q`-th percentile of ascending values, interpolated as NumPy and k6 do."""
    assert ordered, "no data has no percentile"
    at = (len(ordered) - 1) * q / 100
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def percentiles(ordered: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Those that people ask for, as far as so many values can tell them.

    The 99.9th of fifty values would be their maximum under another name.
    """
    return tuple((q, quantile(ordered, q)) for q in ASKED if len(ordered) * (100 - q) >= 100)


def thinned(values: Sequence[float], count_max: int) -> tuple[float, ...]:
    """At most so many of the values, evenly taken from their sequence."""
    if len(values) <= count_max:
        return tuple(values)
    return tuple(values[index * len(values) // count_max] for index in range(count_max))
