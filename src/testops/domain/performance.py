"""What a load test measured, whichever tool drove it: latencies, rates, errors, how they moved.

What was not measured is None or absent, never 0: a gate must see the difference. How k6 and others
spell it belongs to `reports.formats`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from testops.domain.stage import Metric

SAMPLES_MAX = 10_000
SERIES_MAX = 3_600


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of durations in milliseconds; `percentiles` are pairs of (q, ms) by q.

    Percentiles of several workers are never averaged: merge histograms instead.
    """

    percentiles: tuple[tuple[float, float], ...] = ()
    min_ms: float | None = None
    mean_ms: float | None = None
    max_ms: float | None = None
    # Pairs of (upper edge in ms, count), ascending; each counts what is above the edge before.
    histogram: tuple[tuple[float, int], ...] = ()

    def __post_init__(self) -> None:
        quantiles = [q for q, _ in self.percentiles]
        assert quantiles == sorted(set(quantiles)), quantiles
        assert all(0 <= q <= 100 and isfinite(ms) for q, ms in self.percentiles), self.percentiles

    def at(self, q: float) -> float | None:
        """The `q`-th percentile, where the tool told it."""
        return dict(self.percentiles).get(q)

    def to_json(self) -> dict[str, Any]:
        return _without_none(
            {
                "percentiles": [list(pair) for pair in self.percentiles],
                "min_ms": self.min_ms,
                "mean_ms": self.mean_ms,
                "max_ms": self.max_ms,
                "histogram": [list(pair) for pair in self.histogram],
            }
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Latency":
        return cls(
            percentiles=tuple((q, ms) for q, ms in body.get("percentiles", ())),
            min_ms=body.get("min_ms"),
            mean_ms=body.get("mean_ms"),
            max_ms=body.get("max_ms"),
            histogram=tuple((edge, count) for edge, count in body.get("histogram", ())),
        )


@dataclass(frozen=True, slots=True)
class Point:
    """One interval of a load test: `at_s` is its beginning, counted from the test's."""

    at_s: float
    requests: int | None = None
    errors: int | None = None
    requests_per_s: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    users: int | None = None

    def to_json(self) -> dict[str, Any]:
        return _without_none({name: getattr(self, name) for name in Point.__slots__})

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Point":
        return cls(**body)


@dataclass(frozen=True, slots=True)
class Check:
    """An assertion inside the load, and how often it held."""

    name: str
    passed: int
    failed: int

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "passed": self.passed, "failed": self.failed}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit that the tool itself judged; `held` is the same sense whatever the tool's."""

    metric: str
    rule: str
    held: bool

    def to_json(self) -> dict[str, Any]:
        return {"metric": self.metric, "rule": self.rule, "held": self.held}


@dataclass(frozen=True, slots=True)
class RequestKind:
    """One sort of request: a phase, an endpoint or a command."""

    name: str
    latency: Latency = field(default_factory=Latency)
    requests: int | None = None
    errors: int | None = None
    requests_per_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        return _without_none(
            {
                "name": self.name,
                "latency": self.latency.to_json(),
                "requests": self.requests,
                "errors": self.errors,
                "requests_per_s": self.requests_per_s,
            }
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "RequestKind":
        return cls(**{**body, "latency": Latency.from_json(body["latency"])})


@dataclass(frozen=True, slots=True)
class Performance:
    """One load test. `tool` drove it (`k6`, `hyperfoil`, `hyperfine`, `testops`).

    `samples_ms` are single measurements, at most `SAMPLES_MAX`, where the tool keeps them;
    `dropped` counts requests that should have been sent and were not.
    """

    name: str
    tool: str
    latency: Latency = field(default_factory=Latency)
    duration_s: float | None = None
    requests: int | None = None
    errors: int | None = None
    error_percent: float | None = None
    requests_per_s: float | None = None
    dropped: int | None = None
    users_max: int | None = None
    checks: tuple[Check, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    kinds: tuple[RequestKind, ...] = ()
    series: tuple[Point, ...] = ()
    samples_ms: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    def metrics(self, source: str) -> tuple[Metric, ...]:
        """What gates judge: `p95_ms`, `error_percent`, …; only what was measured."""
        return tuple(
            Metric(name, value, source, unit)
            for name, value, unit in self._measured()
            if value is not None
        )

    def _measured(self) -> Iterator[tuple[str, float | None, str]]:
        for q, ms in self.latency.percentiles:
            yield percentile_metric(q), ms, "ms"
        yield "latency_min_ms", self.latency.min_ms, "ms"
        yield "latency_mean_ms", self.latency.mean_ms, "ms"
        yield "latency_max_ms", self.latency.max_ms, "ms"
        yield "requests", self.requests, ""
        yield "errors", self.errors, ""
        yield "error_percent", self.error_percent, "%"
        yield "requests_per_s", self.requests_per_s, "1/s"
        yield "dropped", self.dropped, ""
        yield "load_duration_s", self.duration_s, "s"
        if self.checks:
            yield "checks_failed", sum(check.failed for check in self.checks), ""
            yield "check_percent", _share_held(self.checks), "%"
        if self.thresholds:
            yield "thresholds_failed", sum(not limit.held for limit in self.thresholds), ""

    def to_json(self) -> dict[str, Any]:
        """Its JSON, in which what was not measured is absent."""
        return _without_none(
            {
                "name": self.name,
                "tool": self.tool,
                "latency": self.latency.to_json(),
                "duration_s": self.duration_s,
                "requests": self.requests,
                "errors": self.errors,
                "error_percent": self.error_percent,
                "requests_per_s": self.requests_per_s,
                "dropped": self.dropped,
                "users_max": self.users_max,
                "checks": [check.to_json() for check in self.checks],
                "thresholds": [limit.to_json() for limit in self.thresholds],
                "kinds": [kind.to_json() for kind in self.kinds],
                "series": [point.to_json() for point in self.series],
                "samples_ms": list(self.samples_ms),
                "notes": list(self.notes),
            }
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Performance":
        """The measurement that `to_json` spelled."""
        made = {
            "latency": Latency.from_json(body["latency"]),
            "checks": tuple(Check(**one) for one in body.get("checks", ())),
            "thresholds": tuple(Threshold(**one) for one in body.get("thresholds", ())),
            "kinds": tuple(RequestKind.from_json(one) for one in body.get("kinds", ())),
            "series": tuple(Point.from_json(one) for one in body.get("series", ())),
            "samples_ms": tuple(body.get("samples_ms", ())),
            "notes": tuple(body.get("notes", ())),
        }
        return cls(**{**body, **made})


def percentile_metric(q: float) -> str:
    """The name of a percentile's metric: `p95_ms`, and `p99_9_ms` for 99.9."""
    return f"p{q:g}_ms".replace(".", "_")


def _share_held(checks: Sequence[Check]) -> float | None:
    passed = sum(check.passed for check in checks)
    whole = passed + sum(check.failed for check in checks)
    return 100 * passed / whole if whole else None


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None and value != []}
