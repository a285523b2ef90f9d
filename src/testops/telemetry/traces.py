"""Sends a finished run to an OpenTelemetry collector: one span for the run, one for each stage.

It is on where the standard OTEL_EXPORTER_OTLP_ENDPOINT (or its _TRACES_ twin) is set; every other
OTEL_EXPORTER_OTLP_* variable means what it means everywhere. The spans are made when an attempt has
ended, from what is recorded of it, and their ids are hashes of the run: an attempt that three
executors carried, one after the other, is still one trace, and telling it twice changes nothing.
Sending is a background thread's work that may fail; the run never waits for it.
"""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

log = logging.getLogger("testops.traces")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Parent:
    """The caller's span, as its `traceparent` header names it."""

    trace_id: int
    span_id: int
    sampled: bool

    def header(self) -> str:
        """What is kept, and passed on."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def parent_of(traceparent: str | None) -> Parent | None:
    """The span that a W3C `traceparent` names; None for a header that must be ignored.

    A later version of the standard may add fields at the end, which are not ours to refuse.
    """
    found = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if int(trace_id, 16) == 0 or int(span_id, 16) == 0:
        return None
    return Parent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))


@dataclass(frozen=True, slots=True)
class StageSpan:
    """One execution of a stage, as it is recorded; `failed` says that it did not pass."""

    stage: str
    number: int
    started_at: str
    ended_at: str
    outcome: str
    failed: bool
    executor_id: str = ""


@dataclass(frozen=True, slots=True)
class RunSpan:
    """An attempt that has ended, as it is recorded."""

    run_id: str
    attempt: int
    suite: str
    profile: str
    state: str
    verdict: str | None
    started_at: str
    ended_at: str
    stages: Sequence[StageSpan] = ()
    traceparent: str | None = None


class Traces(Protocol):
    """Where finished attempts are told."""

    def tell(self, run: RunSpan) -> None:
        """Send it some time soon; never raises and never waits."""
        ...

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        ...


class NoTraces:
    """Nobody listens."""

    def tell(self, run: RunSpan) -> None:
        """Nothing is sent."""

    def close(self) -> None:
        """Nothing is left."""


def open_traces(environment: Mapping[str, str], *, version: str) -> Traces:
    """What `environment` asks for; without an endpoint, nothing is imported and nothing is sent."""
    if not any(environment.get(name) for name in _ENDPOINTS):
        return NoTraces()
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NoTraces()
    try:
        return OtlpTraces(version=version, service=environment.get("OTEL_SERVICE_NAME", "testops"))
    except ImportError:
        log.warning("no traces are sent: install them with pip install 'ryuzen-testops[otlp]'")
        return NoTraces()


class OtlpTraces:
    """OTLP over HTTP, to where the environment says."""

    def __init__(self, *, version: str, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": service, "service.version": version})
        self._ids = _hashed_ids()
        self._provider = TracerProvider(
            resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("testops", version)

    def tell(self, run: RunSpan) -> None:
        try:
            self._tell(run)
        except Exception:  # telling never hurts a run, whatever the library raises
            log.warning("run %s is not in the traces", run.run_id, exc_info=True)

    def close(self) -> None:
        self._provider.force_flush(2000)
        self._provider.shutdown()

    def _tell(self, run: RunSpan) -> None:
        from opentelemetry import trace

        parent = parent_of(run.traceparent)
        around = _context_of(parent) if parent else None
        begun, ended = _ns(run.started_at), _ns(run.ended_at)
        self._ids.next_for(f"{run.run_id}/{run.attempt}")
        whole = self._tracer.start_span(
            f"run {run.suite}", context=around, start_time=begun, attributes=_facts_of(run)
        )
        _judge(whole, failed=run.verdict != "pass", why=f"{run.state}, {run.verdict}")
        inside = trace.set_span_in_context(whole, around)
        for stage in run.stages:
            self._ids.next_for(f"{run.run_id}/{run.attempt}/{stage.stage}/{stage.number}")
            span = self._tracer.start_span(
                f"stage {stage.stage}",
                context=inside,
                start_time=_ns(stage.started_at),
                attributes={
                    "testops.run_id": run.run_id,
                    "testops.stage": stage.stage,
                    "testops.execution": stage.number,
                    "testops.outcome": stage.outcome,
                    "testops.executor": stage.executor_id,
                },
            )
            _judge(span, failed=stage.failed, why=stage.outcome)
            span.end(_ns(stage.ended_at))
        whole.end(ended)


def _facts_of(run: RunSpan) -> dict[str, str | int]:
    return {
        "testops.run_id": run.run_id,
        "testops.attempt": run.attempt,
        "testops.suite": run.suite,
        "testops.profile": run.profile,
        "testops.state": run.state,
        "testops.verdict": run.verdict or "",
    }


def _judge(span: Any, *, failed: bool, why: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, why) if failed else Status(StatusCode.OK))


def _context_of(parent: Parent) -> Any:
    from opentelemetry import trace

    flags = trace.TraceFlags(_SAMPLED if parent.sampled else 0)
    span = trace.SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(span))


def _ns(moment: str) -> int:
    stamp = datetime.fromisoformat(moment)
    # Through milliseconds, which is what is kept: a float of nanoseconds is not exact.
    return round(stamp.timestamp() * 1000) * 1_000_000


def _hashed_ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class HashedIds(IdGenerator):
        """The ids of the one span that comes next, from what it is the span of."""

        def __init__(self) -> None:
            self._digest = b""

        def next_for(self, name: str) -> None:
            self._digest = hashlib.sha256(name.encode()).digest()

        # `typing.override` is of Python 3.12.
        def generate_trace_id(self) -> int:  # type: ignore[explicit-override]
            return int.from_bytes(self._digest[:16], "big")

        def generate_span_id(self) -> int:  # type: ignore[explicit-override]
            return int.from_bytes(self._digest[16:24], "big")

    return HashedIds()
