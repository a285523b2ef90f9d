"""The digest is of every event; what is kept of them is another matter."""

import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from toron.core.clock import Clock
from toron.core.places import Places
from toron.core.trace import TAIL_EVENTS, Level, Trace

HERE = Places(Path(__file__).parent)
EVENTS = st.lists(st.tuples(st.sampled_from(["step", "send"]), st.text(max_size=5)), max_size=50)


def traced(events: list[tuple[str, str]], level: Level = "digest") -> Trace:
    trace = Trace(Clock(), level, HERE)
    for kind, detail in events:
        trace.add(kind, detail)
    return trace


@given(EVENTS)
def test_the_digest_is_equal_at_both_levels(events: list[tuple[str, str]]) -> None:
    assert traced(events).hexdigest() == traced(events, "full").hexdigest()


@given(EVENTS, EVENTS)
def test_other_events_are_another_digest(
    a: list[tuple[str, str]], b: list[tuple[str, str]]
) -> None:
    assert (traced(a).hexdigest() == traced(b).hexdigest()) == (a == b)


def test_time_and_host_are_part_of_the_digest() -> None:
    at_0, at_1, elsewhere = traced([]), traced([]), traced([])
    at_1._clock.now_ns = 1
    elsewhere.host = "db"
    for trace in (at_0, at_1, elsewhere):
        trace.add("step", "x")
    assert len({trace.hexdigest() for trace in (at_0, at_1, elsewhere)}) == 3


def test_bytes_are_told_apart_by_content_not_by_length() -> None:
    one, other = traced([]), traced([])
    one.add_bytes("send", "a>b", b"x" * 5_000)
    other.add_bytes("send", "a>b", b"x" * 4_999 + b"y")
    assert one.hexdigest() != other.hexdigest()
    assert len(one.last_lines()[0]) < 80


def test_asking_for_the_digest_early_does_not_change_it() -> None:
    events = [("step", str(number)) for number in range(2_000)]
    asked = Trace(Clock(), "digest", HERE)
    for kind, detail in events:
        asked.add(kind, detail)
        if detail.endswith("7"):
            asked.hexdigest()
    assert asked.hexdigest() == traced(events).hexdigest()
    assert len(asked.hexdigest()) == 64


def test_the_last_events_are_kept_oldest_first() -> None:
    trace = traced([("step", str(number)) for number in range(2_000)])
    assert len(trace.last_lines()) == TAIL_EVENTS
    assert trace.last_lines()[-1] == "0 main step 1999"
    assert trace.last_lines()[0] == f"0 main step {2_000 - TAIL_EVENTS}"
    assert trace.count == 2_000


def test_a_full_trace_keeps_each_event_with_its_number_and_place() -> None:
    trace = traced([("step", "a"), ("step", "b")], "full")
    assert [(event.number, event.text) for event in trace.events] == [
        (1, "0 main step a"),
        (2, "0 main step b"),
    ]
    assert trace.events[0].where.startswith("test_trace.py:")
    assert traced([("step", "a")]).events == []


def test_a_note_of_a_line_is_kept_and_not_hashed() -> None:
    trace = traced([("step", "a")], "full")
    before = trace.hexdigest()
    trace.note_line("x = 1", sys._getframe(), 12)
    assert trace.hexdigest() == before
    assert trace.events[-1].number == 0
    assert trace.events[-1].where.startswith("test_trace.py:12 in test_a_note")


def test_text_that_is_no_unicode_is_hashed_all_the_same() -> None:
    assert traced([("step", "\ud800")]).hexdigest() != traced([("step", "\ud801")]).hexdigest()
