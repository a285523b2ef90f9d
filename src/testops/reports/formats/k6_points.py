"""k6's single measurements (`--out json=FILE`): one JSON object a line.

They say what a summary cannot: each latency, and how the load moved over time.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

from testops.domain.performance import SAMPLES_MAX, SERIES_MAX, Latency, Performance, Point
from testops.reports.formats.reading import Source, measured, ratio
from testops.reports.quantiles import percentiles, quantile, thinned


def is_k6_points(text: str) -> bool:
    """Whether the first line declares or tells a metric."""
    first = text.lstrip().partition("\n")[0]
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(value, Mapping)
        and value.get("type") in ("Metric", "Point")
        and "metric" in value
        and "data" in value
    )


@dataclass(slots=True)
class _Told:
    """What is collected while the lines are read."""

    # Pairs of (second since the epoch, milliseconds), and of (second, whether it failed).
    latencies: list[tuple[float, float]] = field(default_factory=list)
    failures: list[tuple[float, bool]] = field(default_factory=list)
    dropped: int = 0
    users_max: int | None = None
    iterations: bool = False


def read_k6_points(source: Source, *, name: str) -> Performance:
    """The measurement of the file; a line that was cut off is refused, or it would look shorter."""
    told = _Told()
    for number, line in enumerate(source.text().splitlines(), 1):
        if line.strip():
            _take(told, line, number, source)
    times = [at for at, _ in told.latencies]
    span = max(times) - min(times) if times else 0.0
    requests = len(told.latencies)
    errors = sum(failed for _, failed in told.failures) if told.failures else None
    values = sorted(ms for _, ms in told.latencies)
    return Performance(
        name=name,
        tool="k6",
        latency=_latency(values),
        duration_s=span or None,
        requests=requests or None,
        errors=errors,
        error_percent=None if errors is None else 100 * errors / len(told.failures),
        requests_per_s=ratio(requests, span),
        dropped=told.dropped if told.iterations else None,
        users_max=told.users_max,
        series=tuple(_series(told)),
        samples_ms=thinned([ms for _, ms in told.latencies], SAMPLES_MAX),
        notes=() if values else ("it has no http_req_duration: no HTTP request was measured",),
    )


def _latency(values: list[float]) -> Latency:
    if not values:
        return Latency()
    mean = sum(values) / len(values)
    return Latency(percentiles(values), values[0], mean, values[-1])


def _take(told: _Told, line: str, number: int, source: Source) -> None:
    try:
        entry = json.loads(line)
        if entry["type"] == "Point":
            _point(told, entry["metric"], entry["data"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise source.bad(
            "not a point of k6", field=f"line {number}", fix="it may be cut off: write it anew"
        ) from None


def _point(told: _Told, metric: str, point: Mapping[str, Any]) -> None:
    value = measured(float(point["value"]))
    if value is None:
        raise ValueError(metric)
    match metric:
        case "http_req_duration":
            told.latencies.append((_second(point["time"]), value))
        case "http_req_failed":
            told.failures.append((_second(point["time"]), value != 0))
        case "dropped_iterations":
            told.dropped += int(value)
        case "vus_max":
            told.users_max = max(told.users_max or 0, int(value))
        case "iterations":
            told.iterations = True
        case _:
            # The other metrics say nothing that a measurement keeps.
            return


def _second(text: str) -> float:
    # Go writes up to nine digits after the second, Python reads six.
    head, dot, rest = text.partition(".")
    if dot:
        digits = rest.rstrip("Z").partition("+")[0].partition("-")[0]
        text = f"{head}.{digits[:6]}{rest[len(digits) :]}"
    return datetime.fromisoformat(text).timestamp()


def _series(told: _Told) -> Iterator[Point]:
    if not told.latencies:
        return
    first = min(at for at, _ in told.latencies)
    last = max(at for at, _ in told.latencies)
    width = max(1, ceil((last - first + 1) / SERIES_MAX))
    parts: dict[int, list[float]] = {}
    for at, ms in told.latencies:
        parts.setdefault(int((at - first) // width), []).append(ms)
    errors: dict[int, int] = {}
    for at, failed in told.failures:
        part = max(0, int((at - first) // width))
        errors[part] = errors.get(part, 0) + failed
    # An interval without an answer is a point too: that is what a stall looks like.
    for part in range(max(parts) + 1):
        values = sorted(parts.get(part, ()))
        yield Point(
            at_s=float(part * width),
            requests=len(values),
            errors=errors.get(part, 0) if told.failures else None,
            requests_per_s=len(values) / width,
            p50_ms=quantile(values, 50) if values else None,
            p95_ms=quantile(values, 95) if values else None,
            p99_ms=quantile(values, 99) if values else None,
        )
