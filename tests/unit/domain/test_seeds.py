"""Seeds are integers from 0 to 2^64-1, ranges are half-open, sub-streams do not move each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testops.domain.errors import BadInput
from testops.domain.seeds import (
    RANGE_LENGTH_MAX,
    SEED_COUNT,
    parse_seed,
    parse_seed_range,
    seeds_from,
    substream,
)


@given(st.integers(min_value=0, max_value=SEED_COUNT - 1))
def test_every_seed_is_read_back_from_its_digits(seed: int) -> None:
    assert parse_seed(str(seed)) == seed


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "abc", "18446744073709551616", "1_000", "٣", "0x10", "9" * 5000]
)
def test_what_is_no_seed_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadInput, match=r"^SIM_SEED: .*from 0 to 2\^64-1") as caught:
        parse_seed(text, where="SIM_SEED")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_range_leaves_its_end_out() -> None:
    assert list(parse_seed_range("3:6")) == [3, 4, 5]


def test_a_range_may_end_after_the_largest_seed() -> None:
    assert list(parse_seed_range(f"{SEED_COUNT - 2}:{SEED_COUNT}")) == [
        SEED_COUNT - 2,
        SEED_COUNT - 1,
    ]


@pytest.mark.parametrize("text", ["5", "5:5", "6:5", ":", "1:2:3", "a:b", "-1:3"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"^--seeds: "):
        parse_seed_range(text, where="--seeds")


def test_a_range_has_a_bound() -> None:
    with pytest.raises(BadInput, match="at most"):
        parse_seed_range(f"0:{RANGE_LENGTH_MAX + 1}")
    with pytest.raises(BadInput, match="at most"):
        parse_seed_range(f"0:{SEED_COUNT}")


def test_after_the_largest_seed_comes_zero() -> None:
    assert seeds_from(SEED_COUNT - 1, 3) == (SEED_COUNT - 1, 0, 1)


def test_a_substream_is_known_by_its_name_and_never_changes() -> None:
    # Pinned: another number would move every order and every fault that people replay.
    assert substream(42, "unit.hash") == 6550150895996186812
    assert substream(42, "a") != substream(42, "b") != substream(43, "b")
