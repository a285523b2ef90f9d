"""The performance page shows what each load test told, compares it, and makes nothing up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.report_pages import checked
from tests.unit.reports.test_trends import InMemory, past

from testops.domain.performance import (
    Check,
    Latency,
    Performance,
    Point,
    RequestKind,
    Threshold,
)
from testops.domain.verdict import Verdict
from testops.reports.formats.reading import read_source
from testops.reports.imports import import_report
from testops.reports.page_text import number
from testops.reports.performance_page import (
    measured_in,
    performance_json,
    render_performance,
    usual_performance,
)
from testops.reports.trends import Band

RECORDED = Path(__file__).parents[2] / "fixtures" / "reports"
LATENCY = Latency(((50.0, 12.0), (95.0, 44.0), (99.0, 96.5)), 1.0, 15.0, 512.0)
LOAD = Performance("checkout", "testops", LATENCY, 60.0, 6000, 60, 1.0, 100.0)


def recorded(name: str) -> Performance:
    found = import_report(read_source(RECORDED / name, shown=name), root=RECORDED).performance
    assert found is not None
    return found


def words(*measured: Performance, **options: Any) -> str:
    return checked(render_performance(measured, **options)).words


@pytest.mark.parametrize(
    "name",
    ["k6-handle-summary.json", "k6-summary-export.json", "k6-points.ndjson", "hyperfoil.json"],
)
def test_a_recorded_file_shows_every_percentile_that_its_tool_told(name: str) -> None:
    measured = recorded(name)
    said = words(measured)
    for q, ms in measured.latency.percentiles:
        assert f"p{q:g}" in said
        assert number(ms) in said
    assert measured.tool in said
    assert number(measured.requests) in said


def test_limits_that_the_tool_judged_decide_where_no_gate_does() -> None:
    said = words(recorded("k6-handle-summary.json"))
    assert "Fail k6-handle-summary: http_req_duration p(50)<0.0001 does not hold." in said
    assert "fail is 200 37 4" in said
    held = replace(LOAD, thresholds=(Threshold("p95", "<500", held=True),))
    assert "Pass · every limit holds" in words(held)
    assert "Measured, and nobody set a limit" in words(LOAD)


def test_gates_of_the_run_decide_before_the_limits_of_the_tool() -> None:
    gate = {
        "stage": "load",
        "metric": "p95_ms",
        "op": "<=",
        "threshold": 40,
        "verdict": "fail",
        "value": 44.0,
        "reason": "p95_ms is 44, <= 40",
    }
    held = replace(LOAD, thresholds=(Threshold("p95", "<500", held=True),))
    said = words(held, gates=[gate, gate | {"stage": "unit", "metric": "other"}])
    assert "Fail p95_ms is 44, <= 40." in said
    assert "\N{MINUS SIGN}4 ms" in said
    assert "other" not in said


def test_percentiles_of_several_tests_are_never_put_together() -> None:
    one = replace(LOAD, name="one", latency=Latency(((95.0, 10.0),)))
    other = replace(LOAD, name="other", latency=Latency(((95.0, 30.0),)))
    said = words(one, other)
    assert "Latency p95 10 ms" in said
    assert "Latency p95 30 ms" in said
    assert " 20 " not in said
    assert "never averaged" in said


def test_kinds_of_requests_keep_their_own_percentiles_and_a_dash_where_they_have_none() -> None:
    kinds = (
        RequestKind("GET /a", Latency(((95.0, 7.0),)), 10, 0),
        RequestKind("POST /b", Latency(((99.0, 9.0),)), None, None),
    )
    said = words(replace(LOAD, kinds=kinds))
    assert "GET /a 10 0 – – 7 – –" in said
    assert "POST /b – – – – – 9 –" in said


def test_requests_that_were_due_and_not_sent_are_said_to_be_missing() -> None:
    said = words(replace(LOAD, dropped=51))
    assert "51 of 6,051 requests that were due were not sent" in said
    assert "coordinated omission" in said
    assert "coordinated omission" not in words(replace(LOAD, dropped=0))
    assert "coordinated omission" not in words(LOAD)


def test_what_was_not_measured_is_a_dash_and_no_chart() -> None:
    page = checked(render_performance([Performance("empty", "k6")]))
    assert page.words.partition("k6 Latency")[2].count("– not measured") == 4
    assert "figure" not in page.tags
    assert " 0 " not in page.words.partition("empty")[2].partition("What was")[0]
    assert "Not measured No load test left a measurement." in words()


def test_series_are_steps_over_time_from_zero_with_their_extremes_as_text() -> None:
    series = tuple(
        Point(float(at), requests_per_s=100.0 + at, errors=at % 2, p95_ms=None if at == 3 else 5.0)
        for at in range(10)
    )
    drawn = render_performance([replace(LOAD, series=series)])
    assert "3.0 s – – – 103 1" in checked(drawn).words
    assert "requests a second: from 100/s to 109/s in 10 intervals." in drawn
    rate = drawn.partition("Throughput over time of checkout")[2].partition("</figure>")[0]
    path = rate.partition('class="stroke" d="')[2].partition('"')[0]
    assert path.count("H") == 9
    assert "L" not in path
    latency = drawn.partition("Latency over time of checkout")[2].partition("</figure>")[0]
    # Where an interval measured nothing the line is broken, not joined.
    assert latency.partition('class="stroke" d="')[2].partition('"')[0].count("M") == 2


def test_a_histogram_is_drawn_from_its_lower_edges() -> None:
    latency = replace(LATENCY, histogram=((1.0, 10), (2.0, 40), (4.0, 5)))
    drawn = render_performance([replace(LOAD, latency=latency)])
    assert "55 requests in 3 classes up to 4 ms." in drawn
    figure = drawn.partition("How often each latency of checkout")[2].partition("</figure>")[0]
    path = figure.partition('class="stroke" d="')[2].partition('"')[0]
    first, second = path.removeprefix("M").split("H")[:2]
    # The first class is as high as its own count from the very beginning.
    assert float(first.split()[1]) > float(second.split("V")[1])


def test_it_is_compared_with_what_passed_runs_usually_measure() -> None:
    runs = [past(n, metrics={"p95_ms": 30.0 + n % 3, "p99_ms": 96.0}) for n in range(9)]
    runs += [past(20 + n, Verdict.FAIL, {"p95_ms": 900.0}) for n in range(9)]
    usual = usual_performance(InMemory(runs), suite="core", profile=None)
    assert usual["p95_ms"].middle == 31
    said = words(LOAD, usual=usual)
    assert "p95_ms 44 ms 26.55 ms to 35.45 ms higher than usual, +41.9% of the median" in said
    assert "p99_ms 96.5 ms 96 ms higher than usual, +0.5% of the median" in said
    assert usual_performance(InMemory([]), suite="core", profile=None) == {}
    assert "last passed runs" not in words(LOAD)
    assert "of the median" not in words(LOAD, usual={"p50_ms": Band(0, 0, 0, 5)})


def test_the_json_beside_the_page_gives_the_measurements_back() -> None:
    import json

    every = [LOAD, recorded("k6-points.ndjson"), recorded("hyperfine-2.json")]
    assert measured_in(json.loads(performance_json(every))) == every


def test_far_too_much_is_a_small_page_and_names_are_text() -> None:
    hostile = "<img src=x onerror=alert(1)>\u202e" + "x" * 100_000
    kinds = tuple(RequestKind(hostile, LATENCY, 1, 0) for _ in range(500))
    measured = replace(
        LOAD,
        name=hostile,
        tool=hostile,
        kinds=kinds,
        checks=tuple(Check(hostile, 1, 1) for _ in range(5000)),
        thresholds=tuple(Threshold(hostile, hostile, held=False) for _ in range(5000)),
        series=tuple(Point(float(at), requests_per_s=float(at)) for at in range(3600)),
        notes=(hostile,) * 5000,
    )
    page = checked(render_performance([measured] * 25))
    assert "img" not in page.tags
    assert "and 460 more kinds of requests" in page.words
    assert "and 13 more load tests" in page.words
