import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from testops.telemetry.traces import (
    NoTraces,
    OtlpTraces,
    Parent,
    RunSpan,
    StageSpan,
    Traces,
    open_traces,
    parent_of,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RUN = RunSpan(
    run_id="7f3a000000000000",
    attempt=1,
    suite="full",
    profile="ci",
    state="finished",
    verdict="fail",
    started_at="2026-11-25T16:00:00.000Z",
    ended_at="2026-11-25T16:00:09.500Z",
    stages=(
        StageSpan(
            "lint", 1, "2026-11-25T16:00:00.100Z", "2026-11-25T16:00:01.100Z", "finished", False
        ),
        StageSpan("sim", 1, "2026-11-25T16:00:01.100Z", "2026-11-25T16:00:02.000Z", "lost", True),
        StageSpan(
            "sim", 2, "2026-11-25T16:00:05.000Z", "2026-11-25T16:00:09.123Z", "finished", True, "h"
        ),
    ),
)


class Receiver:
    """A little OTLP/HTTP collector: keeps the spans that are posted to it."""

    def __init__(self, status: int = 200) -> None:
        self.requests: list[Any] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
                    ExportTraceServiceRequest,
                )

                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                parsed = ExportTraceServiceRequest()
                parsed.ParseFromString(body)
                receiver.requests.append((self.path, dict(self.headers), parsed))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_words: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spans(self) -> list[Any]:
        return [
            span
            for _path, _headers, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    one = Receiver()
    # The exporter reads the real environment, which is what its other variables are for.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", one.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield one
    one.close()


def opened(receiver: Receiver) -> Traces:
    return open_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}, version="0.1.0")


def told(receiver: Receiver, *runs: RunSpan) -> list[Any]:
    traces = opened(receiver)
    for run in runs:
        traces.tell(run)
    traces.close()
    return receiver.spans()


def test_a_run_and_its_stages_reach_a_collector_with_the_times_that_are_recorded(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ours")
    spans = {span.name + str(span.start_time_unix_nano): span for span in told(receiver, RUN)}
    assert len(spans) == 4
    path, headers, request = receiver.requests[0]
    assert path == "/v1/traces"
    assert headers["x-tenant"] == "ours"
    resource = {
        one.key: one.value.string_value for one in request.resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "testops"
    assert resource["service.version"] == "0.1.0"
    (run,) = [span for span in spans.values() if span.name == "run full"]
    assert run.end_time_unix_nano - run.start_time_unix_nano == 9_500_000_000
    assert run.status.code == 2
    stages = [span for span in spans.values() if span.name != "run full"]
    assert {span.parent_span_id for span in stages} == {run.span_id}
    assert {span.trace_id for span in stages} == {run.trace_id}
    took = {
        (span.name, span.end_time_unix_nano - span.start_time_unix_nano, span.status.code)
        for span in stages
    }
    assert took == {
        ("stage lint", 1_000_000_000, 1),
        ("stage sim", 900_000_000, 2),
        ("stage sim", 4_123_000_000, 2),
    }


def test_the_run_is_a_child_of_the_span_that_its_post_named(receiver: Receiver) -> None:
    spans = told(receiver, _with(RUN, f"00-{TRACE}-{SPAN}-01"))
    (run,) = [span for span in spans if span.name == "run full"]
    assert run.trace_id.hex() == TRACE
    assert run.parent_span_id.hex() == SPAN


def test_a_caller_that_does_not_sample_is_followed(receiver: Receiver) -> None:
    assert told(receiver, _with(RUN, f"00-{TRACE}-{SPAN}-00")) == []


def test_an_attempt_told_twice_is_the_same_trace_and_another_attempt_another(
    receiver: Receiver,
) -> None:
    first = {(span.trace_id, span.span_id) for span in told(receiver, RUN)}
    again = {(span.trace_id, span.span_id) for span in told(receiver, RUN)}
    assert first == again
    assert len(first) == 4


def _with(run: RunSpan, traceparent: str) -> RunSpan:
    import dataclasses

    return dataclasses.replace(run, traceparent=traceparent)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n00-{TRACE}-{SPAN}-01",
    ],
)
def test_a_traceparent_that_is_none_is_ignored(header: str | None) -> None:
    assert parent_of(header) is None


def test_a_traceparent_of_a_later_standard_is_understood() -> None:
    parent = parent_of(f"01-{TRACE}-{SPAN}-03-more")
    assert parent == Parent(int(TRACE, 16), int(SPAN, 16), sampled=True)
    assert parent is not None
    assert parent.header() == f"00-{TRACE}-{SPAN}-01"


def test_without_an_endpoint_nothing_is_sent_nor_imported() -> None:
    assert isinstance(open_traces({}, version="1"), NoTraces)
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}
    assert isinstance(open_traces(environment, version="1"), NoTraces)


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    found = open_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, version="1")
    assert isinstance(found, NoTraces)
    assert "ryuzen-testops[otlp]" in caplog.text


def test_a_moment_that_is_none_hurts_nobody(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    import dataclasses

    traces = opened(receiver)
    assert isinstance(traces, OtlpTraces)
    traces.tell(dataclasses.replace(RUN, started_at="yesterday"))
    traces.close()
    assert "is not in the traces" in caplog.text


def test_a_collector_that_is_away_delays_the_end_by_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import time

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    traces = open_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, version="1")
    begun = time.monotonic()
    traces.tell(RUN)
    told_s = time.monotonic() - begun
    traces.close()
    assert told_s < 1
    assert time.monotonic() - begun < 15
