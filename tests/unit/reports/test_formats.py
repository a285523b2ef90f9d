"""What we write is what other tools read, comes back whole, and is the same bytes each time."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from testops.domain.test_case import OUTPUT_MAX, Outcome, TestCase, Try
from testops.reports.coverage import Branches, Coverage, Line, merged
from testops.reports.formats.cobertura import read_cobertura, write_cobertura
from testops.reports.formats.ctrf import SPEC_VERSION, read_ctrf, write_ctrf
from testops.reports.formats.junit import read_junit, write_junit
from testops.reports.formats.lcov import read_lcov
from testops.reports.formats.reading import Source, read_source

FILES = Path(__file__).parents[2] / "fixtures" / "reports"
NOWHERE = Path("/nowhere")
FAILED = Try(Outcome.FAILED, "assert 1 == 2", 0.25, "E   assert 1 == 2")
CASES = (
    TestCase("a.py::test_good", Outcome.PASSED, suite="unit", group="a", file="a.py", line=3),
    TestCase("a.py::test_bad", Outcome.FAILED, "unit", "a", message="m", detail="d", stdout="o"),
    TestCase("a.py::test_error", Outcome.ERROR, "unit", "a", duration_s=0.5, stderr="e"),
    TestCase("a.py::test_skip", Outcome.SKIPPED, "unit", "a", message="why", said="xfailed"),
    TestCase("a.py::test_again", Outcome.PASSED, "unit", "a", duration_s=1.0, tries=(FAILED,)),
    TestCase("a.py::test_twice", Outcome.FAILED, "unit", "a", message="m", tries=(FAILED,)),
    TestCase("echo", Outcome.PASSED, suite="sim", properties=(("executions", "200"),)),
)


def junit(*cases: TestCase) -> ET.Element:
    return ET.fromstring(write_junit(cases, name="core"))


# --- JUnit and CTRF -----------------------------------------------------------------------------


def test_junit_comes_back_as_it_was_written() -> None:
    back = read_junit(Source("junit.xml", write_junit(CASES, name="core").encode()))
    for was, now in zip(CASES, back, strict=True):
        # What the dialect has no place for is how long an earlier try took.
        tries = tuple(replace(one, duration_s=None) for one in was.tries)
        said = replace(was, tries=tries, detail=was.detail or was.message)
        assert now == said


def test_junit_counts_agree_with_its_tests_and_suites_stand_apart() -> None:
    root = junit(*CASES)
    assert root.attrib == {
        "name": "core",
        "tests": "7",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
        "time": "1.500",
    }
    assert [suite.get("name") for suite in root] == ["unit", "sim"]
    assert [suite.get("tests") for suite in root] == ["6", "1"]


def test_a_repeated_test_says_flaky_where_it_passed_and_rerun_where_it_did_not() -> None:
    root = junit(*CASES)
    assert len(root.findall(".//flakyFailure")) == 1
    assert len(root.findall(".//rerunFailure")) == 1
    # Readers count the tests, and an earlier try is none.
    assert len(root.findall(".//testcase")) == len(CASES)


def test_what_xml_cannot_hold_is_still_a_readable_report() -> None:
    nasty = "\x1b[31mred\x1b[0m \x00 \ud800 ]]> <&> \x08"
    case = TestCase(f"t[{nasty}]", Outcome.FAILED, message=nasty, detail=nasty, stdout=nasty)
    found = junit(case)[0][0]
    assert found.findtext("failure") == "red \\x00 \\xd800 ]]> <&> \\x08"


def test_what_a_test_printed_is_bounded() -> None:
    text = junit(TestCase("t", Outcome.FAILED, stdout="x" * 10 * OUTPUT_MAX))[0][0]
    assert len(text.findtext("system-out") or "") < OUTPUT_MAX + 100


def test_reports_of_equal_tests_are_equal_bytes() -> None:
    assert write_junit(CASES, name="core") == write_junit(CASES, name="core")
    assert "timestamp" not in write_junit(CASES, name="core")
    assert "hostname" not in write_junit(CASES, name="core")
    assert write_ctrf(CASES) == write_ctrf(CASES)


def test_ctrf_comes_back_as_it_was_written() -> None:
    assert read_ctrf(Source("ctrf.json", write_ctrf(CASES).encode())) == list(CASES)


def test_ctrf_has_what_its_schema_requires_and_tells_flaky_tests() -> None:
    report = json.loads(
        write_ctrf(
            CASES,
            started_at="2026-01-02T03:04:05+00:00",
            finished_at="2026-01-02T03:04:06.5+00:00",
        )
    )
    assert (report["reportFormat"], report["specVersion"]) == ("CTRF", SPEC_VERSION)
    summary = report["results"]["summary"]
    assert summary["stop"] - summary["start"] == 1500
    assert (summary["tests"], summary["failed"], summary["flaky"]) == (7, 3, 1)
    tests = report["results"]["tests"]
    assert {"name", "status", "duration"} <= set.intersection(*map(set, tests))
    again = next(test for test in tests if test["name"].endswith("test_again"))
    assert (again["flaky"], again["retries"]) == (True, 1)
    assert again["retryAttempts"][0]["status"] == "failed"


def test_a_ctrf_test_that_its_runner_could_not_judge_does_not_pass() -> None:
    report = json.loads(write_ctrf(CASES[:1]))
    report["results"]["tests"][0] |= {"status": "other", "rawStatus": "crashed"}
    (case,) = read_ctrf(Source("ctrf.json", json.dumps(report).encode()))
    assert case.outcome is Outcome.ERROR


def test_tests_told_twice_in_a_row_are_tries_of_one() -> None:
    text = """<testsuite name="s">
      <testcase classname="a" name="t"><failure message="no"/></testcase>
      <testcase classname="a" name="t"/>
    </testsuite>"""
    (case,) = read_junit(Source("x", text.encode()))
    assert case.flaky
    assert case.tries[0].message == "no"


# --- coverage -----------------------------------------------------------------------------------


def cobertura(name: str) -> Coverage:
    return read_cobertura(read_source(FILES / name, shown=name), root=NOWHERE)


def test_shards_merge_to_what_coverage_itself_combines_them_to() -> None:
    together = merged([cobertura("coverage-shard-a.xml"), cobertura("coverage-shard-b.xml")])
    combined = cobertura("coverage-combined.xml")
    assert together.lines == combined.lines
    assert together.branches == combined.branches
    (file,) = together.files
    # Neither shard takes both ways out of line 6; together they do.
    assert together.files[file][6].branches == Branches(2, 2, frozenset())


def test_hits_are_added_and_the_order_of_shards_leaves_no_trace() -> None:
    one, two = cobertura("coverage-shard-a.xml"), cobertura("coverage-shard-b.xml")
    assert write_cobertura(merged([one, two])) == write_cobertura(merged([two, one]))
    (file,) = one.files
    assert merged([one, two]).files[file][4].hits == 2


def test_lcov_shards_merge_to_the_same() -> None:
    shards = [
        read_lcov(read_source(FILES / f"coverage-shard-{one}.info", shown=one), root=NOWHERE)
        for one in "ab"
    ]
    assert merged(shards).branches == cobertura("coverage-combined.xml").branches


def test_branches_that_two_tools_name_differently_are_not_taken_for_all() -> None:
    lcov = read_lcov(read_source(FILES / "coverage-shard-a.info", shown="a"), root=NOWHERE)
    name = next(iter(lcov.files))
    # The same shard in both spellings: nothing new was executed.
    other = Coverage({name: dict(next(iter(cobertura("coverage-shard-a.xml").files.values())))})
    assert merged([lcov, other]).branches == lcov.branches


def test_a_merged_file_can_be_merged_again() -> None:
    parts = [cobertura("coverage-shard-a.xml"), cobertura("coverage-shard-b.xml")]
    once = write_cobertura(merged(parts))
    back = read_cobertura(Source("merged.xml", once.encode()), root=NOWHERE)
    assert write_cobertura(back) == once


def test_rates_are_recomputed_and_rounded_down() -> None:
    lines = {number: Line(int(number > 1)) for number in range(1, 100_002)}
    root = ET.fromstring(write_cobertura(Coverage({"big.py": lines})))
    assert root.get("line-rate") == "0.9999"
    assert (root.get("lines-covered"), root.get("lines-valid")) == ("100000", "100001")
    empty = ET.fromstring(write_cobertura(Coverage({"none.py": {}})))
    assert empty.get("line-rate") == "0"


def test_nothing_to_cover_has_no_percentage() -> None:
    names = {metric.name for metric in Coverage({"none.py": {}}).metrics("x")}
    assert names == {"lines", "lines_covered"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('<line number="1"/>', "<line hits>"),
        ('<line hits="1"/>', "<line number>"),
        ('<line number="x" hits="1"/>', "'x' is not a number"),
        (
            '<line number="1" hits="1" branch="true" condition-coverage="50% (2/1)"/>',
            "2 of 1 branches",
        ),
    ],
)
def test_a_line_that_makes_no_sense_is_named(line: str, problem: str) -> None:
    text = f'<coverage line-rate="1"><class filename="a.py">{line}</class></coverage>'
    with pytest.raises(Exception, match=problem):
        read_cobertura(Source("c.xml", text.encode()), root=NOWHERE)
