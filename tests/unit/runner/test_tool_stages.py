"""Lint and unit with the real ruff, mypy and pytest: green, red, and unable to look are three."""

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testops.domain.run import Run
from testops.domain.stage import StageName, StageReport, StageState
from testops.domain.verdict import ExitCode, Verdict
from testops.runner.projects import Project
from testops.runner.service import Request, Tools, answer
from testops.telemetry.clock import SystemClock

HEAD = "schema: 1\nname: core\nseeds: {sim: 42, chaos: 7}\nstages:\n"
LINT = (
    HEAD
    + "  lint:\n    ruff: {paths: [app]}\n    format: {paths: [app]}\n    mypy: {paths: [app]}\n"
)
UNIT = HEAD + "  unit: {paths: [tests]}\n"
GOOD = (
    '"""A module."""\n\n\ndef add(a: int, b: int) -> int:\n    """The sum."""\n    return a + b\n'
)

Qualify = Callable[..., StageReport]


@pytest.fixture
def qualify(project: Project, tools: Tools, request_for: Callable[..., Request]) -> Qualify:
    """Run the suite of that text, and give back the report of its one stage."""
    real = replace(tools, clock=SystemClock())

    def run(text: str, **changes: Any) -> StageReport:
        (project.suites / "core.yaml").write_text(text)
        done: Run = answer(
            request_for(**changes), real, listener=lambda _: None, told=lambda _: None
        )
        return next(report for report in done.stages if report.verdict is not None)

    return run


@pytest.fixture
def app(project: Project) -> Path:
    (project.root / "app").mkdir()
    (project.root / "ruff.toml").write_text('[lint]\nselect = ["F"]\n')
    module = project.root / "app" / "calc.py"
    module.write_text(GOOD)
    return module


@pytest.fixture
def tests(project: Project) -> Path:
    (project.root / "tests").mkdir()
    return project.root / "tests" / "test_it.py"


def value(report: StageReport, name: str) -> float:
    return report.metrics[name].value


# --- lint ---------------------------------------------------------------------------------------


def test_clean_code_has_no_errors(app: Path, qualify: Qualify) -> None:
    report = qualify(LINT)
    assert (report.verdict, value(report, "errors")) == (Verdict.PASS, 0)


def test_each_linter_is_counted_and_sarif_names_paths_of_the_project(
    app: Path, project: Project, qualify: Qualify
) -> None:
    app.write_text('import os\ny: int = "a"\nx=1\n')
    report = qualify(LINT)
    assert report.verdict is Verdict.FAIL
    counts = {name: metric.value for name, metric in report.metrics.items()}
    assert counts == {"errors": 3, "ruff_findings": 1, "format_findings": 1, "mypy_errors": 1}
    sarif = json.loads((project.reports / "lint.sarif").read_text())
    assert [run["tool"]["driver"]["name"] for run in sarif["runs"]] == [
        "ruff",
        "ruff format",
        "mypy",
    ]
    for run in sarif["runs"]:
        place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
        assert place == {"uri": "app/calc.py", "uriBaseId": "%SRCROOT%"}


def test_a_syntax_error_is_a_finding(app: Path, qualify: Qualify) -> None:
    app.write_text("x = (1\n")
    report = qualify(LINT)
    assert report.verdict is Verdict.FAIL
    assert {finding.rule for finding in report.findings} >= {"invalid-syntax", "syntax"}


def test_a_missing_path_is_no_finding_but_a_tool_error(app: Path, qualify: Qualify) -> None:
    report = qualify(LINT.replace("[app]", "[gone]"))
    assert (report.state, report.verdict) == (StageState.TOOL_ERROR, Verdict.INCONCLUSIVE)
    assert report.reason == "ruff: there is no gone"
    assert len(report.attempts) == 1


def test_a_broken_configuration_is_a_tool_error(
    app: Path, project: Project, qualify: Qualify
) -> None:
    (project.root / "ruff.toml").write_text("[lint]\nselect = 7\n")
    report = qualify(LINT)
    assert report.state is StageState.TOOL_ERROR
    assert "ruff failed (exit 2)" in report.reason
    assert len(report.attempts) == 2


def test_an_interpreter_without_the_linter_is_named(
    app: Path, project: Project, qualify: Qualify
) -> None:
    bare = project.root / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    report = qualify(LINT.replace("  lint:\n", "  lint:\n    python: ./bare-python\n"))
    assert report.state is StageState.TOOL_ERROR
    assert "ruff is not installed in" in report.reason


# --- unit ---------------------------------------------------------------------------------------

MANY = """
import pytest

def test_passes(): pass
def test_fails(): assert 1 == 2
@pytest.mark.skip
def test_skipped(): pass
@pytest.mark.xfail
def test_expected_to_fail(): assert False
@pytest.mark.xfail
def test_passes_against_expectation(): pass
@pytest.fixture
def broken(): raise RuntimeError("no fixture")
def test_error(broken): pass
"""


def test_each_kind_of_outcome_is_told_apart(
    tests: Path, project: Project, qualify: Qualify
) -> None:
    tests.write_text(MANY)
    report = qualify(UNIT)
    counts = {name: metric.value for name, metric in report.metrics.items()}
    # Of each that ran, for statistical gates; pytest ran neither of the two that are skipped.
    assert len(report.metrics["test_duration_s"].samples) == 4
    assert counts.pop("test_duration_s") >= 0
    assert counts == {
        "tests": 6,
        "passed": 1,
        "failed": 2,
        "skipped": 1,
        "xfailed": 1,
        "xpassed": 1,
        "outbound_attempts": 0,
    }
    assert report.verdict is Verdict.FAIL
    failure = next(finding for finding in report.findings if "test_fails" in finding.message)
    assert failure.where == "tests/test_it.py:5"
    assert "assert 1 == 2" in failure.message
    assert failure.reproduce == "testops run core --profile offline --seed 42 --chaos-seed 7"
    assert len(ET.parse(project.reports / "junit.xml").findall(".//testcase")) == 6


@pytest.mark.parametrize(
    "text", ["x = (\n", "import nothing_of_that_name\n"], ids=["syntax", "import"]
)
def test_a_module_that_cannot_be_imported_fails(tests: Path, qualify: Qualify, text: str) -> None:
    tests.write_text(text)
    report = qualify(UNIT)
    assert report.verdict is Verdict.FAIL
    assert value(report, "failed") == 1


@pytest.mark.parametrize("code", [0, 2])
def test_a_part_of_the_tests_is_not_success(tests: Path, qualify: Qualify, code: int) -> None:
    stops = f"def test_stops() -> None:\n    pytest.exit('enough', returncode={code})\n"
    tests.write_text(f"import pytest\n\ndef test_holds() -> None:\n    pass\n\n{stops}")
    report = qualify(UNIT)
    assert (report.state, report.verdict) == (StageState.TOOL_ERROR, Verdict.INCONCLUSIVE)
    assert "tests to go" in report.reason


def test_tests_that_stop_at_the_first_failure_have_failed(tests: Path, qualify: Qualify) -> None:
    tests.write_text("".join(f"def test_{n}() -> None:\n    assert False\n\n" for n in "abc"))
    report = qualify(HEAD + '  unit: {paths: [tests], arguments: ["-x"]}\n')
    assert (report.state, report.verdict) == (StageState.RAN, Verdict.FAIL)


def test_nothing_collected_is_not_success(tests: Path, qualify: Qualify) -> None:
    tests.write_text("x = 1\n")
    report = qualify(UNIT)
    assert value(report, "tests") == 0
    assert report.verdict is Verdict.FAIL


def test_a_test_run_that_dies_is_inconclusive(tests: Path, qualify: Qualify) -> None:
    tests.write_text("import os\n\ndef test_dies(): os._exit(0)\n")
    report = qualify(UNIT)
    assert (report.state, report.verdict) == (StageState.TOOL_ERROR, Verdict.INCONCLUSIVE)
    assert "pytest ended early (exit 0)" in report.reason


def test_a_test_that_hangs_ends_with_the_stages_limit(tests: Path, qualify: Qualify) -> None:
    tests.write_text("import time\n\ndef test_hangs(): time.sleep(60)\n")
    report = qualify(UNIT.replace("[tests]", "[tests], timeout_s: 2, attempts_max: 1"))
    assert report.state is StageState.TOOL_ERROR
    assert "did not end within 2 s" in report.reason


OUTSIDE = """
import socket
import pytest

def test_outside():
    with pytest.raises(OSError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)

def test_name():
    with pytest.raises(OSError):
        socket.getaddrinfo("example.org", 80)

def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(("localhost", server.getsockname()[1])):
            pass
"""


def test_an_outside_connection_is_refused_named_and_fails_the_gate(
    tests: Path, qualify: Qualify
) -> None:
    tests.write_text(OUTSIDE)
    report = qualify(UNIT)
    assert value(report, "failed") == 0
    assert value(report, "outbound_attempts") == 2
    assert report.verdict is Verdict.FAIL
    assert {finding.where for finding in report.findings} == {
        "tests/test_it.py::test_outside",
        "tests/test_it.py::test_name",
    }
    assert any("192.0.2.1" in finding.message for finding in report.findings)


DRAWS = """
import os, random, pathlib
SEEN = pathlib.Path(__file__).with_name("seen")

def note(name):
    with SEEN.open("a") as file:
        file.write(f"{name} {random.random()} {hash('x')} {os.environ['SIM_SEED']}\\n")
""" + "".join(f"def test_{letter}(): note('{letter}')\n" for letter in "abcdefgh")


def test_order_and_draws_come_from_the_seed(tests: Path, qualify: Qualify) -> None:
    tests.write_text(DRAWS)
    seen = tests.with_name("seen")

    def lines(seed: str) -> list[str]:
        seen.unlink(missing_ok=True)
        assert qualify(UNIT, environment={"SIM_SEED": seed}).verdict is Verdict.PASS
        return seen.read_text().splitlines()

    first, again, other = lines("1"), lines("1"), lines("2")
    assert first == again
    assert [line.split()[0] for line in other] != [line.split()[0] for line in first]
    assert not {line.split()[1] for line in first} & {line.split()[1] for line in other}
    assert {line.split()[3] for line in other} == {"2"}


def test_coverage_is_measured_into_cobertura(
    tests: Path, app: Path, project: Project, qualify: Qualify
) -> None:
    app.write_text(GOOD + "\n\ndef never() -> int:\n    return 1\n")
    tests.write_text("from app.calc import add\n\ndef test_adds(): assert add(1, 2) == 3\n")
    report = qualify(UNIT.replace("[tests]", "[tests], coverage: [app]"))
    assert report.verdict is Verdict.PASS
    assert value(report, "line_percent") == pytest.approx(75)
    assert "branch_percent" not in report.metrics
    assert ET.parse(project.reports / "coverage.xml").getroot().tag == "coverage"
    assert not list(project.root.glob(".coverage*"))


def test_two_measured_files_of_one_name_stay_two(
    tests: Path, app: Path, project: Project, qualify: Qualify
) -> None:
    other = project.root / "lib"
    other.mkdir()
    (other / "calc.py").write_text(GOOD + "\n\ndef never() -> int:\n    return 1\n")
    tests.write_text("from app.calc import add\n\ndef test_adds(): assert add(1, 2) == 3\n")
    qualify(UNIT.replace("[tests]", "[tests], coverage: [app, lib]"))
    root = ET.parse(project.reports / "coverage.xml").getroot()
    rates = {one.get("filename"): one.get("line-rate") for one in root.iter("class")}
    assert rates == {"app/calc.py": "1", "lib/calc.py": "0"}


def test_coverage_that_cannot_be_measured_is_missing_and_never_zero(
    tests: Path, project: Project, qualify: Qualify
) -> None:
    tests.write_text("def test_passes(): pass\n")
    rule = 'gates: [{stage: unit, metric: line_percent, op: ">=", threshold: 0}]\n'
    report = qualify(UNIT.replace("[tests]", "[tests], coverage: [nowhere]") + rule)
    assert "line_percent" not in report.metrics
    assert report.verdict is Verdict.INCONCLUSIVE
    assert not (project.reports / "coverage.xml").exists()


def test_an_old_coverage_report_is_not_taken_for_a_new_one(
    tests: Path, project: Project, qualify: Qualify
) -> None:
    project.reports.mkdir()
    (project.reports / "coverage.xml").write_text("<coverage/>")
    tests.write_text("def test_passes(): pass\n")
    qualify(UNIT)
    assert not (project.reports / "coverage.xml").exists()


def test_exit_codes_of_stages_reach_the_run(
    app: Path, project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    app.write_text("import os\n")
    (project.suites / "core.yaml").write_text(LINT)
    real = replace(tools, clock=SystemClock())
    done = answer(request_for(), real, listener=lambda _: None, told=lambda _: None)
    assert done.exit_code is ExitCode.FAILED
    assert [report.name for report in done.stages if report.verdict] == [StageName.LINT]
