"""The unit stage: the project's own tests, in its own interpreter, seeded and loopback only.

What happened is read from our plugin's lines, never from pytest's exit code: 1 is also what a
coverage threshold gives, 5 (nothing collected) must not look like success, and a crash writes none.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.seeds import substream
from testops.domain.stage import Finding, Metric, Ran, StageName, StageOutcome, ToolError
from testops.domain.suite import UnitStage
from testops.domain.test_case import Outcome, TestCase
from testops.reports.formats.cobertura import write_cobertura
from testops.reports.formats.coverage_json import read_coverage_json
from testops.reports.formats.ctrf import write_ctrf
from testops.reports.formats.junit import write_junit
from testops.reports.formats.reading import read_source
from testops.reports.test_record import Circumstances, write_test_record
from testops.runner.files import make_folder, write_atomically
from testops.runner.processes import Completed, run_tool
from testops.runner.stages.context import StageContext
from testops.runner.stages.unit_causes import BUDGET_S, TESTS_MAX, Cause, Inquiry
from testops.runner.stages.unit_outcomes import Tail, cases_of, durations

PLUGIN = "testops_unit_plugin"
PLUGIN_FOLDER = Path(__file__).parent / "unit_plugin"
FINDINGS_SHOWN_MAX = 50
# What pytest's plugins and Python itself would otherwise take from the caller's shell.
_NOT_INHERITED = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST", "PYTHONHASHSEED")
_PROBE = """
import importlib.util, json
names = ("pytest", "coverage", "pytest_cov", "xdist")
print(json.dumps({name: importlib.util.find_spec(name) is not None for name in names}))
"""


@dataclass(frozen=True, slots=True)
class Scratch:
    """The files of one attempt that nobody keeps."""

    folder: Path

    @property
    def outcomes(self) -> Path:
        return self.folder / "outcomes.jsonl"

    @property
    def coverage(self) -> Path:
        return self.folder / "coverage.data"

    @property
    def coverage_json(self) -> Path:
        return self.folder / "coverage.json"


@dataclass(frozen=True, slots=True)
class Unit:
    """One attempt at the stage: what was asked, where, and with which interpreter."""

    stage: UnitStage
    context: StageContext
    scratch: Scratch
    python: str
    installed: Mapping[str, bool]

    @property
    def in_workers(self) -> bool:
        """Whether the tests are divided among processes, so that their order is not one order."""
        flags = ("-n", "--numprocesses", "--dist", "--tx")
        return self.installed["xdist"] and any(
            one.startswith(flags) for one in self.stage.arguments
        )


def run_unit(stage: UnitStage, context: StageContext) -> StageOutcome:
    """The tests of the stage's paths, with coverage where the environment can measure it."""
    missing = [path for path in stage.paths if not (context.project.root / path).exists()]
    if missing:
        return ToolError(f"there is no {missing[0]} to test", retryable=False)
    python = context.interpreter(stage.python)
    with tempfile.TemporaryDirectory(prefix="testops-unit-") as folder:
        scratch = Scratch(Path(folder))
        installed = _probe(python, context)
        if installed is None or not installed["pytest"]:
            return ToolError(
                f"pytest is not installed in {python}: install it there", retryable=False
            )
        return _run_tests(Unit(stage, context, scratch, python, installed))


def _run_tests(unit: Unit) -> StageOutcome:
    stage, context = unit.stage, unit.context
    reports = make_folder(context.project.reports)
    for stale in ("junit.xml", "ctrf.json", "tests.json", "coverage.xml"):
        (reports / stale).unlink(missing_ok=True)
    environment = _environment(unit)
    tail = Tail(unit.scratch.outcomes, context.progress(StageName.UNIT))
    began_at, began_s = context.clock.now().isoformat(), context.clock.elapsed_s()
    done = run_tool(
        _command(unit),
        folder=context.project.root,
        environment=environment,
        timeout_s=stage.timeout_s,
        clock=context.clock,
        tick=tail.read,
    )
    tail.read()
    took_s = context.clock.elapsed_s() - began_s
    broken = _tool_error(unit, done, tail)
    if broken is not None:
        return broken
    if stage.coverage and unit.installed["coverage"] and not unit.installed["pytest_cov"]:
        _export_coverage(unit, environment)
    told = _told(unit, tail, left_s=stage.timeout_s - took_s)
    _write_reports(unit, told, began_at)
    return _outcome(unit, tail, told)


def _tool_error(unit: Unit, done: Completed, tail: Tail) -> ToolError | None:
    """Why nothing was measured, where nothing was."""
    if done.timed_out:
        last = tail.tests[-1]["id"] if tail.tests else "none"
        return ToolError(f"the tests did not end within {unit.stage.timeout_s:g} s (last: {last})")
    if tail.finished is None:
        return ToolError(f"pytest ended early (exit {done.exit_code}): {done.last_words}")
    if tail.finished["exit"] not in (0, 1, 2, 5) or _disagrees(done, tail):
        return ToolError(
            f"pytest failed (exit {done.exit_code}): {done.last_words}", retryable=False
        )
    if tail.skipped_over and all(case.outcome.holds for case in cases_of(tail.tests)):
        # One that stopped at a failure is a failure; a part that holds says nothing of the rest.
        return ToolError(
            f"pytest ended with {tail.skipped_over} tests to go: {done.last_words}", retryable=False
        )
    return None


def _disagrees(done: Completed, tail: Tail) -> bool:
    """Whether the exit code says success and the lines do not, which would be a bug of ours."""
    # The last try of each: one that a plugin of the project repeated until it passed gives 0.
    failed = any(not case.outcome.holds for case in cases_of(tail.tests))
    return done.exit_code == 0 and failed


def _probe(python: str, context: StageContext) -> Mapping[str, bool] | None:
    done = run_tool(
        [python, "-c", _PROBE],
        folder=context.project.root,
        environment=context.environment,
        timeout_s=30,
        clock=context.clock,
    )
    try:
        installed: Mapping[str, bool] = json.loads(done.stdout)
    except ValueError:
        return None
    return installed


def _command(unit: Unit) -> list[str]:
    stage, scratch, python = unit.stage, unit.scratch, unit.python
    tests = [*_pytest(unit), "-q", "--color=no", *stage.arguments, *stage.paths]
    if not stage.coverage or not unit.installed["coverage"]:
        return [python, "-m", *tests]
    if unit.installed["pytest_cov"]:
        # Two tracers would not see each other; the project's own is the one to use.
        tests += [f"--cov={folder}" for folder in stage.coverage]
        tests += ["--cov-branch", f"--cov-report=json:{scratch.coverage_json}"]
        tests += ["--cov-fail-under=0"]
        return [python, "-m", *tests]
    source = f"--source={','.join(stage.coverage)}"
    return [python, "-m", "coverage", "run", "--branch", source, "-m", *tests]


def _pytest(unit: Unit) -> list[str]:
    # Its cache would be one more thing that a run leaves in the project.
    return ["pytest", "-p", PLUGIN, "-o", f"cache_dir={unit.scratch.folder / 'cache'}"]


def _environment(unit: Unit) -> dict[str, str]:
    stage, context = unit.stage, unit.context
    kept = {k: v for k, v in context.environment.items() if k not in _NOT_INHERITED}
    folders = [str(PLUGIN_FOLDER), kept.get("PYTHONPATH", "")]
    hash_seed = substream(context.seeds.sim, "unit.hash") % 2**32
    return {
        **kept,
        **stage.environment,
        "PYTHONPATH": os.pathsep.join(folder for folder in folders if folder),
        "PYTHONHASHSEED": str(hash_seed),
        "SIM_SEED": str(context.seeds.sim),
        "CHAOS_SEED": str(context.seeds.chaos),
        "TESTOPS_PROFILE": context.profile.model_dump_json(by_alias=True),
        "TESTOPS_UNIT_SEED": str(context.seeds.sim),
        "TESTOPS_UNIT_ORDER": stage.order,
        "TESTOPS_UNIT_NETWORK": context.profile.network.policy,
        "TESTOPS_UNIT_OUTCOMES": str(unit.scratch.outcomes),
        "COVERAGE_FILE": str(unit.scratch.coverage),
    }


def _export_coverage(unit: Unit, environment: Mapping[str, str]) -> None:
    """Write JSON; where that fails the metrics are missing, which the gates see."""
    target = str(unit.scratch.coverage_json)
    run_tool(
        [unit.python, "-m", "coverage", "json", "--fail-under=0", "-q", "-o", target],
        folder=unit.context.project.root,
        environment=environment,
        timeout_s=120,
        clock=unit.context.clock,
    )


# --- why tests failed ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """The tests, and what was found out about those that failed."""

    cases: tuple[TestCase, ...]
    remarks: Mapping[str, str]

    @property
    def unexplained(self) -> int:
        """How many tests failed and were not repeated; a module without tests is none."""
        failed = [case.name for case in self.cases if not case.outcome.holds and "::" in case.name]
        return len(set(failed) - set(self.remarks))


def _told(unit: Unit, tail: Tail, *, left_s: float) -> Told:
    cases = cases_of(tail.tests)
    if not unit.stage.classify_failures:
        return Told(cases, {})
    inquiry = Inquiry(
        repeat=lambda tests, limit_s: _repeated(unit, tests, limit_s),
        clock=unit.context.clock,
        budget_s=min(BUDGET_S, left_s),
        in_workers=unit.in_workers,
    )
    causes = inquiry.causes(cases)
    again = f"reproduce: {unit.context.again}"
    remarks = {test: cause.said(test, again) for test, cause in causes.items()}
    return Told(tuple(_with_cause(case, causes.get(case.name)) for case in cases), remarks)


def _with_cause(case: TestCase, cause: Cause | None) -> TestCase:
    if cause is None:
        return case
    found = [("testops.cause", cause.kind.value)]
    if cause.polluter:
        found.append(("testops.polluter", cause.polluter))
    return replace(case, properties=(*case.properties, *found))


def _repeated(unit: Unit, tests: Sequence[str], limit_s: float) -> Mapping[str, Outcome]:
    """How these tests end when they are run again, in this order, and nothing else."""
    with tempfile.TemporaryDirectory(dir=unit.scratch.folder) as folder:
        only, outcomes = Path(folder) / "only.json", Path(folder) / "outcomes.jsonl"
        only.write_text(json.dumps(list(tests)), "utf-8")
        one_process = ["-n", "0"] if unit.installed["xdist"] else []
        no_coverage = ["--no-cov"] if unit.installed["pytest_cov"] else []
        arguments = [*unit.stage.arguments, *one_process, *no_coverage, *unit.stage.paths]
        run_tool(
            [unit.python, "-m", *_pytest(unit), "-q", "--color=no", *arguments],
            folder=unit.context.project.root,
            environment={
                **_environment(unit),
                "TESTOPS_UNIT_ONLY": str(only),
                "TESTOPS_UNIT_OUTCOMES": str(outcomes),
                "COVERAGE_FILE": str(Path(folder) / "coverage.data"),
            },
            timeout_s=limit_s,
            clock=unit.context.clock,
        )
        tail = Tail(outcomes)
        tail.read()
    return {case.name: case.outcome for case in cases_of(tail.tests)}


# --- what is left -------------------------------------------------------------------------------


def _write_reports(unit: Unit, told: Told, began_at: str) -> None:
    context, reports = unit.context, unit.context.project.reports
    circumstances = Circumstances(
        order=unit.stage.order,
        seed=context.seeds.sim,
        network=context.profile.network.policy,
        in_workers=unit.in_workers,
    )
    write_atomically(reports / "tests.json", write_test_record(circumstances, told.cases).encode())
    junit = write_junit(told.cases, name=context.suite_file.suite.name)
    write_atomically(reports / "junit.xml", junit.encode("utf-8", "backslashreplace"))
    ended_at = context.clock.now().isoformat()
    ctrf = write_ctrf(told.cases, started_at=began_at, finished_at=ended_at)
    write_atomically(reports / "ctrf.json", ctrf.encode("utf-8", "backslashreplace"))
    _write_coverage(unit)


def _write_coverage(unit: Unit) -> None:
    """Coverage in paths of the project; what cannot be read is not there, and so not measured."""
    if not unit.scratch.coverage_json.is_file():
        return
    try:
        source = read_source(unit.scratch.coverage_json, shown="coverage.json")
        coverage = read_coverage_json(source, root=unit.context.project.root)
    except BadInput:
        return
    target = unit.context.project.reports / "coverage.xml"
    write_atomically(target, write_cobertura(coverage).encode())


def _outcome(unit: Unit, tail: Tail, told: Told) -> Ran:
    assert tail.finished is not None
    context = unit.context
    shown = [
        context.project.shown(context.project.reports / name)
        for name in ("junit.xml", "ctrf.json", "tests.json")
    ]
    junit = shown[0]
    counts = Counter(case.said or case.outcome.value for case in told.cases)
    # What failed at first has failed, whatever a plugin of the project made of it by repeating.
    flaky = sum(case.flaky for case in told.cases)
    refused = tail.finished["outbound"]
    metrics = [
        Metric("tests", len(told.cases), junit),
        Metric("passed", counts["passed"] - flaky, junit),
        # An error in a fixture or at import is a test that did not pass; so is a strict xpass,
        # which pytest itself reports as failed.
        Metric("failed", counts["failed"] + counts["error"] + flaky, junit),
        Metric("skipped", counts["skipped"], junit),
        Metric("xfailed", counts["xfailed"], junit),
        Metric("xpassed", counts["xpassed"], junit),
        Metric("outbound_attempts", len(refused), PLUGIN),
        *durations(told.cases, junit),
    ]
    artifacts, notes = shown, []
    if unit.stage.coverage:
        covered = _coverage_metrics(context, unit.scratch)
        metrics += covered
        if covered:
            artifacts.append(covered[0].source)
        else:
            notes.append("coverage was not measured: install coverage in the tests' environment")
    if unit.stage.classify_failures and told.unexplained:
        limits = f"at most {TESTS_MAX} tests and {BUDGET_S:g} s"
        notes.append(f"why {told.unexplained} tests failed was not found out ({limits})")
    if tail.finished["exit"] == 2:
        notes.append("pytest was interrupted or could not import a test module")
    findings = [*_failures(tail.tests, told.remarks, context), *_refusals(refused)]
    return Ran(tuple(metrics), tuple(findings[:FINDINGS_SHOWN_MAX]), tuple(artifacts), tuple(notes))


def _coverage_metrics(context: StageContext, scratch: Scratch) -> list[Metric]:
    xml = context.project.reports / "coverage.xml"
    try:
        totals = json.loads(scratch.coverage_json.read_bytes())["totals"]
    except (OSError, ValueError, KeyError):
        return []
    if not xml.is_file():
        return []
    source = context.project.shown(xml)
    shares = (
        ("line_percent", "covered_lines", "num_statements"),
        ("branch_percent", "covered_branches", "num_branches"),
    )
    return [
        # Nothing to cover has no percentage: it is neither 0 nor 100.
        Metric(name, 100 * totals[part] / totals[whole], source, "%")
        for name, part, whole in shares
        if totals.get(whole)
    ]


def _failures(
    tests: Sequence[Mapping[str, Any]], remarks: Mapping[str, str], context: StageContext
) -> Iterable[Finding]:
    for test in tests:
        if test["outcome"] in ("failed", "error"):
            where = f"{context.project.shown(Path(test['path']))}:{test['line']}"
            first = str(test["message"]).strip().splitlines() or [""]
            message = f"{test['id']}: {first[0] if test['path'] else first[-1]}"
            if test["id"] in remarks:
                message += f" ({remarks[test['id']]})"
            yield Finding(where if test["path"] else test["id"], message, "test", context.again)


def _refusals(refused: Sequence[Mapping[str, str]]) -> Iterable[Finding]:
    for attempt in refused:
        message = f"tried to reach {attempt['host']} ({attempt['event']}); the profile refuses it"
        yield Finding(attempt["test"], message, "network")
