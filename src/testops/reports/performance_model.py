"""What a page says of load tests, worked out from `Performance`: nothing that was not measured.

Percentiles are shown as each test told them and never averaged: the mean of two 95th percentiles is
the percentile of nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from testops.domain.performance import Latency, Performance, percentile_metric
from testops.domain.performance import Point as TimePoint
from testops.reports.charts import Chart, Line, Point, Svg, draw
from testops.reports.page_text import duration, number
from testops.reports.trends import Band

PERCENTILES_MAX = 9
KINDS_MAX = 40
POINTS_MAX = 600
_LISTED_MAX = 40
_INTERVALS_MAX = 200


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One line of the table: everything, or one kind of request."""

    name: str
    requests: str
    errors: str
    values: Sequence[str]
    mean: str
    largest: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A metric against what runs that passed usually measure."""

    name: str
    value: str
    usual: str
    says: str
    # "pass" within the usual, "warn" beside it: a comparison is no gate.
    tone: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart and its heading; a legend of (css, name) where it has several lines."""

    name: str
    latest: str
    svg: Svg
    legend: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class LoadTest:
    """One measurement, spelled."""

    name: str
    tool: str
    figures: Sequence[tuple[str, str, str]]
    quantiles: Sequence[str]
    rows: Sequence[LatencyRow]
    kinds_hidden: int
    charts: Sequence[Drawn]
    # What the charts over time draw, for those who do not see them.
    intervals: Sequence[Sequence[str]]
    thresholds: Sequence[tuple[str, str, bool]]
    checks: Sequence[tuple[str, int, int]]
    compared: Sequence[Compared]
    omission: str
    notes: Sequence[str]


def load_test(measured: Performance, usual: Mapping[str, Band], name: str) -> LoadTest:
    """The test; `usual` has bands by the name of a metric, `name` is unique on the page."""
    quantiles = _quantiles(measured)
    return LoadTest(
        name=measured.name,
        tool=measured.tool,
        figures=_figures(measured),
        quantiles=[f"p{q:g}" for q in quantiles],
        rows=_rows(measured, quantiles),
        kinds_hidden=max(0, len(measured.kinds) - KINDS_MAX),
        charts=_charts(measured, name),
        intervals=[_interval(point) for point in _few(measured.series, _INTERVALS_MAX)],
        thresholds=[(one.metric, one.rule, one.held) for one in measured.thresholds[:_LISTED_MAX]],
        checks=[(one.name, one.passed, one.failed) for one in measured.checks[:_LISTED_MAX]],
        compared=_compared(measured, usual),
        omission=_omission(measured),
        notes=measured.notes[:_LISTED_MAX],
    )


def _figures(measured: Performance) -> Sequence[tuple[str, str, str]]:
    percentile = next((q for q in (95.0, 90.0, 99.0) if measured.latency.at(q) is not None), None)
    latency = None if percentile is None else measured.latency.at(percentile)
    errors = "not measured" if measured.errors is None else f"{number(measured.errors)} requests"
    rate = measured.requests_per_s
    return [
        (
            "Latency" if percentile is None else f"Latency p{percentile:g}",
            "–" if latency is None else number(latency, "ms"),
            "not measured" if latency is None else f"median {_ms(measured.latency.at(50.0))}",
        ),
        (
            "Throughput",
            "–" if rate is None else number(rate, "1/s"),
            "not measured" if rate is None else f"{number(measured.requests)} requests",
        ),
        (
            "Errors",
            "–" if measured.error_percent is None else number(measured.error_percent, "%"),
            errors if measured.error_percent is not None else "not measured",
        ),
        (
            "Duration",
            "–" if measured.duration_s is None else duration(measured.duration_s),
            "not measured" if measured.duration_s is None else _users(measured),
        ),
    ]


def _users(measured: Performance) -> str:
    return "" if measured.users_max is None else f"at most {number(measured.users_max)} users"


def _ms(value: float | None) -> str:
    return "–" if value is None else number(value, "ms")


def _quantiles(measured: Performance) -> list[float]:
    """The percentiles that any of its distributions told; the rarest are the most telling."""
    every = [measured.latency, *(kind.latency for kind in measured.kinds)]
    found = sorted({q for latency in every for q, _ in latency.percentiles})
    return found if len(found) <= PERCENTILES_MAX else found[:1] + found[1 - PERCENTILES_MAX :]


def _rows(measured: Performance, quantiles: Sequence[float]) -> Sequence[LatencyRow]:
    def row(name: str, latency: Latency, requests: int | None, errors: int | None) -> LatencyRow:
        return LatencyRow(
            name=name,
            requests=number(requests),
            errors=number(errors),
            values=[number(latency.at(q)) for q in quantiles],
            mean=number(latency.mean_ms),
            largest=number(latency.max_ms),
        )

    rows = []
    if measured.latency.percentiles or measured.latency.mean_ms is not None:
        rows.append(row("All requests", measured.latency, measured.requests, measured.errors))
    rows += [
        row(kind.name, kind.latency, kind.requests, kind.errors)
        for kind in measured.kinds[:KINDS_MAX]
    ]
    return rows


def _charts(measured: Performance, name: str) -> Sequence[Drawn]:
    found = [
        _over_time(measured, f"{name}-latency", "Latency over time", _LATENCIES, "ms"),
        _over_time(measured, f"{name}-rate", "Throughput over time", _RATES, "1/s"),
        _over_time(measured, f"{name}-errors", "Errors over time", _ERRORS, ""),
        _curve(measured, f"{name}-curve"),
        _histogram(measured, f"{name}-histogram"),
    ]
    return [chart for chart in found if chart is not None]


_LATENCIES = (("p99", "p99_ms", "c"), ("p95", "p95_ms", "b"), ("median", "p50_ms", "a"))
_RATES = (("requests a second", "requests_per_s", "a"),)
_ERRORS = (("errors", "errors", "a"),)


def _over_time(
    measured: Performance,
    name: str,
    title: str,
    fields: Sequence[tuple[str, str, str]],
    unit: str,
) -> Drawn | None:
    # A rate is of an interval: a step. Percentiles of intervals are not put together.
    points = _few(measured.series, POINTS_MAX)
    lines = []
    for label, of, css in fields:
        own = [Point(point.at_s, getattr(point, of)) for point in points]
        if any(point.y is not None for point in own):
            lines.append(Line(label, own, css=css, step=True))
    if not lines or len(points) < 2:
        return None
    last, first = points[-1].at_s, points[0].at_s
    values = [point.y for line in lines for point in line.points if point.y is not None]
    chart = Chart(
        title=f"{title} of {measured.name}",
        description=(
            f"{', '.join(line.name for line in lines)}: from {number(min(values), unit)} to "
            f"{number(max(values), unit)} in {len(points)} intervals."
        ),
        lines=lines,
        unit=unit,
        x_labels=[(first, duration(first)), (last, duration(last))],
        from_zero=True,
    )
    legend = [(line.css, line.name) for line in lines] if len(lines) > 1 else []
    return Drawn(title, {"1/s": "requests a second"}.get(unit, unit), draw(chart, name), legend)


def _few(series: Sequence[TimePoint], most: int) -> Sequence[TimePoint]:
    """At most so many intervals, evenly left out: putting them together would average them."""
    if len(series) <= most:
        return series
    return [series[index * len(series) // most] for index in range(most)]


def _interval(point: TimePoint) -> Sequence[str]:
    told = (point.p50_ms, point.p95_ms, point.p99_ms, point.requests_per_s, point.errors)
    return [duration(point.at_s), *map(number, told)]


def _curve(measured: Performance, name: str) -> Drawn | None:
    """Latency by percentile, each nine as wide as the next, as HdrHistogram draws it."""
    told = [(q, ms) for q, ms in measured.latency.percentiles if q < 100]
    if len(told) < 3:
        return None
    points = [Point(-math.log10(1 - q / 100), ms, f"p{q:g}: {_ms(ms)}") for q, ms in told]
    chart = Chart(
        title=f"Latency by percentile of {measured.name}",
        description="; ".join(point.title for point in points),
        lines=[Line("latency", points, dots=True)],
        unit="ms",
        x_labels=[
            (point.x, f"p{q:g}")
            for point, (q, _) in zip(points, told, strict=True)
            if q in (told[0][0], told[-1][0]) or q in (90, 99, 99.9)
        ],
        from_zero=True,
    )
    return Drawn("Latency by percentile", f"p{told[-1][0]:g} {_ms(told[-1][1])}", draw(chart, name))


def _histogram(measured: Performance, name: str) -> Drawn | None:
    bins = measured.latency.histogram
    if len(bins) < 2:
        return None
    total = sum(count for _, count in bins)
    shown = bins[:POINTS_MAX]
    edges = [0.0, *(edge for edge, _ in shown)]
    heights = [float(count) for _, count in shown]
    # A class begins at the edge before its own, so that is where its height does.
    points = [Point(at, y) for at, y in zip(edges, [*heights, heights[-1]], strict=True)]
    chart = Chart(
        title=f"How often each latency of {measured.name} was seen",
        description=f"{number(total)} requests in {len(bins)} classes up to {_ms(bins[-1][0])}.",
        lines=[Line("requests", points, step=True)],
        x_labels=[(0.0, "0 ms"), (points[-1].x, _ms(points[-1].x))],
        from_zero=True,
    )
    return Drawn("How often each latency was seen", f"{number(total)} requests", draw(chart, name))


def _compared(measured: Performance, usual: Mapping[str, Band]) -> Sequence[Compared]:
    wanted = [percentile_metric(q) for q, _ in measured.latency.percentiles]
    wanted += ["requests_per_s", "error_percent", "dropped"]
    own = {metric.name: metric for metric in measured.metrics("")}
    found = []
    for name in wanted:
        band, metric = usual.get(name), own.get(name)
        if band is None or metric is None:
            continue
        where = _where(metric.value, band)
        low, high = number(band.low, metric.unit), number(band.high, metric.unit)
        found.append(
            Compared(
                name=name,
                value=number(metric.value, metric.unit),
                usual=low if band.low == band.high else f"{low} to {high}",
                says=f"{where}{_percent(metric.value, band)}",
                tone="pass" if where == "usual" else "warn",
            )
        )
    return found


def _where(value: float, band: Band) -> str:
    if band.low <= value <= band.high:
        return "usual"
    return "higher than usual" if value > band.high else "lower than usual"


def _percent(value: float, band: Band) -> str:
    if band.middle == 0:
        return ""
    return f", {100 * (value - band.middle) / abs(band.middle):+.1f}% of the median"


def _omission(measured: Performance) -> str:
    """What requests that were due and not sent do to the percentiles (Tene, 2013)."""
    if not measured.dropped:
        return ""
    total = measured.dropped + (measured.requests or 0)
    return (
        f"{number(measured.dropped)} of {number(total)} requests that were due were not sent, "
        "because the load could not keep up. They would have waited longest, and no percentile "
        "here counts them: read the latencies as lower bounds (coordinated omission)."
    )
