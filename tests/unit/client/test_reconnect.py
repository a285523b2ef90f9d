"""When a follower comes back, from where, and when it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testops.client.reconnect import Reconnect, Stand, Waits
from testops.client.sse import Message, Retry, StreamBroken


def never() -> float:
    return 0.0


def event(seq: int) -> Message:
    return Message("stage.log", b"{}", str(seq))


def end(run_id: str, place: str | None = None) -> Message:
    return Message("end", f'{{"type":"end","run_id":"{run_id}"}}'.encode(), place)


def test_waits_begin_at_three_seconds_double_and_stop_at_a_minute() -> None:
    reconnect = Reconnect(never)
    assert [reconnect.lost() for _ in range(8)] == [3, 6, 12, 24, 48, 60, 60, 60]


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2000))
def test_chance_adds_at_most_a_quarter(drawn: float, failures: int) -> None:
    plain, spread = Reconnect(never), Reconnect(lambda: drawn)
    plain.failures = spread.failures = failures
    assert spread.lost() == pytest.approx(plain.lost() * (1 + 0.25 * drawn))


def test_the_first_event_and_not_the_first_answer_starts_the_count_anew() -> None:
    reconnect = Reconnect(never)
    assert [reconnect.lost(), reconnect.lost()] == [3, 6]
    assert reconnect.answered(200) is Stand.READING
    assert reconnect.lost() == 12
    reconnect.answered(200)
    reconnect.heard(event(1))
    assert reconnect.lost() == 3


def test_a_note_or_an_event_seen_before_is_no_progress() -> None:
    reconnect = Reconnect(never, place="7")
    reconnect.lost()
    reconnect.answered(200)
    reconnect.heard(Message("drain", b"{}", "7"))
    assert (reconnect.place, reconnect.lost()) == ("7", 6)


def test_the_wait_that_the_server_tells_is_the_first() -> None:
    reconnect = Reconnect(never)
    reconnect.answered(200)
    reconnect.heard(Retry(7.5))
    assert [reconnect.lost(), reconnect.lost()] == [7.5, 15]
    reconnect.answered(200)
    reconnect.heard(Retry(0.0))
    reconnect.heard(event(1))
    assert reconnect.lost() == Waits().least_s


def test_an_answer_that_says_when_is_believed_once_and_up_to_five_minutes() -> None:
    reconnect = Reconnect(never)
    assert reconnect.answered(429, "20") is Stand.COMING
    assert [reconnect.lost(), reconnect.lost()] == [20, 6]
    reconnect.answered(503, "99999")
    assert reconnect.lost() == 300
    reconnect.answered(503, "Wed, 21 Oct 2026 07:28:00 GMT")
    assert reconnect.lost() == 24


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_would_be_refused_again_is_not_asked_again(status: int) -> None:
    reconnect = Reconnect(never)
    assert reconnect.answered(status) is Stand.REFUSED
    assert reconnect.over


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 301])
def test_what_may_pass_is_asked_again(status: int) -> None:
    reconnect = Reconnect(never)
    assert reconnect.answered(status) is Stand.COMING
    assert not reconnect.over


def test_a_run_that_is_over_is_not_asked_for_again() -> None:
    done = Reconnect(never)
    assert done.answered(204) is Stand.COMPLETE
    told = Reconnect(never)
    told.answered(200)
    assert told.heard(end("a")) is Stand.COMPLETE


def test_several_runs_are_over_when_each_of_them_is() -> None:
    reconnect = Reconnect(never, runs=2)
    reconnect.answered(200)
    assert reconnect.heard(end("a")) is Stand.READING
    assert reconnect.heard(end("a")) is Stand.READING
    assert reconnect.heard(end("b")) is Stand.COMPLETE


def test_an_end_that_names_no_run_is_no_end() -> None:
    reconnect = Reconnect(never)
    reconnect.answered(200)
    for data in (b"", b"[]", b"{}"):
        with pytest.raises(StreamBroken, match="names no run"):
            reconnect.heard(Message("end", data, None))
