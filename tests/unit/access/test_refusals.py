"""Refusals are kept, and cannot fill the disk."""

import threading

from tests.support.access import ManualClock

from testops.access.audit import Entry
from testops.access.refusals import KINDS_MAX, Refusals


def refusal(client: str = "192.0.2.7", action: str = "refused.401") -> Entry:
    return Entry(
        "2026-01-02T03:04:05.000Z", "nobody", "", "", action, outcome="refused", client=client
    )


def test_the_first_of_a_minute_is_written_at_once_and_repeats_are_one_row() -> None:
    clock, rows = ManualClock(passed_s=6000), list[Entry]()
    refusals = Refusals(rows.append, clock)
    for _ in range(500):
        refusals.note(refusal())
    assert len(rows) == 1
    clock.advance(60)
    refusals.note(refusal())
    assert [row.detail.get("more") for row in rows] == [None, 499, None]
    assert [row.outcome for row in rows] == ["refused"] * 3


def test_many_different_ones_become_one_row_of_others() -> None:
    clock, rows = ManualClock(passed_s=6000), list[Entry]()
    refusals = Refusals(rows.append, clock)
    for number in range(10_000):
        refusals.note(refusal(client=f"192.0.{number // 256}.{number % 256}"))
    assert len(rows) == KINDS_MAX + 1
    assert rows[-1].actor_kind == "several"
    clock.advance(60)
    refusals.flush()
    assert rows[-1].detail["more"] == 10_000 - KINDS_MAX - 1


def test_who_was_refused_for_another_reason_is_another_row() -> None:
    rows = list[Entry]()
    refusals = Refusals(rows.append, ManualClock())
    refusals.note(refusal(action="refused.401"))
    refusals.note(refusal(action="refused.403"))
    assert len(rows) == 2


def test_what_was_counted_is_written_at_the_end() -> None:
    rows = list[Entry]()
    refusals = Refusals(rows.append, ManualClock())
    refusals.note(refusal())
    refusals.note(refusal())
    refusals.flush()
    refusals.flush()
    assert [row.detail.get("more") for row in rows] == [None, 1]


def test_threads_count_together() -> None:
    rows = list[Entry]()
    refusals = Refusals(rows.append, ManualClock())

    def note_many() -> None:
        for _ in range(250):
            refusals.note(refusal())

    threads = [threading.Thread(target=note_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refusals.flush()
    assert [row.detail.get("more") for row in rows] == [None, 1999]
