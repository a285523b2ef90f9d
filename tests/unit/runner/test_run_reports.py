"""A run leaves reports that other tools read; what cannot be written is a warning and no more."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.runner.conftest import FakeExecution, FakeSimulator

from testops.domain.run import Run
from testops.domain.stage import Finding, StageName, StageReport, StageState
from testops.domain.verdict import Verdict
from testops.runner import run_reports
from testops.runner.projects import Project
from testops.runner.run_reports import leave_reports
from testops.runner.service import Request, Tools, answer
from testops.runner.stages.sim_cases import kernel_cases
from testops.runner.suites import ResolvedKernel
from testops.telemetry.clock import SystemClock

WHOLE = """\
schema: 1
name: core
seeds: {sim: 42, chaos: 7}
stages:
  lint: {ruff: {paths: [app]}}
  unit: {paths: [tests], coverage: [app]}
  sim: {seed_count: 2, kernels: {echo: {run: "sim/echo.py::echo"}}}
"""


@pytest.fixture
def run(project: Project, tools: Tools, request_for: Callable[..., Request]) -> Callable[..., Run]:
    (project.root / "ruff.toml").write_text('[lint]\nselect = ["F"]\n')
    (project.root / "app").mkdir()
    (project.root / "app" / "calc.py").write_text(
        "import os\n\n\ndef add(a, b):\n    return a + b\n"
    )
    (project.root / "tests").mkdir()
    (project.root / "tests" / "test_it.py").write_text(
        "from app.calc import add\n\ndef test_adds(): assert add(1, 2) == 3\n"
    )
    (project.suites / "core.yaml").write_text(WHOLE)
    real = replace(tools, clock=SystemClock())

    def once(told: Callable[[str], None] = lambda _: None, **changes: object) -> Run:
        return answer(request_for(**changes), real, listener=lambda _: None, told=told)

    return once


def test_a_run_leaves_tests_coverage_and_findings_of_all_its_stages(
    run: Callable[..., Run], project: Project, simulator: FakeSimulator
) -> None:
    simulator.verdicts["echo"] = "fail"
    done = run()
    root = ET.parse(project.reports / "junit.xml").getroot()
    suites = {suite.get("name"): [case.get("name") for case in suite] for suite in root}
    assert suites == {"unit": ["tests/test_it.py::test_adds"], "sim": ["echo"]}
    assert root.get("failures") == "1"
    ctrf = json.loads((project.reports / "ctrf.json").read_text())
    assert ctrf["extra"]["run_id"] == done.run_id
    assert [test["status"] for test in ctrf["results"]["tests"]] == ["passed", "failed"]
    runs = json.loads((project.reports / "findings.sarif").read_text())["runs"]
    found = {one["tool"]["driver"]["name"]: len(one["results"]) for one in runs}
    assert found == {"ruff": 1, "testops unit": 0, "testops sim": 1}
    lint = json.loads((project.reports / "lint.sarif").read_text())["runs"][0]["results"][0]
    assert runs[0]["results"][0]["partialFingerprints"] == lint["partialFingerprints"]
    coverage = ET.parse(project.reports / "coverage.xml")
    assert coverage.find(".//class[@filename='app/calc.py']") is not None
    assert (project.snapshots / "runs" / done.run_id / "tests-1.json").is_file()


def test_reports_of_an_earlier_run_are_not_taken_for_those_of_this_one(
    run: Callable[..., Run], project: Project
) -> None:
    run()
    run(only=frozenset({StageName.SIM}))
    assert not (project.reports / "coverage.xml").exists()
    root = ET.parse(project.reports / "junit.xml").getroot()
    assert [suite.get("name") for suite in root] == ["sim"]


def test_a_report_that_cannot_be_written_is_a_warning_and_the_others_are_there(
    run: Callable[..., Run], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("planted")

    monkeypatch.setattr(run_reports, "write_sarif", broken)
    told: list[str] = []
    done = run(told.append)
    assert done.verdict is not None
    assert told == ["findings.sarif could not be kept: RuntimeError: planted"]
    assert (project.reports / "junit.xml").is_file()
    assert not (project.reports / "findings.sarif").exists()


def test_what_cannot_be_removed_is_told(run: Callable[..., Run], project: Project) -> None:
    (project.reports / "findings.sarif").mkdir(parents=True)
    told: list[str] = []
    run(told.append, only=frozenset({StageName.SIM}))
    assert "reports/findings.sarif of an earlier run stays: Is a directory" in told[0]
    assert "findings.sarif could not be kept" in told[1]


def report(artifacts: tuple[str, ...] = (), findings: tuple[Finding, ...] = ()) -> StageReport:
    return StageReport(
        StageName.SIM, StageState.RAN, Verdict.PASS, artifacts=artifacts, findings=findings
    )


COVERAGE = (
    '<coverage line-rate="0"><class filename="a.py"><line number="1" hits="{}"/>'
    '<line number="2" hits="0"/></class></coverage>'
)


def test_coverage_of_several_stages_is_added_up(
    run: Callable[..., Run], project: Project, tmp_path: Path
) -> None:
    done = run(only=frozenset({StageName.SIM}))
    names = ("reports/coverage.xml", "reports/coverage-chaos.xml")
    for hits, name in enumerate(names):
        (project.root / name).write_text(COVERAGE.format(hits))
    both = replace(done, stages=(report(names),))
    leave_reports(both, project, (), told=pytest.fail)
    line = ET.parse(project.reports / "coverage.xml").find(".//line[@number='1']")
    assert line is not None
    assert line.get("hits") == "1"


def test_seeds_of_one_cause_are_one_finding_with_its_kernel_file(
    run: Callable[..., Run], project: Project
) -> None:
    done = run(only=frozenset({StageName.SIM}))
    findings = tuple(
        Finding(
            "sim/echo.py:7 in echo",
            f"echo at seed {n}",
            "safety",
            "toron run",
            f"echo safety :{n}",
            "",
        )
        for n in (3, 4)
    )
    leave_reports(replace(done, stages=(report(findings=findings),)), project, (), told=pytest.fail)
    (sarif,) = json.loads((project.reports / "findings.sarif").read_text())["runs"]
    (result,) = sarif["results"]
    assert result["occurrenceCount"] == 2
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "sim/echo.py"
    assert place["region"]["startLine"] == 7


def test_a_kernel_is_as_good_as_its_worst_execution() -> None:
    kernel = ResolvedKernel("echo", Path("sim/echo.py"), "sim/echo.py", "echo", "fixed")

    def outcome(*executions: FakeExecution) -> str:
        (case,) = kernel_cases([kernel], executions, [])
        return case.outcome.value

    def execution(verdict: str, *, identical: bool = True) -> FakeExecution:
        return FakeExecution("echo", 1, 7, {"verdict": verdict}, identical)

    assert outcome(execution("pass"), execution("warn")) == "passed"
    assert outcome(execution("pass"), execution("fail")) == "failed"
    assert outcome(execution("pass", identical=False)) == "failed"
    assert outcome(execution("pass"), execution("inconclusive")) == "error"
    # Nothing was executed, so nothing holds.
    assert outcome() == "error"
