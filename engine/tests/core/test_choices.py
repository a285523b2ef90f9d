"""A choice belongs to its label and its seed, and to nothing else."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toron.core.choices import SEED_MAX, SeededChoices, shuffle, substream

SEEDS = st.integers(0, SEED_MAX)


def test_the_draws_of_a_seed_are_those_of_every_version() -> None:
    # Golden: a change here makes every recorded seed and every baseline worthless.
    choices = SeededChoices(7, 3)
    assert [choices.pick("schedule", 1000) for _ in range(5)] == [597, 23, 749, 645, 783]
    assert [choices.pick("chaos.plan", 1000) for _ in range(5)] == [892, 513, 522, 926, 894]
    assert substream(7, "schedule") == 0xB270B2D901CAC3B95CF35DA0057B4802


@given(SEEDS, st.integers(1, 2**53), st.text(max_size=20))
def test_a_pick_is_below_its_bound(seed: int, bound: int, label: str) -> None:
    assert 0 <= SeededChoices(seed, 0).pick(label, bound) < bound


def test_every_value_below_the_bound_is_picked() -> None:
    choices = SeededChoices(1, 0)
    counts = [0] * 7
    for _ in range(7_000):
        counts[choices.pick("x", 7)] += 1
    assert min(counts) > 850
    assert max(counts) < 1150


def test_a_new_consumer_does_not_move_the_draws_of_others() -> None:
    alone, beside = SeededChoices(1, 2), SeededChoices(1, 2)
    expected = [alone.pick("schedule", 100) for _ in range(50)]
    drawn = []
    for _ in range(50):
        beside.pick("net.latency:a>b", 100)
        drawn.append(beside.pick("schedule", 100))
        beside.pick("chaos.plan", 100)
    assert drawn == expected


@pytest.mark.parametrize(("label", "moved_by"), [("chaos.plan", "chaos"), ("schedule", "sim")])
def test_each_label_listens_to_one_of_the_two_seeds(label: str, moved_by: str) -> None:
    def draws(sim: int, chaos: int) -> list[int]:
        choices = SeededChoices(sim, chaos)
        return [choices.pick(label, 10**6) for _ in range(8)]

    assert (draws(1, 1) != draws(2, 1)) == (moved_by == "sim")
    assert (draws(1, 1) != draws(1, 2)) == (moved_by == "chaos")


def test_a_choice_among_nothing_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="nothing to choose"):
        SeededChoices(0, 0).pick("x", 0)


@given(SEEDS, st.lists(st.integers(), max_size=30))
def test_a_shuffle_keeps_every_item(seed: int, items: list[int]) -> None:
    shuffled = list(items)
    shuffle(SeededChoices(seed, 0), "x", shuffled)
    assert sorted(shuffled) == sorted(items)


def test_a_shuffle_reaches_every_order_about_equally_often() -> None:
    counts = dict.fromkeys(permutations("abc"), 0)
    for seed in range(1_200):
        items = list("abc")
        shuffle(SeededChoices(seed, 0), "x", items)
        counts[tuple(items)] += 1
    assert min(counts.values()) > 140
    assert max(counts.values()) < 260
