"""Mann-Whitney, Cliff's delta and Hodges-Lehmann say what scipy says, and what must always hold.

The expected numbers were made with scipy 1.17.1 and numpy:

    for side in ("greater", "less", "two-sided"):
        method = "asymptotic" if len({*new, *old}) < len(new) + len(old) else "exact"
        scipy.stats.mannwhitneyu(new, old, alternative=side, method=method)
    numpy.median(numpy.subtract.outer(new, old))
"""

import itertools
import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testops.domain.gate import Worse
from testops.warroom import statistics as ours
from testops.warroom.statistics import compare, hodges_lehmann, median, smallest_chance

# new, old, U of the new, P greater, P less, P two-sided, shift
SCIPY = [
    (
        [1.1, 2.2, 3.3],
        [0.5, 1.5, 2.5, 3.5],
        6,
        0.5714285714285714,
        0.5714285714285714,
        1.0,
        0.19999999999999996,
    ),
    (
        [5, 6, 7, 8],
        [1, 2, 3, 4],
        16,
        0.014285714285714285,
        1.0,
        0.02857142857142857,
        4.0,
    ),
    (
        [1, 2, 2, 3, 4],
        [2, 3, 3, 5, 5, 6],
        6,
        0.9617245753150733,
        0.05652498942816145,
        0.1130499788563229,
        -1.5,
    ),
    (
        [3, 3, 3],
        [3, 3, 4],
        3,
        0.9087887802741321,
        0.2524925375469229,
        0.5049850750938458,
        0.0,
    ),
    (
        [10.001, 10.299, 9.726, 9.109, 9.545, 9.008, 10.06, 11.34],
        [10.508, 10.38, 11.49, 11.357, 11.105, 10.07, 10.971, 11.695, 9.656],
        11,
        0.9944467297408474,
        0.007610037021801727,
        0.015220074043603454,
        -1.0075000000000003,
    ),
    (
        [10, 8, 9, 8, 10, 9, 10, 10, 10, 7, 9, 10],
        [11, 9, 10, 10, 10, 12, 10, 10, 11, 10, 10, 11, 11, 9, 11],
        36,
        0.997749352917674,
        0.0026469111768388236,
        0.005293822353677647,
        -1.0,
    ),
]
numbers = st.floats(-1e9, 1e9, allow_nan=False)
samples = st.lists(numbers, min_size=1, max_size=30)


@pytest.mark.parametrize("case", SCIPY, ids=lambda case: f"{len(case[0])}-{len(case[1])}")
def test_the_numbers_are_those_of_scipy(case: Any) -> None:
    new, old, u, greater, less, both, shift = case
    for worse, p in zip(
        (Worse.HIGHER, Worse.LOWER, Worse.DIFFERENT), (greater, less, both), strict=True
    ):
        found = compare(new, old, worse)
        assert found.u == u
        assert found.p == pytest.approx(p, rel=1e-12)
        assert found.shift == pytest.approx(shift, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("newer", "older"), [(1, 1), (2, 3), (4, 4), (3, 6)])
def test_the_exact_distribution_is_that_of_every_order(newer: int, older: int) -> None:
    counted = [0] * (newer * older + 1)
    for places in itertools.combinations(range(newer + older), newer):
        others = [place for place in range(newer + older) if place not in places]
        counted[sum(other < place for place in places for other in others)] += 1
    assert ours._orders(newer, older) == counted


def test_exact_and_normal_agree_where_one_gives_way_to_the_other() -> None:
    new = [n * 1.01 for n in range(50)]
    old = [n * 0.97 + 0.001 for n in range(50)]
    assert compare(new, old, Worse.HIGHER).method == "exact"
    assert compare([*new, 60.1], old, Worse.HIGHER).method == "normal"
    exact, normal = ours._exact_at_least(50, 50), ours._normal_at_least(new, old, [])
    for u in (1250, 1400, 1550, 1700):
        assert exact(u) == pytest.approx(normal(u), abs=0.001)


@given(samples, samples)
def test_swapping_the_samples_turns_every_answer_round(a: list[float], b: list[float]) -> None:
    there, back = compare(a, b, Worse.HIGHER), compare(b, a, Worse.LOWER)
    assert there.u + back.u == len(a) * len(b)
    assert there.p == pytest.approx(back.p, rel=1e-9)
    assert there.cliffs_delta == pytest.approx(-back.cliffs_delta)
    assert there.shift == -back.shift


@given(samples, samples)
def test_what_cannot_be_otherwise(a: list[float], b: list[float]) -> None:
    found = compare(a, b, Worse.DIFFERENT)
    assert 0 <= found.p <= 1
    assert -1 <= found.cliffs_delta <= 1
    assert 0 <= found.superiority <= 1
    assert min(a) - max(b) <= found.shift <= max(a) - min(b)
    wins = sum((x > y) + (x == y) / 2 for x in a for y in b)
    assert found.u == wins


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=30), st.integers(-50, 50))
def test_a_sample_moved_by_a_number_is_shifted_by_it(a: list[int], by: int) -> None:
    moved = [value + by for value in a]
    if len(set(a)) == 1:
        assert hodges_lehmann(moved, a) == by
    assert hodges_lehmann(moved, a) == by  # the differences lie evenly around it


@given(samples)
def test_a_sample_against_itself_is_no_finding(a: list[float]) -> None:
    found = compare(a, a, Worse.HIGHER)
    assert found.p >= 0.49
    assert (found.cliffs_delta, found.shift) == (0, 0)


@given(samples, samples, st.data())
def test_searching_the_differences_finds_what_sorting_them_finds(
    a: list[float], b: list[float], data: st.DataObject
) -> None:
    every = sorted(x - y for x in a for y in b)
    index = data.draw(st.integers(0, len(every) - 1))
    assert ours._nth_difference(sorted(a), sorted(b), index) == every[index]


@given(samples)
def test_the_median_is_that_of_the_standard_library(a: list[float]) -> None:
    assert median(a) == pytest.approx(statistics.median(a))


@given(st.floats(allow_nan=False))
def test_doubles_and_ranks_are_one_to_one(value: float) -> None:
    assert ours._number_of(ours._rank(value)) == value


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_ranks_are_in_the_order_of_doubles(a: float, b: float) -> None:
    assert (ours._rank(a) < ours._rank(b)) == (a < b)


def test_samples_of_full_size_are_compared_in_seconds() -> None:
    new = [math.sin(n) + 3 for n in range(10_000)]
    old = [math.cos(n * 0.7) + 3 for n in range(20_000)]
    found = compare(new, old, Worse.DIFFERENT)
    assert found.p > 0.01
    assert abs(found.shift) < 0.05


def test_the_smallest_chance_is_reached_by_samples_apart() -> None:
    assert smallest_chance(4, 4, Worse.HIGHER) == 1 / 70
    assert compare([5, 6, 7, 8], [1, 2, 3, 4], Worse.HIGHER).p == pytest.approx(1 / 70)
    assert smallest_chance(1, 1, Worse.DIFFERENT) == 1
