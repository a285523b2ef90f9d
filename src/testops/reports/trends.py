"""What a suite measured over its runs: series, what is usual, and where something changed.

Runs stand evenly, one after the other, because ten runs of one day tell as much as ten of a month.
Where the runs are kept belongs to the `History` port.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.gate import Op
from testops.domain.history import History, PastRun
from testops.domain.stage import StageName
from testops.domain.verdict import Verdict
from testops.reports.change_points import RUNS_MAX, ChangePoint, change_points
from testops.reports.run_gates import guessed_unit

RUNS_DEFAULT = 100
# Of so many passed runs the band is made, and of no fewer.
BAND_RUNS_MAX, BAND_RUNS_MIN = 20, 5
# Median and 3 median absolute deviations (scaled to a standard deviation): half of the runs may be
# wild before it moves (Leys et al., J. Exp. Soc. Psych. 49, 2013). The 5th and 95th percentile of
# 20 runs would be nearly their extremes, so that one wild run would set them.
_SCALE, _DEVIATIONS = 1.4826, 3.0
_METRICS_NAMED_MAX = 30
_PASSED = frozenset({Verdict.PASS, Verdict.WARN})

_COLUMNS = (
    *("run_id", "attempt", "finished_at", "commit", "engine_version", "profile", "verdict"),
    *("stage", "metric", "value", "unit"),
)

MetricName = tuple[StageName, str]


@dataclass(frozen=True, slots=True)
class Limit:
    """What a gate wants of a metric."""

    op: Op
    threshold: float

    @property
    def wants_more(self) -> bool | None:
        """Whether more is better; None where a gate does not say so."""
        match self.op:
            case Op.AT_LEAST | Op.ABOVE:
                return True
            case Op.AT_MOST | Op.BELOW:
                return False
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Band:
    """What passed runs usually measure: `middle` is the median of `runs` of them."""

    low: float
    middle: float
    high: float
    runs: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change point, and the two runs between whose commits it happened."""

    point: ChangePoint
    before: PastRun
    after: PastRun
    # "better" and "worse" where a gate says which way is which.
    sense: str

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.point.index,
            "before": self.point.before,
            "after": self.point.after,
            "percent": self.point.percent,
            "p": self.point.p,
            "sense": self.sense,
            "last_run_before": self.before.run_id,
            "first_run_after": self.after.run_id,
            "commits": [self.before.commit, self.after.commit],
        }


@dataclass(frozen=True, slots=True)
class Series:
    """One metric over the runs; None where a run did not measure it."""

    stage: StageName
    metric: str
    unit: str
    values: Sequence[float | None]
    band: Band | None
    limit: Limit | None
    changes: Sequence[Change]

    @property
    def name(self) -> str:
        return f"{self.stage.value}.{self.metric}"

    @property
    def measured(self) -> Sequence[float]:
        return [value for value in self.values if value is not None]

    @property
    def moves(self) -> bool:
        return len(set(self.measured)) > 1

    def to_json(self) -> dict[str, Any]:
        band = self.band
        return {
            "stage": self.stage.value,
            "metric": self.metric,
            "unit": self.unit,
            "values": list(self.values),
            "band": None
            if band is None
            else {"low": band.low, "median": band.middle, "high": band.high, "runs": band.runs},
            "threshold": None
            if self.limit is None
            else {"op": self.limit.op.value, "value": self.limit.threshold},
            "changes": [change.to_json() for change in self.changes],
        }


@dataclass(frozen=True, slots=True)
class Trends:
    """The series of one suite; `runs` and every series have the oldest first."""

    suite: str
    profile: str | None
    runs: Sequence[PastRun]
    series: Sequence[Series]

    def to_json(self) -> dict[str, Any]:
        return {
            "suite": self.suite,
            "profile": self.profile,
            "runs": [
                {
                    "run_id": run.run_id,
                    "attempt": run.attempt,
                    "profile": run.profile,
                    "state": run.state.value,
                    "verdict": run.verdict.value,
                    "finished_at": run.finished_at,
                    "commit": run.commit,
                    "engine_version": run.engine_version,
                }
                for run in self.runs
            ],
            "series": [one.to_json() for one in self.series],
        }

    def to_csv(self) -> str:
        """One line for each measured value."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for one in self.series:
            for run, value in zip(self.runs, one.values, strict=True):
                if value is not None:
                    said = [run.run_id, run.attempt, run.finished_at, run.commit or ""]
                    said += [run.engine_version, run.profile, run.verdict.value]
                    said += [one.stage.value, one.metric]
                    writer.writerow([*map(_cell, said), repr(value), one.unit])
        return out.getvalue()


def _cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula (CWE-1236)."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def limits_of(gates: Iterable[Mapping[str, Any]]) -> Mapping[MetricName, Limit]:
    """What the gates of a run (their JSON) want; a ground that moves with history is no line."""
    found: dict[MetricName, Limit] = {}
    for gate in gates:
        threshold = gate.get("threshold")
        if gate.get("kind", "absolute") != "absolute" or not isinstance(threshold, int | float):
            continue
        found.setdefault(
            (StageName(gate["stage"]), str(gate["metric"])), Limit(Op(gate["op"]), threshold)
        )
    return found


def trends_of(
    history: History,
    *,
    suite: str,
    profile: str | None = None,
    metrics: Sequence[str] = (),
    limits: Mapping[MetricName, Limit] | None = None,
    count: int = RUNS_DEFAULT,
) -> Trends:
    """The trends of the newest `count` runs of `suite`; of all metrics, or of `stage.metric`s.

    `BadInput` names a metric that no run measured.
    """
    newest = history.runs(
        suite=suite, profile=profile, verdicts=frozenset(Verdict), limit=min(count, RUNS_MAX)
    )
    runs = tuple(reversed(newest))
    names = _names(runs)
    wanted = [_wanted(asked, names) for asked in metrics] if metrics else names
    passed = history.runs(suite=suite, profile=profile, verdicts=_PASSED, limit=BAND_RUNS_MAX)
    known = limits or {}
    return Trends(
        suite,
        profile,
        runs,
        tuple(_series(name, runs, passed, known.get(name)) for name in dict.fromkeys(wanted)),
    )


def _names(runs: Sequence[PastRun]) -> list[MetricName]:
    """Every metric that was measured, in the order of the stages and then of the alphabet."""
    found = {(stage, name) for run in runs for stage, own in run.metrics.items() for name in own}
    order = list(StageName)
    return sorted(found, key=lambda one: (order.index(one[0]), one[1]))


def _wanted(asked: str, names: Sequence[MetricName]) -> MetricName:
    for stage, metric in names:
        if asked == f"{stage.value}.{metric}":
            return stage, metric
    known = ", ".join(f"{stage.value}.{metric}" for stage, metric in names[:_METRICS_NAMED_MAX])
    raise BadInput(
        f"no run measured {asked!r}",
        where="metric",
        fix=f"name one of {known}" if known else "there is no run to measure it yet",
    )


def _series(
    name: MetricName, runs: Sequence[PastRun], passed: Sequence[PastRun], limit: Limit | None
) -> Series:
    stage, metric = name
    values = [_value(run, name) for run in runs]
    return Series(
        stage=stage,
        metric=metric,
        unit=guessed_unit(metric),
        values=values,
        band=_band([value for run in passed if (value := _value(run, name)) is not None]),
        limit=limit,
        changes=_changes(runs, values, limit),
    )


def _value(run: PastRun, name: MetricName) -> float | None:
    value = run.metrics.get(name[0], {}).get(name[1])
    return value if value is not None and math.isfinite(value) else None


def _band(values: Sequence[float]) -> Band | None:
    if len(values) < BAND_RUNS_MIN:
        return None
    middle = median(values)
    reach = _DEVIATIONS * _SCALE * median(abs(value - middle) for value in values)
    low = middle - reach
    # What is never negative is not usually so.
    return Band(low if min(values) < 0 else max(low, 0.0), middle, middle + reach, len(values))


def _changes(
    runs: Sequence[PastRun], values: Sequence[float | None], limit: Limit | None
) -> Sequence[Change]:
    places = [place for place, value in enumerate(values) if value is not None]
    found = change_points([value for value in values if value is not None])
    return tuple(
        Change(
            ChangePoint(places[point.index], point.before, point.after, point.p),
            runs[places[point.index - 1]],
            runs[places[point.index]],
            _sense(point, limit),
        )
        for point in found
    )


def _sense(point: ChangePoint, limit: Limit | None) -> str:
    wants_more = None if limit is None else limit.wants_more
    if wants_more is None or point.before == point.after:
        return ""
    return "better" if (point.after > point.before) is wants_more else "worse"
