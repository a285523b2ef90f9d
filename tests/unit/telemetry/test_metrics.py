import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from testops.telemetry.http import MeasuredApp, Message, Receive, Scope, Send
from testops.telemetry.metrics import Metrics, RunFacts, StageFacts

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"


class Facts:
    """What a gateway may say."""

    viewers = 3
    viewers_slow = 1
    rings = 2
    ring_bytes = 1000
    sent_bytes = 123456
    coalesced = 7
    sampled = 8
    cut = 1


RUNS = RunFacts(
    states={"queued": 2, "finished": 5},
    verdicts={"pass": 5},
    oldest_queued_s=12.5,
    executors={"runner": 1},
    takeovers=1,
    stages=[StageFacts("sim", "finished", 5, 2.5), StageFacts("sim", "lost", 1, 0.5)],
)


def full() -> Metrics:
    metrics = Metrics(version="0.1.0", engine_version="2")
    metrics.watch_gateway(Facts)
    metrics.watch_runs(lambda: RUNS)
    metrics.database_failed("locked")
    metrics.event_read(lag_s=0.003)
    metrics.source_failed("nobody")
    metrics.request_answered(method="GET", route="/v1/x", status=200, seconds=0.1)
    return metrics


def families(metrics: Metrics) -> dict[str, Any]:
    content_type, page = metrics.page()
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    parse: Any = text_string_to_metric_families
    return {family.name: family for family in parse(page.decode())}


def value(metrics: Metrics, sample: str, **labels: str) -> float:
    for family in families(metrics).values():
        for one in family.samples:
            if one.name == sample and one.labels == labels:
                return float(one.value)
    raise AssertionError(f"no {sample} {labels}")


def test_the_page_of_the_reference_and_the_page_of_the_server_are_one() -> None:
    rows = re.findall(r"^\| `(testops_\w+)` \| (\w+) \| ([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    written = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(written) == len(rows), "a name stands there twice"
    assert written == {
        name: (family.type, _labels(family)) for name, family in families(full()).items()
    }


def _labels(family: Any) -> set[str]:
    return set(family.samples[0].labels) - {"le"}


def test_every_family_says_what_it_is() -> None:
    assert all(family.documentation for family in families(full()).values())


def test_what_was_counted_is_on_the_page() -> None:
    metrics = full()
    assert value(metrics, "testops_sse_sent_bytes_total") == 123456
    assert value(metrics, "testops_runs", state="queued") == 2
    assert value(metrics, "testops_queue_age_seconds") == 12.5
    assert value(metrics, "testops_stage_executions", stage="sim", outcome="lost") == 1
    assert value(metrics, "testops_database_failures_total", kind="locked") == 1
    assert value(metrics, "testops_event_lag_seconds_bucket", le="0.005") == 1


def test_an_older_prometheus_gets_the_older_text() -> None:
    content_type, page = full().page("text/plain;version=0.0.4")
    assert content_type.startswith("text/plain; version=0.0.4")
    assert b"# EOF" not in page


def test_a_source_that_does_not_answer_is_missing_and_counted() -> None:
    metrics = Metrics(version="0.1.0", engine_version="2")

    def broken() -> RunFacts:
        raise OSError("the database is away")

    metrics.watch_runs(broken)
    metrics.watch_gateway(Facts)
    found = families(metrics)
    assert "testops_runs" not in found
    assert "testops_sse_viewers" in found
    assert value(metrics, "testops_metrics_source_failures_total", source="runs") >= 1


class SteppingClock:
    """Half a second for each look at it."""

    def __init__(self) -> None:
        self.looks = 0

    def now(self) -> Any:
        raise NotImplementedError

    def elapsed_s(self) -> float:
        self.looks += 1
        return self.looks * 0.5


class Route:
    path = "/v1/test-runs/{run_id}"


async def _ask(app: Any, metrics: Metrics, method: str = "GET") -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": method, "path": "/v1/test-runs/7f3a"}
    await MeasuredApp(app, metrics, SteppingClock())(scope, receive, send)
    return sent


def _run(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


def test_a_request_is_counted_by_its_route_and_never_by_its_path() -> None:
    metrics = Metrics(version="0.1.0", engine_version="2")

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        scope["route"] = Route()
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sent = _run(_ask(app, metrics))
    assert [one["type"] for one in sent] == ["http.response.start", "http.response.body"]
    labels = {"method": "GET", "route": Route.path, "status": "202"}
    assert value(metrics, "testops_http_requests_total", **labels) == 1
    assert value(metrics, "testops_http_request_seconds_sum", route=Route.path) == 0.5
    assert b"7f3a" not in metrics.page()[1]


def test_a_method_that_nobody_defined_does_not_become_a_label() -> None:
    metrics = Metrics(version="0.1.0", engine_version="2")

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 405, "headers": []})

    for number in range(50):
        _run(_ask(app, metrics, method=f"SCAN{number}"))
    labels = {"method": "other", "route": "none", "status": "405"}
    assert value(metrics, "testops_http_requests_total", **labels) == 50
    assert b"SCAN" not in metrics.page()[1]


def test_an_application_that_raises_is_counted_as_a_500_and_still_raises() -> None:
    metrics = Metrics(version="0.1.0", engine_version="2")

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        _run(_ask(app, metrics))
    labels = {"method": "GET", "route": "none", "status": "500"}
    assert value(metrics, "testops_http_requests_total", **labels) == 1
