"""Change points: a planted step is found where it is, and noise is left alone."""

import random
import time

import pytest

from testops.reports.change_points import RUNS_MAX, RUNS_MIN, change_points


def noise(seed: int, count: int, *, spread: float = 5.0) -> list[float]:
    return [random.Random(f"{seed}-{place}").gauss(100, spread) for place in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, RUNS_MIN - 1, RUNS_MIN, 50, RUNS_MAX])
def test_a_constant_series_has_none_however_long(count: int) -> None:
    assert change_points([7.5] * count) == ()


def test_too_few_runs_have_none_whatever_they_measured() -> None:
    assert change_points([0, 0, 0, 0, 9, 9, 9]) == ()


@pytest.mark.parametrize("count", [12, 30, 60])
def test_noise_is_taken_for_a_change_in_at_most_one_series_of_thirty(count: int) -> None:
    found = sum(bool(change_points(noise(seed, count))) for seed in range(90))
    assert found <= 3


def test_rare_failures_and_heavy_tails_are_no_change() -> None:
    wrong = 0
    for seed in range(60):
        draw = random.Random(seed)
        wrong += bool(change_points([float(draw.random() < 0.1) for _ in range(40)]))
        wrong += bool(change_points([draw.paretovariate(1.2) for _ in range(40)]))
    assert wrong <= 4


def test_one_wild_run_is_no_change() -> None:
    wrong = 0
    for seed in range(20):
        values = noise(seed, 30, spread=1)
        values[17] = 10_000
        wrong += any(point.index in (17, 18) for point in change_points(values))
    assert wrong == 0


@pytest.mark.parametrize("place", [8, 20, 33])
def test_a_step_of_three_deviations_is_found_at_its_run(place: int) -> None:
    near = 0
    for seed in range(16):
        values = noise(seed, 40)
        values[place:] = [value + 15 for value in values[place:]]
        near += any(abs(point.index - place) <= 2 for point in change_points(values))
    assert near >= 14


def test_a_step_in_the_last_four_runs_is_found() -> None:
    found = 0
    for seed in range(16):
        values = noise(seed, 40)
        values[36:] = [value + 25 for value in values[36:]]
        found += any(point.index >= 34 for point in change_points(values))
    assert found >= 13


def test_a_step_and_the_step_back_are_both_found_with_their_levels() -> None:
    values = noise(1, 60, spread=1)
    values[20:32] = [value - 20 for value in values[20:32]]
    first, second = change_points(values)
    assert (first.index, second.index) == (20, 32)
    assert first.before == pytest.approx(100, abs=1)
    assert first.after == pytest.approx(80, abs=1)
    assert first.percent == pytest.approx(-20, abs=1)
    assert second.after == pytest.approx(100, abs=1)
    assert max(first.p, second.p) <= 0.01


def test_a_count_that_grows_with_every_run_has_no_step() -> None:
    assert change_points([1500.0 + 4 * run for run in range(60)]) == ()
    assert change_points([60.0 - run for run in range(60)]) == ()
    # What steps between two slopes still does not point at one run for each of its slopes.
    stepped = [run + (500 if run >= 30 else 0) for run in range(60)]
    assert len(change_points([float(value) for value in stepped])) <= 1


def test_the_same_values_give_the_same_points_in_every_order_of_calls() -> None:
    series = [noise(seed, 40) for seed in range(5)]
    for values in series:
        values[25:] = [value + 12 for value in values[25:]]
    first = [change_points(values) for values in series]
    assert [change_points(values) for values in reversed(series)] == first[::-1]


def test_a_change_from_zero_has_no_percentage() -> None:
    (point,) = change_points([0.0] * 20 + [3.0] * 20)
    assert (point.index, point.before, point.after, point.percent) == (20, 0, 3, None)


def test_the_longest_series_takes_seconds_at_most() -> None:
    values = noise(3, RUNS_MAX)
    for begin in range(0, RUNS_MAX, 100):
        values[begin : begin + 50] = [value + 40 for value in values[begin : begin + 50]]
    began = time.process_time()
    found = change_points(values)
    assert time.process_time() - began < 20
    assert len(found) == 9
