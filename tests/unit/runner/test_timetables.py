"""When a schedule is due, across changes of the clock and long absences."""

from datetime import UTC, datetime

import pytest

from testops.domain.errors import BadInput
from testops.domain.schedule import Timetable
from testops.runner.timetables import MISSED_MAX, check_timetable, latest_due, next_due_ms


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def shown(due_ms: int | None) -> str | None:
    return None if due_ms is None else datetime.fromtimestamp(due_ms / 1000, UTC).isoformat()


def due_times(cron: str, zone: str, after: str, count: int) -> list[str | None]:
    timetable, at, found = Timetable(cron, zone), ms(after), []
    for _ in range(count):
        following = next_due_ms(timetable, after_ms=at)
        found.append(shown(following))
        assert following is not None
        assert following > at
        at = following
    return found


def test_a_local_time_follows_the_clock_of_its_zone() -> None:
    assert due_times("0 12 * * *", "Europe/Berlin", "2026-03-28T00:00Z", 3) == [
        "2026-03-28T11:00:00+00:00",
        # The clock went forward in the night.
        "2026-03-29T10:00:00+00:00",
        "2026-03-30T10:00:00+00:00",
    ]


def test_a_local_time_that_is_skipped_is_due_once_all_the_same() -> None:
    found = due_times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", 2)
    assert found[0] is not None
    assert found[0].startswith("2026-03-29T01:")
    assert found[1] == "2026-03-30T00:30:00+00:00"


def test_a_local_time_that_comes_twice_is_due_once() -> None:
    found = due_times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 2)
    assert found[0] in ("2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00")
    assert found[1] == "2026-10-26T01:30:00+00:00"


def test_every_hour_is_every_hour_through_the_change() -> None:
    found = due_times("0 * * * *", "Europe/Berlin", "2026-10-24T22:30Z", 5)
    assert [one[11:13] for one in found if one is not None] == ["23", "00", "01", "02", "03"]


def test_a_day_that_never_comes_is_none() -> None:
    assert next_due_ms(Timetable("0 0 31 2 *", "UTC"), after_ms=0) is None


def test_what_was_missed_is_counted_up_to_a_bound() -> None:
    timetable = Timetable("* * * * *", "UTC")
    assert latest_due(timetable, due_ms=0, now_ms=59_999) == (0, 0)
    assert latest_due(timetable, due_ms=0, now_ms=180_500) == (180_000, 3)
    year_ms = 365 * 24 * 3600 * 1000
    assert latest_due(timetable, due_ms=0, now_ms=year_ms) == (MISSED_MAX * 60_000, MISSED_MAX)


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "* * * * * *", "@daily", "a b c d e", "60 * * * *"]
)
def test_what_is_no_cron_line_is_pointed_at(cron: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_timetable(Timetable(cron, "UTC"))
    assert caught.value.pointer == "/cron"


@pytest.mark.parametrize("zone", ["", "Nowhere/City", "../etc", "/etc/localtime", "UTC\x00"])
def test_what_is_no_time_zone_is_pointed_at(zone: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_timetable(Timetable("* * * * *", zone))
    assert caught.value.pointer == "/time_zone"
