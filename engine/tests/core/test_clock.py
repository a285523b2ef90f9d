"""Virtual time is whole nanoseconds that never go back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toron.core.clock import SECOND_NS, Clock, to_ns


@given(st.floats(0, 1e9, allow_nan=False))
def test_a_deadline_is_never_early_and_less_than_2_ns_late(seconds: float) -> None:
    assert 0 <= to_ns(seconds) - seconds * SECOND_NS < 2


@pytest.mark.parametrize(
    ("seconds", "ns"), [(0, 0), (1, SECOND_NS), (1e-9, 1), (1e-10, 1), (0.1, 10**8)]
)
def test_seconds_become_nanoseconds(seconds: float, ns: int) -> None:
    assert to_ns(seconds) == ns


def test_time_goes_forward_only() -> None:
    clock = Clock()
    clock.advance_to(5)
    clock.advance_to(5)
    with pytest.raises(AssertionError, match="time went back from 5 to 4"):
        clock.advance_to(4)


def test_wall_clock_and_monotonic_clock_are_one_clock() -> None:
    clock = Clock()
    before = clock.wall_ns() - clock.monotonic_ns()
    clock.advance_to(10**15)
    assert clock.wall_ns() - clock.monotonic_ns() == before
    assert clock.monotonic_ns() == 1_000 * SECOND_NS + 10**15
