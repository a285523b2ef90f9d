"""What a run leaves for other tools: junit.xml, ctrf.json, coverage.xml, findings.sarif.

They are made of what the stages left, once all have ended; how the files look belongs to
`reports.formats`. Whatever goes wrong here is a warning: the run is over, and its record complete.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from testops.domain.run import Run
from testops.domain.stage import Finding, StageName, StageReport, StageState
from testops.domain.test_case import TestCase
from testops.reports.coverage import Coverage, merged
from testops.reports.files import write_reports
from testops.reports.findings import CodeFinding, fingerprinted, with_snippets
from testops.reports.formats.cobertura import read_cobertura, write_cobertura
from testops.reports.formats.ctrf import write_ctrf
from testops.reports.formats.junit import write_junit
from testops.reports.formats.reading import read_source
from testops.reports.formats.sarif import SarifLog, read_sarif, write_sarif
from testops.reports.test_record import read_test_record
from testops.runner.projects import Project
from testops.runner.test_history import keep_tests
from testops.telemetry.events import Tell

NAMES = ("junit.xml", "ctrf.json", "coverage.xml", "findings.sarif", "tests.json")
# Findings about code or behaviour; a test that failed is in JUnit, a delta in its own report.
_RULES_LEFT_OUT = {StageName.UNIT: ("test",)}
_STAGES_LEFT_OUT = (StageName.SNAPSHOT_COMPARE,)
# `app/calc.py`, `app/calc.py:3:7`, `sim/echo.py:3 in echo`.
_PLACE = re.compile(
    r"^(?P<path>[^:\n]+?\.\w+)(?::(?P<line>\d+)(?::(?P<column>\d+))?)?(?: in (?P<name>\S+))?$"
)


def forget_reports(project: Project, *, told: Tell) -> None:
    """Remove what an earlier run left: what this run does not write must not look like its own."""
    for name in NAMES:
        path = project.reports / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            told(f"{project.shown(path)} of an earlier run stays: {error.strerror}")


def leave_reports(run: Run, project: Project, kernels: Sequence[TestCase], *, told: Tell) -> None:
    """Write them; each that cannot be written is told, and the others are."""
    reports: tuple[tuple[str, Callable[[], None]], ...] = (
        ("how the tests ended", lambda: keep_tests(run, project)),
        ("junit.xml and ctrf.json", lambda: _write_tests(run, project, kernels)),
        ("coverage.xml", lambda: _write_coverage(run, project)),
        ("findings.sarif", lambda: _write_findings(run, project)),
    )
    for name, write in reports:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - a report never hurts the run, whatever it is
            told(f"{name} could not be kept: {type(error).__name__}: {error}")


def _write_tests(run: Run, project: Project, kernels: Sequence[TestCase]) -> None:
    cases: list[TestCase] = []
    if _left(run, StageName.UNIT, "tests.json"):
        _, unit = read_test_record((project.reports / "tests.json").read_text("utf-8"))
        cases += unit
    cases += kernels
    if not cases:
        return
    extra = {"run_id": run.run_id, "attempt": run.attempt, "seeds": run.seeds.to_json()}
    ctrf = write_ctrf(cases, started_at=run.started_at, finished_at=run.finished_at, extra=extra)
    write_reports(
        project.reports, {"junit.xml": write_junit(cases, name=run.suite), "ctrf.json": ctrf}
    )


def _write_coverage(run: Run, project: Project) -> None:
    """Put together what several stages measured: each leaves `coverage-STAGE.xml`, or the whole."""
    shown = [name for stage in run.stages for name in stage.artifacts]
    parts = [name for name in dict.fromkeys(shown) if _is_coverage(name)]
    if len(parts) < 2 and not any(Path(name).name != "coverage.xml" for name in parts):
        return
    measured: list[Coverage] = [
        read_cobertura(read_source(project.root / name, shown=name), root=project.root)
        for name in parts
    ]
    write_reports(project.reports, {"coverage.xml": write_cobertura(merged(measured))})


def _is_coverage(name: str) -> bool:
    file = Path(name).name
    return file == "coverage.xml" or (file.startswith("coverage-") and file.endswith(".xml"))


def _write_findings(run: Run, project: Project) -> None:
    found: list[CodeFinding] = []
    tools: list[str] = []
    for stage in run.stages:
        if stage.state is not StageState.RAN or stage.name in _STAGES_LEFT_OUT:
            continue
        logs = [_sarif_in(project, name) for name in stage.artifacts if name.endswith(".sarif")]
        for log in logs:
            found += log.found
            tools += log.tools
        if not logs:
            tools.append(_tool_of(stage))
            found += [
                _of_stage(finding, stage)
                for finding in stage.findings
                if finding.rule not in _RULES_LEFT_OUT.get(stage.name, ())
            ]
    if not tools:
        return
    marked = fingerprinted(with_snippets(found, project.root))
    write_reports(
        project.reports,
        {"findings.sarif": write_sarif(marked, tools=list(dict.fromkeys(tools)))},
    )


def _sarif_in(project: Project, name: str) -> SarifLog:
    source = read_source((project.output or project.root) / name, shown=name)
    return read_sarif(source, root=project.root)


def _tool_of(stage: StageReport) -> str:
    return f"testops {stage.name.value}"


def _of_stage(finding: Finding, stage: StageReport) -> CodeFinding:
    """A stage's finding as one of a tool. Those of one cause (seeds of a kernel) are one."""
    place = _PLACE.match(finding.where)
    found = place.groupdict() if place else {"name": finding.where}
    line, column = found.get("line"), found.get("column")
    return CodeFinding(
        tool=_tool_of(stage),
        rule=finding.rule or stage.name.value,
        message=finding.message,
        path=found.get("path") or "",
        line=int(line) if line else None,
        column=int(column) if column else None,
        logical=found.get("name") or "",
        # A cause may name the line; what it is about must not move with the code above it.
        key=re.sub(r":\d+", "", finding.cause),
        reproduce=finding.reproduce,
    )


def _left(run: Run, name: StageName, file: str) -> bool:
    stage = next((one for one in run.stages if one.name is name), None)
    return stage is not None and any(Path(one).name == file for one in stage.artifacts)
