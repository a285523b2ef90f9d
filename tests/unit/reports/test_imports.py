"""Reports of other tools: real files become the numbers in them, and nothing becomes a 0."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from testops.domain.errors import BadInput
from testops.domain.performance import Performance
from testops.domain.test_case import Outcome
from testops.reports.formats import reading
from testops.reports.formats.reading import DEPTH_MAX, Source, read_source
from testops.reports.imports import Format, Imported, import_report, kept, recognised

FILES = Path(__file__).parents[2] / "fixtures" / "reports"
REAL = {
    "pytest-junit.xml": Format.JUNIT,
    "coverage-shard-a.xml": Format.COBERTURA,
    "coverage-shard-a.info": Format.LCOV,
    "ruff.sarif": Format.SARIF,
    "k6-handle-summary.json": Format.K6,
    "k6-summary-export.json": Format.K6,
    "k6-points.ndjson": Format.K6_POINTS,
    "hyperfoil.json": Format.HYPERFOIL,
    "hyperfine-1.json": Format.HYPERFINE,
    "hyperfine-2.json": Format.HYPERFINE,
}


def imported(name: str, root: Path = Path("/nowhere")) -> Imported:
    return import_report(read_source(FILES / name, shown=name), root=root)


def of(value: Any, name: str = "given.json", asked: Format | None = None) -> Imported:
    text = value if isinstance(value, str) else json.dumps(value)
    return import_report(Source(name, text.encode()), root=Path("/nowhere"), asked=asked)


def metrics(one: Imported) -> dict[str, float]:
    return {metric.name: metric.value for metric in one.metrics}


def k6(name: str = "k6-handle-summary.json") -> Any:
    return json.loads((FILES / name).read_text())


@pytest.mark.parametrize(("name", "wanted"), REAL.items(), ids=REAL)
def test_a_real_file_is_recognised_and_measures_something(name: str, wanted: Format) -> None:
    one = imported(name)
    assert one.format is wanted
    assert one.metrics
    assert json.loads(kept(one, run_id=None))["digest"] == one.digest


# --- k6 -----------------------------------------------------------------------------------------


def test_p95_is_the_one_that_k6_wrote() -> None:
    written = k6()["metrics"]["http_req_duration"]["values"]["p(95)"]
    assert written > 0
    assert metrics(imported("k6-handle-summary.json"))["p95_ms"] == written
    exported = k6("k6-summary-export.json")["metrics"]["http_req_duration"]["p(95)"]
    assert metrics(imported("k6-summary-export.json"))["p95_ms"] == exported


def test_a_summary_without_p95_has_none_and_says_which_option_would_give_it() -> None:
    summary = k6()
    values = summary["metrics"]["http_req_duration"]["values"]
    for key in ("p(90)", "p(95)", "p(99)"):
        del values[key]
    one = of(summary)
    assert "p95_ms" not in metrics(one)
    assert "summaryTrendStats" in one.notes[0]


def test_the_key_that_no_k6_writes_measures_nothing() -> None:
    summary = k6()
    summary["metrics"]["http_req_duration"] = {"percentiles": {"p95": 12.0}}
    one = of(summary)
    assert not [name for name in metrics(one) if name.startswith("p")]


def test_a_percentile_that_is_null_is_absent() -> None:
    summary = k6()
    summary["metrics"]["http_req_duration"]["values"]["p(95)"] = None
    assert "p95_ms" not in metrics(of(summary))


def test_thresholds_mean_the_same_though_the_two_files_spell_them_in_opposite_senses() -> None:
    for name in ("k6-handle-summary.json", "k6-summary-export.json"):
        performance = imported(name).performance
        assert performance is not None
        held = {limit.rule: limit.held for limit in performance.thresholds}
        assert held == {"p(95)<500": True, "p(50)<0.0001": False, "rate<0.5": True}


def test_errors_are_the_requests_that_failed_not_those_that_passed() -> None:
    found = metrics(imported("k6-summary-export.json"))
    assert (found["requests"], found["errors"], found["error_percent"]) == (40, 4, 10)
    assert (found["checks_failed"], found["check_percent"]) == (4, 90)


def test_a_summary_without_http_req_failed_does_not_claim_that_nothing_failed() -> None:
    summary = k6()
    del summary["metrics"]["http_req_failed"]
    one = of(summary)
    assert "error_percent" not in metrics(one)
    assert one.notes == ("it has no http_req_failed: errors are unknown",)


def test_points_give_the_latencies_and_how_they_moved() -> None:
    performance = imported("k6-points.ndjson").performance
    assert performance is not None
    lines = [json.loads(line) for line in (FILES / "k6-points.ndjson").read_text().splitlines()]
    sent = [
        line["data"]["value"]
        for line in lines
        if line["type"] == "Point" and line["metric"] == "http_req_duration"
    ]
    assert performance.samples_ms == tuple(sent)
    assert performance.latency.max_ms == max(sent)
    assert sum(point.requests or 0 for point in performance.series) == len(sent)
    # So few cannot tell the 99th: it would be the largest under another name.
    assert performance.latency.at(99.0) is None


def test_points_that_were_cut_off_are_refused() -> None:
    text = (FILES / "k6-points.ndjson").read_text()[:-40]
    with pytest.raises(BadInput, match=r"points: line \d+: not a point of k6"):
        import_report(Source("points", text.encode()), root=Path("/"))


# --- other load tools ---------------------------------------------------------------------------


def test_hyperfoil_counts_no_warm_up_and_reads_nanoseconds() -> None:
    one = imported("hyperfoil.json")
    assert one.performance is not None
    assert one.performance.name == "hello"
    found = metrics(one)
    assert found["p50_ms"] == pytest.approx(0.737279)
    assert "p95_ms" not in found
    assert (found["requests"], found["errors"]) == (1180, 12)
    assert found["requests_per_s"] == 118


def test_hyperfoil_zeros_of_a_phase_without_an_answer_are_no_latencies() -> None:
    run = json.loads((FILES / "hyperfoil.json").read_text())
    summary = run["stats"][1]["total"]["summary"]
    summary |= {"responseCount": 0, "percentileResponseTime": {"99.0": 0}, "meanResponseTime": 0}
    assert not [name for name in metrics(of(run)) if name.endswith("_ms")]


def test_hyperfine_commands_keep_their_own_times() -> None:
    performance = imported("hyperfine-2.json").performance
    assert performance is not None
    assert [kind.name for kind in performance.kinds] == ["true", "sleep 0.01"]
    assert (performance.kinds[1].latency.min_ms or 0) > 10
    assert performance.latency.percentiles == ()
    assert metrics(imported("hyperfine-1.json"))["errors"] == 1


def test_a_measurement_survives_being_kept() -> None:
    for name in ("k6-handle-summary.json", "k6-points.ndjson", "hyperfoil.json"):
        one = imported(name)
        body = json.loads(kept(one, run_id="abc"))
        assert Performance.from_json(body["performance"]) == one.performance
        assert body["run"] == "abc"


# --- tests, coverage, findings ------------------------------------------------------------------


def test_junit_of_pytest_tells_each_outcome() -> None:
    one = imported("pytest-junit.xml")
    outcomes = {case.name: (case.outcome, case.said) for case in one.tests}
    assert outcomes == {
        "test_plus": (Outcome.PASSED, ""),
        "test_wrong": (Outcome.FAILED, ""),
        "test_skipped": (Outcome.SKIPPED, ""),
        "test_expected": (Outcome.SKIPPED, "xfailed"),
        "test_error": (Outcome.ERROR, ""),
    }
    assert metrics(one)["failed"] == 2


def test_sarif_of_ruff_is_told_in_paths_of_the_project() -> None:
    one = imported("ruff.sarif", Path("/build/proj"))
    assert {finding.path for finding in one.findings} == {"app/bad.py"}
    assert metrics(one) == {
        "findings": 3,
        "findings_error": 3,
        "findings_warning": 0,
        "findings_note": 0,
    }


def test_a_tool_that_says_it_broke_down_counts_nothing() -> None:
    log = json.loads((FILES / "ruff.sarif").read_text())
    log["runs"][0]["invocations"] = [{"executionSuccessful": False}]
    one = of(log)
    assert one.metrics == ()
    assert one.notes == ("ruff did not get through: nothing is counted",)
    assert of({"version": "2.1.0", "runs": []}).metrics == ()


def test_suppressed_and_passed_results_are_no_findings() -> None:
    log = json.loads((FILES / "ruff.sarif").read_text())
    results = log["runs"][0]["results"]
    results[0]["suppressions"] = [{"kind": "inSource"}]
    results[1]["kind"] = "pass"
    one = of(log)
    assert len(one.findings) == 1
    assert one.notes == ("1 suppressed findings are left out",)


def test_lcov_and_cobertura_of_one_run_say_the_same() -> None:
    assert metrics(imported("coverage-shard-a.info")) == metrics(imported("coverage-shard-a.xml"))


# --- files that cannot be trusted ---------------------------------------------------------------

LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<testsuites><testsuite name="&b;"/></testsuites>"""
OUTSIDE = """<?xml version="1.0"?>
<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><testsuites><x>&a;</x></testsuites>"""
# As Java's Cobertura begins: a DOCTYPE alone is harmless, and must not be fetched.
WITH_DTD = """<?xml version="1.0"?>
<!DOCTYPE coverage SYSTEM "http://192.0.2.1/coverage-04.dtd">
<coverage line-rate="0"><packages/></coverage>"""


@pytest.mark.parametrize("text", [LAUGHS, OUTSIDE], ids=["laughs", "outside"])
def test_entities_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"declares entities.*write it without a DTD"):
        of(text, "bomb.xml")


def test_a_doctype_alone_is_read_and_not_fetched() -> None:
    assert of(WITH_DTD).format is Format.COBERTURA


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty"),
        (b"\x00\x01\x02", "nobody knows this format"),
        (b"<html><body/></html>", "nobody knows XML that begins with <html>"),
        (b'{"some": "json"}', "nobody knows JSON of this shape"),
        (b'{"metrics": {"iterations": ', "not valid JSON"),
        (b"<testsuites><testsuite>", "not valid XML"),
        ('{"a": "ü"}'.encode("latin-1"), "not UTF-8 at byte"),
        ("TN:\n".encode("utf-16"), "not UTF-8 but UTF-16"),
        (b'<?xml version="1.0" encoding="klingon"?><testsuites/>', "XML"),
        (b"SF:a.py\nDA:1,1\n", "the record of a.py does not end"),
        (b"SF:a.py\nDA:one,1\nend_of_record\n", "line 2: DA:one,1 cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_to_do(content: bytes, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        import_report(Source("given", content), root=Path("/nowhere"))
    assert problem in str(caught.value)
    assert str(caught.value).startswith("given")
    assert caught.value.fix


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"metrics": {"iterations": {"count": "many"}, "http_reqs": {"count": "many"}}}, "/count"),
        ({"metrics": {"http_req_duration": {"values": {"p(95)": "fast"}}}}, "/values/p(95)"),
        ({"metrics": {"http_req_duration": [1]}}, "/metrics/http_req_duration"),
        (
            {"reportFormat": "CTRF", "results": {"tests": [{"name": "a", "status": "ok"}]}},
            "/status",
        ),
        ({"version": "2.1.0", "runs": [{"results": []}]}, "/runs/0/tool/driver/name"),
        ({"results": [{"command": "a", "times": ["x"]}]}, "/results/0/times"),
        (
            {
                "version": "2.1.0",
                "runs": [
                    {
                        "tool": {"driver": {"name": "t"}},
                        "results": [
                            {
                                "locations": [
                                    {"physicalLocation": {"artifactLocation": {"uri": "a://["}}}
                                ]
                            }
                        ],
                    }
                ],
            },
            "/artifactLocation/uri",
        ),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(value: Any, place: str) -> None:
    with pytest.raises(BadInput) as caught:
        of(value)
    assert place in caught.value.where
    assert caught.value.pointer is not None


def test_numbers_in_xml_are_not_guessed_at() -> None:
    head = '<testsuite name="s"><testcase name="t" time="{}"/></testsuite>'
    assert of(head.format("1,234.5")).tests[0].duration_s == 1234.5
    assert of(head.format("")).tests[0].duration_s is None
    assert of(head.format("NaN")).tests[0].duration_s is None
    with pytest.raises(BadInput, match="'0,5' is not a number"):
        of(head.format("0,5"))


def test_depth_and_size_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = DEPTH_MAX + 1
    with pytest.raises(BadInput, match="nested too deeply"):
        of("[" * deep + "]" * deep)
    with pytest.raises(BadInput, match="nest at most"):
        of('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(BadInput, match="nested too deeply"):
        of("<testsuite>" * deep + "</testsuite>" * deep)
    monkeypatch.setattr(reading, "SIZE_MAX", 10)
    (tmp_path / "large").write_text("x" * 11)
    with pytest.raises(BadInput, match="larger than 10 bytes"):
        read_source(tmp_path / "large", shown="large")
    monkeypatch.setattr(reading, "ELEMENTS_MAX", 2)
    with pytest.raises(BadInput, match="more than 2 elements"):
        of('<testsuite name="s"><testcase name="a"/><testcase name="b"/></testsuite>')


def test_what_somebody_says_it_is_goes_before_what_it_looks_like() -> None:
    with pytest.raises(BadInput, match="is not JUnit"):
        of("<coverage line-rate='1'/>", asked=Format.JUNIT)
    assert (
        recognised(Source("x", b'\xef\xbb\xbf  {"results":{"tool":{},"tests":[]}}')) is Format.CTRF
    )


def test_paths_of_another_machine_find_their_file_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "calc.py").write_text("")
    shutil.copy(FILES / "coverage-shard-a.xml", tmp_path / "coverage.xml")
    coverage = imported("coverage-shard-a.xml", tmp_path).coverage
    assert coverage is not None
    assert list(coverage.files) == ["app/calc.py"]
