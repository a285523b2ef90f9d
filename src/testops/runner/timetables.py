"""When a schedule is due: cron lines of five fields, read in a time zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError

from testops.domain.errors import BadInput
from testops.domain.schedule import Timetable

_FIELDS = 5
# A search ends there: what comes less often than every five years never comes.
_YEARS_AHEAD = 5
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


def next_due_ms(timetable: Timetable, *, after_ms: int) -> int | None:
    """The first due time behind `after_ms`; None where none comes within years.

    A local time that a change of the clock skips is due when the clock has passed it; one that
    comes twice is due once.
    """
    start = datetime.fromtimestamp(after_ms / 1000, _zone(timetable))
    times = croniter(timetable.cron, start, max_years_between_matches=_YEARS_AHEAD)
    try:
        while True:
            due_ms: int = round(times.get_next(datetime).astimezone(UTC).timestamp() * 1000)
            if due_ms > after_ms:
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
