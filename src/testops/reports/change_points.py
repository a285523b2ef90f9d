"""Where a series of runs moved to another level, and how sure that is.

Two steps, because each does what the other cannot. *Candidates* are the exact optimum of a
penalised segmentation (PELT: Killick, Fearnhead, Eckley, JASA 107, 2012), which finds a step and
the step back that a search from the whole series downwards would miss. It works on normal scores
of ranks (van der Waerden), so that one outlier is one rank and not a segment of its own. Each
candidate then has to *convince*: between its neighbours, the maximally selected rank statistic
(Hothorn and Lausen, CSDA 43, 2003) of such scores must be rarer under permutations of the runs than
`ALPHA`. It is the largest over all places, so that a place was searched for is part of the test,
and standardised, so that a step in the last few runs, which matters most, counts as much.

Everything is a function of the values alone: the permutations come from a fixed generator, so the
same history gives the same points on every machine. ADR 0022 has what else was looked at.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

# Fewer cannot tell a level from chance: of 8 runs, 4 and 4 are split so by 1 in 35.
RUNS_MIN = 8
# A level that was seen less often is not one yet.
SEGMENT_MIN = 3
ALPHA = 0.01
# At least so many; more where runs are few, because there p is close to what it is held against.
PERMUTATIONS, STEPS = 499, 30_000
# Longer series would be slow in pure Python, and nobody reads so many points.
RUNS_MAX = 500
_PENALTY = 1.5
# How far a point may be from where the ranks see it.
_NEAR = 5
# As monotone as this within every level is a slope.
_DRIFT_TAU = 0.6
# So many more than `ALPHA` lets do as much, and no more are drawn (Besag and Clifford, Biometrika
# 78, 1991): enough to tell the least convincing of several points.
_ENOUGH = 10


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The run at `index` is the first of another level. `p` is how often chance does as much."""

    index: int
    before: float
    after: float
    p: float

    @property
    def percent(self) -> float | None:
        """The change in percent of the level before; None where that was zero."""
        return None if self.before == 0 else 100 * (self.after - self.before) / abs(self.before)


def change_points(values: Sequence[float]) -> tuple[ChangePoint, ...]:
    """The change points of `values` (the newest last), in their order; none in a short series.

    A series that drifts, rather than steps, has none either: any place would be as good.
    """
    if not RUNS_MIN <= len(values) <= RUNS_MAX or min(values) == max(values):
        return ()
    ranks = _midranks(values)
    places = _segmentation(_normal_scores(ranks))
    tested = _convincing(values, places)
    if _drifts(values, [place for place, _ in tested]):
        return ()
    tested = _placed(values, tested)
    edges = [0, *(place for place, _ in tested), len(values)]
    return tuple(
        ChangePoint(place, median(values[before:place]), median(values[place:after]), p)
        for before, (place, p), after in zip(edges, tested, edges[2:], strict=False)
    )


def _placed(
    values: Sequence[float], tested: Sequence[tuple[int, float]]
) -> list[tuple[int, float]]:
    """Each point moved to where two medians explain the values best.

    Ranks say that there is a step; beyond the others' largest value they do not say how far, and
    so are less sure than the values are of where it is.
    """
    ends = [*(place for place, _ in tested[1:]), len(values)]
    moved: list[tuple[int, float]] = []
    for (place, p), after in zip(tested, ends, strict=False):
        # From where the one before was moved to: two points never pass each other.
        before = moved[-1][0] if moved else 0
        near = range(
            max(before + SEGMENT_MIN, place - _NEAR), min(after - SEGMENT_MIN, place + _NEAR) + 1
        )
        spread = [
            (_deviation(values[before:at]) + _deviation(values[at:after]), abs(at - place), at)
            for at in near
        ]
        moved.append((min(spread)[2], p))
    return moved


def _deviation(values: Sequence[float]) -> float:
    middle = median(values)
    return sum(abs(value - middle) for value in values)


def _drifts(values: Sequence[float], places: Sequence[int]) -> bool:
    """Whether every level itself goes the same way: a count that grows has no steps.

    The way of a level is Kendall's tau of its values over its runs.
    """
    edges = [0, *places, len(values)]
    ways = [
        _tau(values[begin:end])
        for begin, end in itertools.pairwise(edges)
        if end - begin > SEGMENT_MIN
    ]
    return bool(ways) and (min(ways) >= _DRIFT_TAU or max(ways) <= -_DRIFT_TAU)


def _tau(values: Sequence[float]) -> float:
    pairs = len(values) * (len(values) - 1) // 2
    agree = sum(
        (later > value) - (later < value)
        for place, value in enumerate(values)
        for later in values[place + 1 :]
    )
    return agree / pairs


def _midranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; values that are equal share the middle of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    begin = 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for place in order[begin:end]:
            ranks[place] = (begin + end + 1) / 2
        begin = end
    return ranks


def _normal_scores(ranks: Sequence[float]) -> list[float]:
    usual = NormalDist()
    return [usual.inv_cdf(rank / (len(ranks) + 1)) for rank in ranks]


def _segmentation(scores: Sequence[float]) -> list[int]:
    """PELT with squared error (scores have variance 1): where the optimal segments begin."""
    count = len(scores)
    sums = [0.0]
    squares = [0.0]
    for score in scores:
        sums.append(sums[-1] + score)
        squares.append(squares[-1] + score * score)

    def cost(begin: int, end: int) -> float:
        total = sums[end] - sums[begin]
        return squares[end] - squares[begin] - total * total / (end - begin)

    # A place and a level for each segment; liberal, because each candidate is tested afterwards.
    penalty = _PENALTY * math.log(count)
    best = [math.inf] * (count + 1)
    best[0] = -penalty
    came_from = [0] * (count + 1)
    begins = [0]
    for end in range(SEGMENT_MIN, count + 1):
        reached = [(best[begin] + cost(begin, end) + penalty, begin) for begin in begins]
        best[end], came_from[end] = min(reached)
        begins = [begin for total, begin in reached if total - penalty <= best[end]]
        # The next end is one further, so that its last segment may begin here.
        begins.append(end - SEGMENT_MIN + 1)
    return list(_walk_back(came_from, count))[::-1]


def _walk_back(came_from: Sequence[int], end: int) -> Iterator[int]:
    while came_from[end] > 0:
        end = came_from[end]
        yield end


def _convincing(values: Sequence[float], places: Sequence[int]) -> list[tuple[int, float]]:
    """The places that chance does not explain, the least convincing one taken away at a time.

    Each is tested between its neighbours, which change as others go.
    """
    kept = list(places)
    while kept:
        edges = [0, *kept, len(values)]
        tested = [
            (_rarity(values[before:after]), place)
            for before, place, after in zip(edges, kept, edges[2:], strict=False)
        ]
        worst, place = max(tested)
        if worst <= ALPHA:
            return [(place, p) for p, place in tested]
        kept.remove(place)
    return []


def _rarity(values: Sequence[float]) -> float:
    """How often a permutation of `values` has a rank statistic as large as theirs."""
    scores = _normal_scores(_midranks(values))
    weights = _weights(len(scores))
    own = _largest(scores, weights) - 1e-9
    draw = _draws()
    count = max(PERMUTATIONS, STEPS // len(scores))
    as_large = 1
    for drawn in range(1, count + 1):
        # Fisher and Yates; shuffling what is shuffled is as fair as beginning anew.
        for place in range(len(scores) - 1, 0, -1):
            other = next(draw) * (place + 1) >> 64
            scores[place], scores[other] = scores[other], scores[place]
        as_large += _largest(scores, weights) >= own
        if as_large > ALPHA * (count + 1) + _ENOUGH:
            return as_large / (drawn + 1)
    return as_large / (count + 1)


def _weights(count: int) -> list[float]:
    """What standardises the sum of the first scores, by how many they are; 0 where none may end."""
    return [
        1 / math.sqrt(first * (count - first))
        if SEGMENT_MIN <= first <= count - SEGMENT_MIN
        else 0.0
        for first in range(1, count + 1)
    ]


def _largest(scores: Sequence[float], weights: Sequence[float]) -> float:
    """The largest standardised sum of first scores (all of them sum to zero), over all places."""
    total = largest = 0.0
    for score, weight in zip(scores, weights, strict=True):
        total += score
        distance = abs(total) * weight
        if distance > largest:
            largest = distance
    return largest


def _draws() -> Iterator[int]:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the same numbers on every machine."""
    state = 0x7E57_0B5
    mask = (1 << 64) - 1
    while True:
        state = (state + 0x9E3779B97F4A7C15) & mask
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
        yield mixed ^ (mixed >> 31)
