"""hyperfine's JSON (`--export-json`): times of whole commands, in the shapes of versions 1 and 2.

Each command is a kind of its own; the measurement as a whole has a latency where there is one
command only. An exit code other than 0 is an error.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from testops.domain.performance import SAMPLES_MAX, Latency, Performance, RequestKind
from testops.reports.formats.reading import Fields, Source, json_of, measured
from testops.reports.quantiles import percentiles, thinned

_IN_MS = {"second": 1000.0, "millisecond": 1.0, "microsecond": 0.001, "nanosecond": 0.000001}


def is_hyperfine(value: Any) -> bool:
    """Whether every result is of a command and its times."""
    if not isinstance(value, Mapping) or not isinstance(value.get("results"), list):
        return False
    return all(
        isinstance(one, Mapping) and "command" in one and ({"times", "measurements"} & set(one))
        for one in value["results"]
    )


def read_hyperfine(source: Source, *, name: str) -> Performance:
    """The measurement of the file."""
    top = Fields.of(source, json_of(source))
    results = list(top.objects("results"))
    if not results:
        raise source.bad("there is no result", field="/results", fix="export a whole benchmark")
    times = [_times_ms(one) for one in results]
    errors = [_errors(one) for one in results]
    kinds = tuple(
        RequestKind(one.text("command"), _latency(one, ms), len(ms) or None, failed)
        for one, ms, failed in zip(results, times, errors, strict=True)
    )
    requests = sum(len(ms) for ms in times)
    failed = None if any(count is None for count in errors) else sum(c or 0 for c in errors)
    only = len(kinds) == 1
    return Performance(
        name=kinds[0].name if only else name,
        tool="hyperfine",
        latency=kinds[0].latency if only else Latency(),
        requests=requests or None,
        errors=failed,
        error_percent=None if failed is None or not requests else 100 * failed / requests,
        kinds=kinds,
        samples_ms=thinned(times[0], SAMPLES_MAX) if only else (),
        notes=() if only else ("several commands: percentiles are told for each, not for all",),
    )


def _times_ms(result: Fields) -> list[float]:
    if result.has("times"):
        times = result.list("times")
        return [_number(one, result.place("times"), result.source) * 1000 for one in times]
    return [_wall_ms(one.object("time_wall_clock")) for one in result.objects("measurements")]


def _wall_ms(quantity: Fields) -> float:
    value, unit = quantity.number("value"), quantity.text("unit", "second")
    if value is None:
        raise quantity.source.bad(
            "a measurement without a value", field=quantity.place("value"), fix="export it anew"
        )
    if unit not in _IN_MS:
        raise quantity.source.bad(
            f"{unit!r} is no unit of time",
            field=quantity.place("unit"),
            fix=f"write one of {', '.join(_IN_MS)}",
        )
    return value * _IN_MS[unit]


def _number(value: Any, field: str, source: Source) -> float:
    told = isinstance(value, int | float) and not isinstance(value, bool)
    number = measured(value) if told else None
    if number is None:
        raise source.bad("a time that is no number", field=field, fix="export it anew")
    return number


def _errors(result: Fields) -> int | None:
    codes: Sequence[Any] = result.list("exit_codes")
    if not codes:
        codes = [one.body.get("exit_code") for one in result.objects("measurements")]
    # Ended by a signal has no exit code, and is no success; not told at all is not known.
    return sum(code != 0 for code in codes) if codes else None


def _latency(result: Fields, times: Sequence[float]) -> Latency:
    ordered = sorted(times)
    if ordered:
        mean = sum(ordered) / len(ordered)
        return Latency(percentiles(ordered), ordered[0], mean, ordered[-1])
    told = {name: result.number(name) for name in ("median", "min", "mean", "max")}
    ms = {name: None if value is None else 1000 * value for name, value in told.items()}
    median = ms["median"]
    return Latency(() if median is None else ((50.0, median),), ms["min"], ms["mean"], ms["max"])
