"""`reports/trends.html`: what changed first, then each metric as a small chart of the same runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testops.domain.history import PastRun
from testops.domain.verdict import Verdict
from testops.reports.charts import Chart, Line, Mark, Point, Svg, draw
from testops.reports.page import render
from testops.reports.page_text import moment, number, short
from testops.reports.run_gates import OPS
from testops.reports.trends import Change, Series, Trends

CHARTS_MAX = 60
CHANGES_MAX = 60
STILL_MAX = 300
# A page of many metrics over many runs draws each run once a chart.
_POINTS_MAX = 6_000
_COMMIT_LENGTH = 8

Href = Callable[[PastRun], str]


@dataclass(frozen=True, slots=True)
class Multiple:
    """One small chart and its words."""

    name: str
    latest: str
    usual: str
    svg: Svg
    changes: Sequence[str]
    # What the chart draws, for those who do not see it: run, value, verdict.
    rows: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Told:
    """One change, for the list at the top."""

    name: str
    sense: str
    says: str
    between: str
    before_href: str
    after_href: str
    before_name: str
    after_name: str
    p: float


def render_trends(trends: Trends, href: Href) -> str:
    """The page; `href` leads to a run, or is empty."""
    # What changed comes first, then what a gate asks for, then what only moves.
    moving = sorted(
        (one for one in trends.series if one.moves),
        key=lambda one: (not one.changes, one.limit is None),
    )
    most = max(1, min(CHARTS_MAX, _POINTS_MAX // max(1, len(trends.runs))))
    still = [one for one in trends.series if not one.moves]
    changes = [_told(one, change, href) for one in moving for change in one.changes]
    context: dict[str, Any] = {
        "trends": trends,
        "multiples": [
            _multiple(one, trends.runs, href, f"c{place}")
            for place, one in enumerate(moving[:most])
        ],
        "multiples_hidden": len(moving) - most,
        "changes": changes[:CHANGES_MAX],
        "changes_hidden": len(changes) - CHANGES_MAX,
        "changed": len({one.name for one in moving if one.changes}),
        "still": [_still(one) for one in still[:STILL_MAX]],
        "still_hidden": len(still) - STILL_MAX,
        "runs": [_run(run, href) for run in reversed(trends.runs)],
        "moment": moment,
    }
    return render("trends.html", context)


def _told(series: Series, change: Change, href: Href) -> Told:
    return Told(
        name=series.name,
        sense=change.sense,
        says=_says(series, change),
        between=_between(change),
        before_href=href(change.before),
        after_href=href(change.after),
        before_name=short(change.before.run_id),
        after_name=short(change.after.run_id),
        p=change.point.p,
    )


def _says(series: Series, change: Change) -> str:
    point = change.point
    percent = "" if point.percent is None else f" ({point.percent:+.1f}%)"
    return f"{number(point.before, series.unit)} to {number(point.after, series.unit)}{percent}"


def _between(change: Change) -> str:
    before, after = change.before.commit, change.after.commit
    if before is None and after is None:
        return "no commit was known"
    if before == after:
        return f"at the same commit {_commit(before)}: something else changed"
    return f"{_commit(before)}..{_commit(after)}"


def _commit(commit: str | None) -> str:
    return short(commit)[:_COMMIT_LENGTH] if commit else "unknown"


def _multiple(series: Series, runs: Sequence[PastRun], href: Href, name: str) -> Multiple:
    unit = series.unit
    points = [
        Point(
            float(place),
            value,
            title=f"{short(run.run_id)}: {number(value, unit)}, {run.verdict.value}",
            href=href(run),
            hollow=run.verdict is not Verdict.PASS,
        )
        for place, (run, value) in enumerate(zip(runs, series.values, strict=True))
    ]
    marks = [
        Mark(change.point.index - 0.5, f"changed: {_says(series, change)}")
        for change in series.changes
    ]
    band = None if series.band is None else (series.band.low, series.band.high)
    chart = Chart(
        title=f"{series.name} over {len(runs)} runs",
        description=_description(series),
        lines=[Line(series.name, points, dots=True)],
        unit=unit,
        band=band,
        threshold=None if series.limit is None else series.limit.threshold,
        marks=marks,
        x_labels=_x_labels(runs),
    )
    return Multiple(
        name=series.name,
        latest=number(series.measured[-1], unit),
        usual=_usual(series),
        svg=draw(chart, name),
        changes=[f"{_says(series, change)}, {_between(change)}" for change in series.changes],
        rows=[
            (short(run.run_id), number(value, unit), run.verdict.value)
            for run, value in zip(runs, series.values, strict=True)
            if value is not None
        ],
    )


def _x_labels(runs: Sequence[PastRun]) -> list[tuple[float, str]]:
    first, last = moment(runs[0].finished_at)[:10], moment(runs[-1].finished_at)[:10]
    return [(0.0, first), (float(len(runs) - 1), last)] if len(runs) > 1 else [(0.0, first)]


def _usual(series: Series) -> str:
    parts = []
    if series.band is not None:
        low, high = number(series.band.low, series.unit), number(series.band.high, series.unit)
        same = series.band.low == series.band.high
        parts.append(f"usual {low}" if same else f"usual {low} to {high}")
    if series.limit is not None:
        wanted = number(series.limit.threshold, series.unit)
        parts.append(f"gate {OPS[series.limit.op.value]} {wanted}")
    return " · ".join(parts)


def _description(series: Series) -> str:
    values = series.measured
    said = (
        f"{len(values)} measured values from {number(min(values), series.unit)} to "
        f"{number(max(values), series.unit)}, the newest {number(values[-1], series.unit)}."
    )
    usual = _usual(series)
    changes = "; ".join(_says(series, change) for change in series.changes)
    return (
        f"{said}{f' {usual}.' if usual else ''}"
        f"{f' Changed: {changes}.' if changes else ' No change point.'}"
    )


def _still(series: Series) -> Mapping[str, str]:
    values = series.measured
    return {
        "name": series.name,
        "value": number(values[-1], series.unit) if values else "–",
        "count": number(len(values)),
        "usual": _usual(series),
    }


def _run(run: PastRun, href: Href) -> Mapping[str, str]:
    return {
        "name": f"{run.run_id}, attempt {run.attempt}",
        "href": href(run),
        "verdict": run.verdict.value,
        "at": moment(run.finished_at),
        "commit": short(run.commit) if run.commit else "none",
        "profile": run.profile,
        "engine": run.engine_version,
    }
