"""Tests and load measurements as values: nothing is lost in JSON, and nothing unmeasured is 0."""

from testops.domain.performance import (
    Check,
    Latency,
    Performance,
    Point,
    RequestKind,
    Threshold,
    percentile_metric,
)
from testops.domain.test_case import (
    OUTPUT_MAX,
    Outcome,
    TestCase,
    Try,
    counted,
    shortened,
)

CASE = TestCase(
    "tests/test_a.py::test_b",
    Outcome.PASSED,
    suite="unit",
    group="tests.test_a",
    file="tests/test_a.py",
    line=3,
    duration_s=0.25,
    tries=(Try(Outcome.FAILED, "assert 1 == 2", 0.1),),
    stdout="said",
    properties=(("ticket", "T-1"),),
)
LOAD = Performance(
    "checkout",
    "k6",
    Latency(((50.0, 1.5), (95.0, 7.25)), min_ms=0.5, histogram=((1.0, 3), (10.0, 2))),
    requests=5,
    errors=1,
    error_percent=20.0,
    checks=(Check("is 200", 4, 1),),
    thresholds=(Threshold("http_req_duration", "p(95)<5", held=False),),
    kinds=(RequestKind("GET /", Latency(((99.0, 8.0),)), requests=5),),
    series=(Point(0.0, requests=5, p95_ms=7.25),),
    samples_ms=(1.0, 2.0),
)


def test_a_test_case_comes_back_from_json() -> None:
    assert TestCase.from_json(CASE.to_json()) == CASE


def test_a_test_that_passed_after_a_failed_try_is_flaky_and_counted_once() -> None:
    plain = TestCase("x", Outcome.ERROR)
    assert CASE.flaky
    assert not plain.flaky
    assert counted([CASE, plain]) == {
        "tests": 2,
        "passed": 1,
        "failed": 0,
        "error": 1,
        "skipped": 0,
        "flaky": 1,
    }


def test_a_text_that_is_cut_says_so_and_keeps_both_ends() -> None:
    case = TestCase("x", Outcome.PASSED, stdout="a" * OUTPUT_MAX + "the end").bounded()
    assert case.stdout.startswith("aaa")
    assert case.stdout.endswith("the end")
    assert "7 characters left out" in case.stdout
    assert shortened("short", 10) == "short"


def test_a_measurement_comes_back_from_json() -> None:
    assert Performance.from_json(LOAD.to_json()) == LOAD


def test_metrics_have_the_names_that_gates_use_and_only_what_was_measured() -> None:
    metrics = {metric.name: metric.value for metric in LOAD.metrics("k6.json")}
    assert metrics == {
        "p50_ms": 1.5,
        "p95_ms": 7.25,
        "latency_min_ms": 0.5,
        "requests": 5,
        "errors": 1,
        "error_percent": 20.0,
        "checks_failed": 1,
        "check_percent": 80.0,
        "thresholds_failed": 1,
    }
    assert Performance("nothing", "k6").metrics("k6.json") == ()
    assert percentile_metric(99.9) == "p99_9_ms"
