"""k6 summaries: what `handleSummary(data)` is given, and what `--summary-export` writes.

The two spell a metric differently (`values` or not) and thresholds in opposite senses: `true` in an
export means *crossed*. Neither has a key `percentiles`; who reads one finds nothing and reports 0.
`http_req_failed` is a rate of failures, so its `passes` are the requests that failed.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from testops.domain.performance import Check, Latency, Performance, RequestKind, Threshold
from testops.reports.formats.reading import Fields, Source, json_of, ratio

_PERCENTILE = re.compile(r"^p\((\d+(?:\.\d+)?)\)$")
_DURATION = "http_req_duration"


def is_k6_summary(value: Any) -> bool:
    """Whether this is one of the two; a k6 script has at least one of its own metrics."""
    if not isinstance(value, Mapping) or not isinstance(value.get("metrics"), Mapping):
        return False
    return "root_group" in value or bool(
        {"iterations", "iteration_duration", _DURATION} & set(value["metrics"])
    )


def read_k6_summary(source: Source, *, name: str) -> Performance:
    """The measurement of the file."""
    top = Fields.of(source, json_of(source))
    metrics = top.object("metrics")
    if not metrics.body:
        raise source.bad("there are no metrics", field="/metrics", fix="give the whole summary")
    duration = _values(metrics, _DURATION)
    requests = _values(metrics, "http_reqs").count("count")
    failed = _failed_share(metrics)
    run_ms = top.object("state").number("testRunDurationMs")
    rate = _values(metrics, "http_reqs").number("rate")
    return Performance(
        name=name,
        tool="k6",
        latency=_latency(duration),
        duration_s=_duration_s(run_ms, requests, rate),
        requests=requests,
        errors=None if failed is None or requests is None else round(failed * requests),
        error_percent=None if failed is None or not requests else 100 * failed,
        requests_per_s=rate,
        dropped=_dropped(metrics),
        users_max=_users(metrics),
        checks=tuple(_checks(top.object("root_group"))),
        thresholds=tuple(_thresholds(metrics)),
        kinds=tuple(_kinds(metrics)),
        notes=_notes(metrics, duration),
    )


def _values(metrics: Fields, name: str) -> Fields:
    """The numbers of a metric, wherever this summary keeps them."""
    metric = metrics.object(name)
    return metric.object("values") if metric.has("values") else metric


def _latency(values: Fields) -> Latency:
    found = {
        float(match[1]): ms
        for key in values.body
        if (match := _PERCENTILE.match(key))
        and float(match[1]) <= 100
        and (ms := values.number(key)) is not None
    }
    median = values.number("med")
    if median is not None:
        found.setdefault(50.0, median)
    return Latency(
        percentiles=tuple(sorted(found.items())),
        min_ms=values.number("min"),
        mean_ms=values.number("avg"),
        max_ms=values.number("max"),
    )


def _failed_share(metrics: Fields) -> float | None:
    values = _values(metrics, "http_req_failed")
    rate = values.number("rate")
    return values.number("value") if rate is None else rate


def _duration_s(run_ms: float | None, requests: int | None, rate: float | None) -> float | None:
    if run_ms is not None:
        return run_ms / 1000
    # An export does not say how long it took; its rate is the count divided by just that.
    return ratio(requests, rate) if requests else None


def _dropped(metrics: Fields) -> int | None:
    """k6 leaves the metric out while it is 0, but only where iterations could be dropped at all."""
    if metrics.has("dropped_iterations"):
        return _values(metrics, "dropped_iterations").count("count")
    return 0 if metrics.has("iterations") else None


def _users(metrics: Fields) -> int | None:
    values = _values(metrics, "vus_max")
    told = values.number("max")
    told = values.number("value") if told is None else told
    return None if told is None else int(told)


def _checks(group: Fields, prefix: str = "") -> Iterator[Check]:
    for check in _either(group, "checks"):
        passed, failed = check.count("passes"), check.count("fails")
        if passed is not None and failed is not None:
            yield Check(f"{prefix}{check.text('name')}", passed, failed)
    for inner in _either(group, "groups"):
        yield from _checks(inner, f"{prefix}{inner.text('name')} > ")


def _either(group: Fields, name: str) -> Iterator[Fields]:
    """A list in one of the two shapes, an object by name in the other."""
    if isinstance(group.body.get(name), Mapping):
        inner = group.object(name)
        for key in inner.body:
            yield inner.object(key)
    else:
        yield from group.objects(name)


def _thresholds(metrics: Fields) -> Iterator[Threshold]:
    for name in metrics.body:
        rules = metrics.object(name).object("thresholds")
        for rule, told in rules.body.items():
            if isinstance(told, bool):
                yield Threshold(name, rule, held=not told)
            else:
                held = rules.object(rule).truth("ok")
                # A threshold of which nobody says whether it held did not hold.
                yield Threshold(name, rule, held=held is True)


def _kinds(metrics: Fields) -> Iterator[RequestKind]:
    for name in sorted(metrics.body):
        inside = name.removeprefix(f"{_DURATION}{{").removesuffix("}")
        if inside == name or inside == "expected_response:true":
            continue
        yield RequestKind(inside, _latency(_values(metrics, name)))


def _notes(metrics: Fields, duration: Fields) -> tuple[str, ...]:
    if not duration.body:
        return (f"it has no {_DURATION}: no HTTP request was measured",)
    if not any(_PERCENTILE.match(key) for key in duration.body):
        return (f"{_DURATION} has no percentile: name p(95) and p(99) in summaryTrendStats",)
    failed = _values(metrics, "http_req_failed")
    return () if failed.body else ("it has no http_req_failed: errors are unknown",)
