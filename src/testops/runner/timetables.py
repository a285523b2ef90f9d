"""When a schedule is due: cron lines of five fields, read in a time zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError

from testops.domain.errors import BadInput
from testops.domain.schedule import Timetable

_FIELDS = 5
# A search ends there: a leap day may keep one waiting for eight years, and nothing else so long.
_YEARS_AHEAD = 9
MISSED_MAX = 1000


def check_timetable(timetable: Timetable) -> None:
    """`BadInput` with a pointer where the cron line or the time zone cannot be used."""
    _zone(timetable)
    line = timetable.cron
    # croniter also reads six and seven fields, and words of its own.
    if len(line.split()) != _FIELDS or not croniter.is_valid(line):
        raise BadInput(
            f"{line!r} is not a cron line",
            fix="write five fields: minute hour day month weekday",
            pointer="/cron",
        )
    if next_due_ms(timetable, after_ms=0) is None:
        raise BadInput(f"{line!r} never comes", fix="name a day that exists", pointer="/cron")


def next_due_ms(timetable: Timetable, *, after_ms: int) -> int | None:
    """The first due time behind `after_ms`; None where none comes within years.

    A local time that a change of the clock skips is due when the clock has passed it. One that
    comes twice is due once, as cron has it, but for a line of every hour: that is every real hour.
    """
    start = datetime.fromtimestamp(after_ms / 1000, _zone(timetable))
    fixed_hour = not timetable.cron.split()[1].startswith("*")
    times = croniter(timetable.cron, start, max_years_between_matches=_YEARS_AHEAD)
    try:
        while True:
            due: datetime = times.get_next(datetime)
            due_ms = round(due.astimezone(UTC).timestamp() * 1000)
            if due_ms > after_ms and not (due.fold and fixed_hour):
                return due_ms
    except CroniterError:
        return None


def latest_due(timetable: Timetable, *, due_ms: int, now_ms: int) -> tuple[int, int]:
    """Of the times from `due_ms` up to now the latest, and how many others passed before it.

    The count ends at `MISSED_MAX`: a schedule of every minute that slept for a year has been
    missed, not counted. The latest is then the last that was counted, and the rest follows at once.
    """
    latest, missed = due_ms, 0
    while missed < MISSED_MAX:
        following = next_due_ms(timetable, after_ms=latest)
        if following is None or following > now_ms:
            break
        latest, missed = following, missed + 1
    return latest, missed


def _zone(timetable: Timetable) -> ZoneInfo:
    try:
        return ZoneInfo(timetable.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInput(
            f"there is no time zone {timetable.time_zone!r}",
            fix="give a name of the IANA database, as Europe/Berlin",
            pointer="/time_zone",
        ) from error
