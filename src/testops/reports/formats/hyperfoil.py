"""Hyperfoil statistics: `stats[].total.summary` of a run, or `statistics[].summary` of its totals.

Times inside a summary are nanoseconds, its beginning and end milliseconds of the wall clock.
Percentiles of several phases cannot be put together from a summary: the run then has none of its
own, each phase keeps its.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testops.domain.performance import Latency, Performance, Point, RequestKind, Threshold
from testops.reports.formats.reading import Fields, Source, json_of, ratio

_NS_IN_MS = 1_000_000
_ERRORS = ("connectionErrors", "requestTimeouts", "internalErrors")
_STATUS_5XX = "status_5xx"


def is_hyperfoil(value: Any) -> bool:
    """Whether it names its schema, or has statistics of its shape."""
    if not isinstance(value, Mapping):
        return False
    if "hyperfoil" in str(value.get("$schema", "")):
        return True
    entries = value.get("stats") or value.get("statistics")
    return isinstance(entries, list) and any(
        isinstance(one, Mapping) and ("total" in one or "summary" in one) for one in entries
    )


def read_hyperfoil(source: Source, *, name: str) -> Performance:
    """The measurement of the file, without its warm-up phases."""
    top = Fields.of(source, json_of(source))
    every = [*top.objects("stats"), *top.objects("statistics")]
    phases = [one for one in every if not _is_warm_up(one)]
    if not phases:
        raise source.bad(
            "there are no statistics but of warm-up phases" if every else "no statistics",
            field="/stats",
            fix="export the statistics of the whole run",
        )
    kinds = tuple(_kind(one) for one in phases)
    summaries = [_summary(one) for one in phases]
    requests = _sum([kind.requests for kind in kinds])
    errors = _sum([kind.errors for kind in kinds])
    duration_s = _duration_s(summaries)
    one = len(kinds) == 1
    return Performance(
        name=top.object("info").text("benchmark") or name,
        tool="hyperfoil",
        latency=kinds[0].latency if one else Latency(),
        duration_s=duration_s,
        requests=requests,
        errors=errors,
        error_percent=None if errors is None or not requests else 100 * errors / requests,
        requests_per_s=ratio(requests, duration_s),
        thresholds=tuple(_failed(top)),
        kinds=kinds,
        series=tuple(_series(phases[0])) if one else (),
        notes=() if one else ("several phases: percentiles are told for each, not for all",),
    )


def _is_warm_up(entry: Fields) -> bool:
    return entry.truth("isWarmup") is True


def _summary(entry: Fields) -> Fields:
    total = entry.object("total")
    return total.object("summary") if total.has("summary") else entry.object("summary")


def _kind(entry: Fields) -> RequestKind:
    summary = _summary(entry)
    parts = [entry.text("phase"), entry.text("metric") or entry.text("name")]
    requests = summary.count("requestCount")
    duration_s = _duration_s([summary])
    return RequestKind(
        name=" ".join(dict.fromkeys(part for part in parts if part)) or "all",
        latency=_latency(summary),
        requests=requests,
        errors=_errors(summary),
        requests_per_s=ratio(requests, duration_s),
    )


def _errors(summary: Fields) -> int | None:
    told = [summary.count(name) for name in _ERRORS]
    http = summary.object("extensions").object("http")
    told.append(http.count(_STATUS_5XX))
    return _sum([count for count in told if count is not None] or [None])


def _latency(summary: Fields) -> Latency:
    # Without a response, Hyperfoil writes 0 for every duration: nothing was measured.
    if not summary.count("responseCount"):
        return Latency()
    found = summary.object("percentileResponseTime")
    pairs: dict[float, float] = {}
    for key in found.body:
        ns = found.number(key)
        try:
            q = float(key)
        except ValueError:
            raise summary.source.bad(
                f"{key!r} is no percentile", field=found.place(key), fix="name it by its number"
            ) from None
        if ns is not None and 0 <= q <= 100:
            pairs[q] = ns / _NS_IN_MS
    return Latency(
        percentiles=tuple(sorted(pairs.items())),
        min_ms=_ms(summary, "minResponseTime"),
        mean_ms=_ms(summary, "meanResponseTime"),
        max_ms=_ms(summary, "maxResponseTime"),
    )


def _ms(summary: Fields, name: str) -> float | None:
    ns = summary.number(name)
    return None if ns is None else ns / _NS_IN_MS


def _duration_s(summaries: Sequence[Fields]) -> float | None:
    begins = [one.number("startTime") for one in summaries]
    ends = [one.number("endTime") for one in summaries]
    known = [at for at in (*begins, *ends) if at is not None]
    if len(known) != 2 * len(summaries) or max(known) <= min(known):
        return None
    return (max(known) - min(known)) / 1000


def _failed(top: Fields) -> Iterator[Threshold]:
    """What the benchmark's own SLAs say; Hyperfoil lists only those that were missed."""
    for failure in top.objects("failures"):
        metric = failure.text("metric") or failure.text("phase") or "sla"
        yield Threshold(metric, failure.text("message") or "missed", held=False)


def _series(entry: Fields) -> Iterator[Point]:
    parts = list(entry.objects("series"))
    begins = [begin for one in parts if (begin := one.number("startTime")) is not None]
    if len(begins) != len(parts) or not parts:
        return
    first = min(begins)
    for one, begin in zip(parts, begins, strict=True):
        latency = _latency(one)
        duration_s = _duration_s([one])
        requests = one.count("requestCount")
        yield Point(
            at_s=(begin - first) / 1000,
            requests=requests,
            errors=_errors(one),
            requests_per_s=ratio(requests, duration_s),
            p50_ms=latency.at(50.0),
            p95_ms=latency.at(95.0),
            p99_ms=latency.at(99.0),
        )


def _sum(counts: Sequence[int | None]) -> int | None:
    """The sum, or None where one of them is unknown: a part is not the whole."""
    return None if any(count is None for count in counts) else sum(c for c in counts if c)
