"""Two samples compared: is one shifted, by how much, and could that be chance?

The test is of H. B. Mann and D. R. Whitney, "On a Test of Whether one of Two Random Variables is
Stochastically Larger than the Other", Annals of Mathematical Statistics 18 (1947), its exact
distribution by their recurrence (as a product of Gaussian polynomials), its normal approximation
with the correction for ties of E. L. Lehmann, "Nonparametrics" (1975), section 1.4, and one for
continuity. How large an effect is: N. Cliff, "Dominance statistics", Psychological Bulletin 114
(1993), and A. Vargha and H. D. Delaney, "A Critique and Improvement of the CL Common Language
Effect Size Statistics", Journal of Educational and Behavioral Statistics 25 (2000). The shift:
J. L. Hodges and E. L. Lehmann, "Estimates of Location Based on Rank Tests", Annals of Mathematical
Statistics 34 (1963).
"""

import math
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from testops.domain.gate import Worse

# Up to so many pairs the exact distribution is cheap, and beyond it the normal one is close.
_EXACT_PAIRS_MAX = 2500
# Up to so many differences are sorted; more are searched without being spelled out.
_SORTED_PAIRS_MAX = 250_000


@dataclass(frozen=True, slots=True)
class Compared:
    """What comparing a sample with an earlier one says. `u` is of the newer one, ties are halves.

    `superiority` is the chance that a new measurement is larger than an old one (Vargha-Delaney A),
    `cliffs_delta` the same from -1 to 1; `shift` is the median of all differences new - old.
    """

    newer: int
    older: int
    u: float
    p: float
    method: str
    shift: float

    @property
    def superiority(self) -> float:
        return self.u / (self.newer * self.older)

    @property
    def cliffs_delta(self) -> float:
        return 2 * self.superiority - 1

    def to_json(self) -> dict[str, Any]:
        return {
            "test": "mann-whitney-u",
            "method": self.method,
            "samples": self.newer,
            "baseline_samples": self.older,
            "u": self.u,
            "p": self.p,
            "shift": self.shift,
            "cliffs_delta": self.cliffs_delta,
            "superiority": self.superiority,
        }


def compare(newer: Sequence[float], older: Sequence[float], worse: Worse) -> Compared:
    """Whether `newer` is shifted against `older` in the direction `worse`.

    Both must be finite and hold something. `p` is the chance of such a `u`, or one further out,
    were both from one distribution.
    """
    new, old = sorted(newer), sorted(older)
    u = _u(new, old)
    p, method = _chance(new, old, u, worse)
    return Compared(len(new), len(old), u, p, method, hodges_lehmann(new, old))


def smallest_chance(newer: int, older: int, worse: Worse) -> float:
    """The smallest `p` that samples of these sizes can reach, exactly counted."""
    sides = 2 if worse is Worse.DIFFERENT else 1
    return min(1.0, sides / math.comb(newer + older, newer))


def median(values: Sequence[float]) -> float:
    """The middle one, or the mean of the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return ordered[half - 1] / 2 + ordered[half] / 2


def hodges_lehmann(newer: Sequence[float], older: Sequence[float]) -> float:
    """The median of all differences new - old."""
    new, old = sorted(newer), sorted(older)
    pairs = len(new) * len(old)
    if pairs <= _SORTED_PAIRS_MAX:
        return median([x - y for x in new for y in old])
    high = _nth_difference(new, old, pairs // 2)
    if pairs % 2:
        return high
    return _nth_difference(new, old, pairs // 2 - 1) / 2 + high / 2


def _u(new: Sequence[float], old: Sequence[float]) -> float:
    """How many pairs the newer one wins; a tie is half a win."""
    below = sum(bisect_left(old, x) for x in new)
    not_above = sum(bisect_right(old, x) for x in new)
    return (below + not_above) / 2


def _chance(
    new: Sequence[float], old: Sequence[float], u: float, worse: Worse
) -> tuple[float, str]:
    pairs = len(new) * len(old)
    ties = _ties([*new, *old])
    exact = not ties and pairs <= _EXACT_PAIRS_MAX
    at_least = _exact_at_least(len(new), len(old)) if exact else _normal_at_least(new, old, ties)
    method = "exact" if exact else "normal"
    match worse:
        case Worse.HIGHER:
            return at_least(u), method
        case Worse.LOWER:
            return at_least(pairs - u), method
        case Worse.DIFFERENT:
            return min(1.0, 2 * at_least(max(u, pairs - u))), method


def _ties(values: Sequence[float]) -> list[int]:
    """How often each value is there that is there more than once."""
    counts: dict[float, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return [count for count in counts.values() if count > 1]


def _exact_at_least(newer: int, older: int) -> Callable[[float], float]:
    """P(U >= u) without ties, by counting every order of the two samples."""
    ways = _orders(newer, older)
    total = math.comb(newer + older, newer)

    def at_least(u: float) -> float:
        # As integers until the last division, so nothing is lost however small it is.
        return sum(ways[math.ceil(u) :]) / total

    return at_least


def _orders(newer: int, older: int) -> list[int]:
    """In how many orders U is 0, 1, …: the coefficients of the Gaussian binomial."""
    size = newer * older + 1
    ways = [1] + [0] * (size - 1)
    for step in range(1, newer + 1):
        # times (1 - q^(older + step)), divided by (1 - q^step)
        for power in range(size - 1, older + step - 1, -1):
            ways[power] -= ways[power - older - step]
        for power in range(step, size):
            ways[power] += ways[power - step]
    return ways


def _normal_at_least(
    new: Sequence[float], old: Sequence[float], ties: Sequence[int]
) -> Callable[[float], float]:
    """P(U >= u) by the normal distribution, corrected for ties and for continuity."""
    m, n = len(new), len(old)
    every = m + n
    tied = sum(count**3 - count for count in ties)
    spread = math.sqrt(m * n / 12 * (every + 1 - tied / (every * (every - 1))))

    def at_least(u: float) -> float:
        if spread == 0:
            # All measurements are one number: nothing speaks for a shift.
            return 1.0
        z = (u - m * n / 2 - 0.5) / spread
        return min(1.0, math.erfc(z / math.sqrt(2)) / 2)

    return at_least


def _nth_difference(new: Sequence[float], old: Sequence[float], index: int) -> float:
    """The difference at `index` were all of them sorted, found by halving the range of doubles.

    Subtraction rounds, but never out of order, so counting by it is exact: what comes out is one of
    the differences, the very one that sorting would give.
    """
    low, high = _rank(new[0] - old[-1]), _rank(new[-1] - old[0])
    while low < high:
        middle = (low + high) // 2
        if _differences_up_to(new, old, _number_of(middle)) > index:
            high = middle
        else:
            low = middle + 1
    return _number_of(low)


def _differences_up_to(new: Sequence[float], old: Sequence[float], bound: float) -> int:
    found, first = 0, 0
    for x in new:
        # `old` from `first` on is near enough to x; the next x is larger, so it begins there.
        first = _first_near(x, old, bound, first)
        found += len(old) - first
    return found


def _first_near(x: float, old: Sequence[float], bound: float, begin: int) -> int:
    """The first place of `old`, from `begin` on, with x - old[place] <= bound."""
    place = bisect_left(old, x - bound, begin)
    is_near = place == len(old) or x - old[place] <= bound
    if is_near and (place == begin or x - old[place - 1] > bound):
        return place
    # x - bound was rounded to the other side of some of them.
    return bisect_left(old, True, begin, key=lambda y: x - y <= bound)


def _rank(value: float) -> int:
    """Doubles as integers in the same order."""
    bits = int(struct.unpack("<q", struct.pack("<d", value + 0.0))[0])
    return bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)


def _number_of(rank: int) -> float:
    bits = rank if rank >= 0 else -rank | (-1 << 63)
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])
