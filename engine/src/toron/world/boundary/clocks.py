"""Virtual time behind `time.*` and `datetime`, whichever way a program got hold of them."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable
from typing import Any

from toron.core.baton import Baton, never
from toron.core.clock import SECOND_NS, Clock, to_ns
from toron.world.boundary.aliases import Stand, replace
from toron.world.boundary.builtin_swap import swap

_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001  (UTC by definition; the zone of a run)
_CLOCKS_WALL = ("CLOCK_REALTIME", "CLOCK_REALTIME_COARSE", "CLOCK_TAI")


class ClockSource:
    """Where the patched functions read; a run sets its own clock, before that time stands still."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.baton: Baton | None = None

    def monotonic(self) -> int:
        """Nanoseconds of the monotonic clock now."""
        return self.clock.monotonic_ns()

    def wall(self) -> int:
        """Nanoseconds of the wall clock now."""
        return self.clock.wall_ns()

    def own(self) -> int:
        """Nanoseconds since the run began: what a process has "used"."""
        return self.clock.now_ns


def install(source: ClockSource) -> None:
    """Replace every reading of time in this process. The time zone of a run is UTC."""
    monotonic, wall, own = _Reader(source.monotonic), _Reader(source.wall), _Reader(source.own)
    for name, read in (
        ("time", wall),
        ("monotonic", monotonic),
        ("perf_counter", monotonic),
        ("process_time", own),
        ("thread_time", own),
    ):
        function = getattr(time, name, None)
        if function is not None:
            swap(function, read.seconds)
            swap(getattr(time, f"{name}_ns"), read.nanoseconds)
    swap(datetime.datetime.now, _now(source))
    swap(datetime.datetime.utcnow, _utcnow(source))
    _install_raising(source)
    # What a log record counts its age from was read when the module was imported, from 3.13 in
    # whole nanoseconds.
    logging._startTime = type(logging._startTime)(  # type: ignore[attr-defined]
        source.wall() if isinstance(logging._startTime, int) else source.wall() / SECOND_NS  # type: ignore[attr-defined]
    )


class _Reader:
    """The two functions of one clock: in seconds and in nanoseconds."""

    def __init__(self, read_ns: Callable[[], int]) -> None:
        self._read_ns = read_ns

    def seconds(self, _this: Any, _args: tuple[Any, ...], _keywords: dict[str, Any]) -> float:
        return self._read_ns() / SECOND_NS

    def nanoseconds(self, _this: Any, _args: tuple[Any, ...], _keywords: dict[str, Any]) -> int:
        return self._read_ns()


def _install_raising(source: ClockSource) -> None:
    """The functions that can raise, replaced by attribute (see `builtin_swap`)."""
    real_sleep, clock_gettime_ns = time.sleep, time.clock_gettime_ns
    wall_ids = {getattr(time, name) for name in _CLOCKS_WALL if hasattr(time, name)}

    def sleep(seconds: float, /) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if source.baton is None:
            source.clock.now_ns += to_ns(seconds)
        else:
            source.baton.wait(never, source.clock.after(seconds), "time.sleep")

    def gettime_ns(clock_id: int, /) -> int:
        if clock_id not in wall_ids:
            clock_gettime_ns(clock_id)  # an unknown clock is refused as before
            return source.clock.monotonic_ns()
        return source.clock.wall_ns()

    def gettime(clock_id: int, /) -> float:
        return gettime_ns(clock_id) / SECOND_NS

    replace(time, "sleep", Stand(real_sleep, sleep))
    replace(time, "clock_gettime", Stand(time.clock_gettime, gettime))
    replace(time, "clock_gettime_ns", Stand(clock_gettime_ns, gettime_ns))
    for name in ("localtime", "gmtime", "ctime"):
        _default_to_now(source, name)
    strftime, gmtime, asctime = time.strftime, time.gmtime, time.asctime

    def sim_strftime(template: str, moment: Any = None, /) -> str:
        return strftime(template, gmtime() if moment is None else moment)

    def sim_asctime(moment: Any = None, /) -> str:
        return asctime(gmtime() if moment is None else moment)

    replace(time, "strftime", Stand(strftime, sim_strftime))
    replace(time, "asctime", Stand(asctime, sim_asctime))


def _default_to_now(source: ClockSource, name: str) -> None:
    original = getattr(time, name)

    def with_default(seconds: float | None = None, /) -> Any:
        if seconds is None:
            seconds = source.clock.wall_ns() / SECOND_NS
        return original(seconds)

    replace(time, name, Stand(original, with_default))


def _moment(source: ClockSource) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(microseconds=source.clock.wall_ns() // 1_000)


def _now(source: ClockSource) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]:
    def now(cls: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        zone = args[0] if args else keywords.get("tz")
        moment = _moment(source)
        if zone is not None:
            moment = moment.replace(tzinfo=datetime.timezone.utc).astimezone(zone)  # noqa: UP017
        return _as(cls, moment)

    return now


def _utcnow(source: ClockSource) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]:
    return lambda cls, _args, _keywords: _as(cls, _moment(source))


def _as(cls: Any, m: datetime.datetime) -> Any:
    if cls is datetime.datetime:
        return m
    return cls(
        m.year, m.month, m.day, m.hour, m.minute, m.second, m.microsecond, m.tzinfo, fold=m.fold
    )
