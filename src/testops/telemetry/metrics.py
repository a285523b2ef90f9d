"""What a running server can be watched by: OpenMetrics, in a registry of our own.

Three kinds of numbers stand here: what this process counted, what the gateway says when it is
asked, and what the database says of all runs. A source that does not answer is missing from that
page and counted; it never fails the page, and measuring never hurts what is measured.
`docs/reference/metrics.md` lists every name, and a test holds the two together.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

log = logging.getLogger("testops.metrics")

_HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_LAG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_NO_ROUTE: Final = "none"


class GatewayFacts(Protocol):
    """What a gateway says of itself (`sse_gateway.hub.HubStats`); counters never go down."""

    @property
    def viewers(self) -> int: ...
    @property
    def viewers_slow(self) -> int: ...
    @property
    def rings(self) -> int: ...
    @property
    def ring_bytes(self) -> int: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def coalesced(self) -> int: ...
    @property
    def sampled(self) -> int: ...
    @property
    def cut(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StageFacts:
    """How often a stage was executed and ended so, and how long that took together."""

    stage: str
    outcome: str
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RunFacts:
    """All runs that are kept, as the database has them at one moment."""

    states: Mapping[str, int]
    verdicts: Mapping[str, int]
    # How long the run that waits longest has waited; None when none waits.
    oldest_queued_s: float | None
    # Executors whose lease is good, by kind.
    executors: Mapping[str, int]
    # How often an attempt was taken again, because its executor had gone.
    takeovers: int
    stages: Sequence[StageFacts]


class Metrics:
    """The numbers of this process, and the page of them."""

    def __init__(self, *, version: str, engine_version: str) -> None:
        self.registry = CollectorRegistry()
        info = self._gauge("build", "Always 1; its labels say what runs.", "version", "engine")
        info.labels(version, engine_version).set(1)
        self._requests = self._counter(
            "http_requests", "Requests answered.", "method", "route", "status"
        )
        self._request_seconds = self._histogram(
            "http_request_seconds", "Until the answer began.", _HTTP_SECONDS, "route"
        )
        self._database = self._counter(
            "database_failures", "Statements that the database did not carry out.", "kind"
        )
        self._lag = self._histogram(
            "event_lag_seconds", "From an event's commit to its reading here.", _LAG_SECONDS
        )
        self._failures = self._counter(
            "metrics_source_failures", "Times that a source of numbers did not answer.", "source"
        )

    def request_answered(
        self, *, method: str, route: str | None, status: int, seconds: float
    ) -> None:
        """One HTTP request; `route` is the template, never the path: names of runs are not labels.

        A method that nobody defined is `other`, so that a scanner cannot fill the memory.
        """
        shown = route or _NO_ROUTE
        known = method if method in _METHODS else "other"
        self._requests.labels(known, shown, str(status)).inc()
        self._request_seconds.labels(shown).observe(seconds)

    def database_failed(self, kind: str) -> None:
        """A statement failed, and will be tried again by whoever sent it."""
        self._database.labels(kind).inc()

    def event_read(self, *, lag_s: float) -> None:
        """An event was read right after it was written (not a replay of an old log)."""
        self._lag.observe(max(0.0, lag_s))

    def watch_gateway(self, read: Callable[[], GatewayFacts]) -> None:
        """Ask `read` whenever somebody wants the page."""
        self.registry.register(_Source("gateway", lambda: gateway_families(read()), self))

    def watch_runs(self, read: Callable[[], RunFacts]) -> None:
        """Ask `read` whenever somebody wants the page."""
        self.registry.register(_Source("runs", lambda: run_families(read()), self))

    def source_failed(self, source: str) -> None:
        self._failures.labels(source).inc()

    def page(self, accept: str = "") -> tuple[str, bytes]:
        """The content type that suits the header `Accept`, and every number. Asks the sources."""
        encode, content_type = choose_encoder(accept or "application/openmetrics-text")
        return content_type, encode(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"testops_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"testops_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"testops_{name}", text, labels, buckets=buckets, registry=self.registry)


class _Source(Collector):
    """Numbers that somebody else keeps."""

    def __init__(self, name: str, read: Callable[[], Sequence[Metric]], metrics: Metrics) -> None:
        self._name = name
        self._read = read
        self._metrics = metrics

    def describe(self) -> Iterator[Metric]:
        # Asking the source at registration would need its database; the names are checked by test.
        yield from ()

    # `typing.override` is of Python 3.12.
    def collect(self) -> Iterator[Metric]:  # type: ignore[explicit-override]
        try:
            families = self._read()
        except Exception:  # measuring never hurts the page, whatever the source raises
            log.warning("the numbers of %s are missing", self._name, exc_info=True)
            self._metrics.source_failed(self._name)
            return
        yield from families


def gateway_families(facts: GatewayFacts) -> Sequence[Metric]:
    """The numbers of a gateway."""
    return (
        _value("sse_viewers", "Streams that are open.", facts.viewers),
        _value("sse_viewers_slow", "Open streams that do not keep up.", facts.viewers_slow),
        _value("sse_rings", "Runs that somebody watches.", facts.rings),
        _value("sse_ring_bytes", "Memory of their newest events.", facts.ring_bytes),
        _count("sse_sent_bytes", "Bytes sent on streams.", facts.sent_bytes),
        _count("sse_coalesced", "Events a newer one spoke for, in a slow stream.", facts.coalesced),
        _count("sse_sampled", "Log lines left out of a slow stream.", facts.sampled),
        _count("sse_cut", "Streams ended because they read nothing.", facts.cut),
    )


def run_families(facts: RunFacts) -> Sequence[Metric]:
    """The numbers of the database."""
    # Gauges, although they mostly grow: retention takes runs away, and a counter never goes down.
    labels = ("stage", "outcome")
    counts = GaugeMetricFamily("testops_stage_executions", "Executions of stages.", labels=labels)
    seconds = GaugeMetricFamily("testops_stage_seconds", "Their time, together.", labels=labels)
    for one in facts.stages:
        counts.add_metric((one.stage, one.outcome), one.count)
        seconds.add_metric((one.stage, one.outcome), one.seconds)
    return (
        _labelled("runs", "Runs that are kept, by state.", "state", facts.states),
        _labelled("runs_judged", "Runs that are kept, by verdict.", "verdict", facts.verdicts),
        _labelled("executors", "Executors whose lease is good.", "kind", facts.executors),
        _value(
            "queue_age_seconds",
            "How long the run that waits longest has waited; 0 when none waits.",
            facts.oldest_queued_s or 0.0,
        ),
        _value("takeovers", "Attempts taken again from an executor that went.", facts.takeovers),
        counts,
        seconds,
    )


def _value(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"testops_{name}", text, value=value)


def _count(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"testops_{name}", text, value=value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"testops_{name}", text, labels=(label,))
    for key, value in sorted(values.items()):
        family.add_metric((key,), value)
    return family
