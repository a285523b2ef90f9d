"""Limits slide, forget, and stay small."""

import pytest
from tests.support.access import ManualClock

from testops.access.rates import COUNTERS_MAX, ClockedCounters, Limit, limit_called
from testops.domain.errors import BadInput


def limit_of(text: str, clock: ManualClock) -> Limit:
    return Limit("principal", limit_called(text, where="here"), ClockedCounters(clock))


def test_one_too_many_is_refused_and_not_counted() -> None:
    clock = ManualClock(passed_s=6000)
    limit = limit_of("3/minute", clock)
    assert [limit.take("a") for _ in range(5)] == [True, True, True, False, False]
    assert limit.take("b")
    assert limit.left("a").remaining == 0
    assert limit.spent("a")
    assert not limit.spent("b")


def test_a_window_slides_and_forgets() -> None:
    clock = ManualClock(passed_s=6000)
    limit = limit_of("10/minute", clock)
    assert all(limit.take("a") for _ in range(10))
    clock.advance(60)
    # All of the last window still weighs, and none of it one window later.
    assert not limit.take("a")
    clock.advance(30)
    assert limit.left("a").remaining == 5
    clock.advance(90)
    assert limit.left("a").remaining == 10


def test_the_headers_say_quota_window_rest_and_reset() -> None:
    clock = ManualClock(passed_s=6015)
    limit = limit_of("10/minute", clock)
    limit.take("a")
    assert limit.left("a").headers() == {
        "RateLimit-Policy": '"principal";q=10;w=60',
        "RateLimit": '"principal";r=9;t=45',
    }


def test_a_million_addresses_cost_no_more_memory_than_twenty_thousand() -> None:
    counters = ClockedCounters(ManualClock())
    limit = Limit("failures", limit_called("20/minute", where="here"), counters)
    for number in range(3 * COUNTERS_MAX):
        limit.take(str(number))
    assert len(counters) == COUNTERS_MAX


@pytest.mark.parametrize("text", ["", "many", "0/minute", "-1/minute", "5/fortnight"])
def test_what_is_no_rate_is_said_with_its_place(text: str) -> None:
    with pytest.raises(BadInput, match="TESTOPS_RATE_LIMIT"):
        limit_called(text, where="TESTOPS_RATE_LIMIT")
