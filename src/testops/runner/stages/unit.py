"""The unit stage: the project's own tests, in its own interpreter, seeded and loopback only.

What happened is read from our plugin's lines, never from pytest's exit code: 1 is also what a
coverage threshold gives, 5 (nothing collected) must not look like success, and a crash writes none.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.errors import InternalError
from testops.domain.seeds import substream
from testops.domain.stage import Finding, Metric, Ran, StageName, StageOutcome, ToolError
from testops.domain.suite import UnitStage
from testops.runner.files import make_folder
from testops.runner.processes import Completed, run_tool
from testops.runner.stages.context import StageContext

PLUGIN = "testops_unit_plugin"
PLUGIN_FOLDER = Path(__file__).parent / "unit_plugin"
FINDINGS_SHOWN_MAX = 50
# What pytest's plugins and Python itself would otherwise take from the caller's shell.
_NOT_INHERITED = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST", "PYTHONHASHSEED")
_PROBE = """
import importlib.util, json
names = ("pytest", "coverage", "pytest_cov")
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
        return _run_tests(stage, context, scratch, python, installed)


def _run_tests(
    stage: UnitStage,
    context: StageContext,
    scratch: Scratch,
    python: str,
    installed: Mapping[str, bool],
) -> StageOutcome:
    reports = make_folder(context.project.reports)
    for stale in ("junit.xml", "coverage.xml"):
        (reports / stale).unlink(missing_ok=True)
    environment = _environment(stage, context, scratch)
    tail = _Tail(scratch.outcomes, context)
    done = run_tool(
        _command(stage, context, scratch, python, installed),
        folder=context.project.root,
        environment=environment,
        timeout_s=stage.timeout_s,
        clock=context.clock,
        tick=tail.read,
    )
    tail.read()
    if done.timed_out:
        last = tail.tests[-1]["id"] if tail.tests else "none"
        return ToolError(f"the tests did not end within {stage.timeout_s:g} s (last: {last})")
    if tail.finished is None:
        return ToolError(f"pytest ended early (exit {done.exit_code}): {done.last_words}")
    if tail.finished["exit"] not in (0, 1, 2, 5) or _disagrees(done, tail):
        return ToolError(
            f"pytest failed (exit {done.exit_code}): {done.last_words}", retryable=False
        )
    if stage.coverage and installed["coverage"] and not installed["pytest_cov"]:
        _export_coverage(context, scratch, python, environment)
    return _outcome(stage, context, scratch, tail)


def _disagrees(done: Completed, tail: "_Tail") -> bool:
    """Whether the exit code says success and the lines do not, which would be a bug of ours."""
    failed = any(test["outcome"] in ("failed", "error") for test in tail.tests)
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


def _command(
    stage: UnitStage,
    context: StageContext,
    scratch: Scratch,
    python: str,
    installed: Mapping[str, bool],
) -> list[str]:
    junit = context.project.reports / "junit.xml"
    tests = ["pytest", "-p", PLUGIN, f"--junitxml={junit}"]
    # Its cache would be one more thing that a run leaves in the project.
    tests += ["-o", f"cache_dir={scratch.folder / 'cache'}"]
    tests += ["-q", "--color=no", *stage.arguments, *stage.paths]
    if not stage.coverage or not installed["coverage"]:
        return [python, "-m", *tests]
    if installed["pytest_cov"]:
        # Two tracers would not see each other; the project's own is the one to use.
        xml = context.project.reports / "coverage.xml"
        tests += [f"--cov={folder}" for folder in stage.coverage]
        tests += ["--cov-branch", f"--cov-report=xml:{xml}"]
        tests += [f"--cov-report=json:{scratch.coverage_json}", "--cov-fail-under=0"]
        return [python, "-m", *tests]
    source = f"--source={','.join(stage.coverage)}"
    return [python, "-m", "coverage", "run", "--branch", source, "-m", *tests]


def _environment(stage: UnitStage, context: StageContext, scratch: Scratch) -> dict[str, str]:
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
        "TESTOPS_UNIT_OUTCOMES": str(scratch.outcomes),
        "COVERAGE_FILE": str(scratch.coverage),
    }


def _export_coverage(
    context: StageContext, scratch: Scratch, python: str, environment: Mapping[str, str]
) -> None:
    """Write Cobertura and JSON; where that fails the metrics are missing, which the gates see."""
    xml = context.project.reports / "coverage.xml"
    for arguments in (
        ("xml", "-q", "-o", str(xml)),
        ("json", "-q", "-o", str(scratch.coverage_json)),
    ):
        run_tool(
            [python, "-m", "coverage", arguments[0], "--fail-under=0", *arguments[1:]],
            folder=context.project.root,
            environment=environment,
            timeout_s=120,
            clock=context.clock,
        )


class _Tail:
    """Reads the plugin's lines while they are written, and tells the progress."""

    def __init__(self, path: Path, context: StageContext) -> None:
        self.tests: list[dict[str, Any]] = []
        self.finished: dict[str, Any] | None = None
        self._path = path
        self._offset = 0
        self._total = 0
        self._tell = context.progress(StageName.UNIT)

    def read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().splitlines(keepends=True)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self._offset += len(line)
            self._take(json.loads(line))
        self._tell(len(self.tests), max(self._total, len(self.tests)))

    def _take(self, entry: dict[str, Any]) -> None:
        match entry["type"]:
            case "test":
                self.tests.append(entry)
            case "collected":
                self._total = int(entry["count"])
            case "finished":
                self.finished = entry
            case other:
                raise InternalError(f"the unit plugin wrote an unknown line: {other}")


def _outcome(stage: UnitStage, context: StageContext, scratch: Scratch, tail: _Tail) -> Ran:
    assert tail.finished is not None
    junit = context.project.shown(context.project.reports / "junit.xml")
    counts = Counter(test["outcome"] for test in tail.tests)
    refused = tail.finished["outbound"]
    metrics = [
        Metric("tests", len(tail.tests), junit),
        Metric("passed", counts["passed"], junit),
        # An error in a fixture or at import is a test that did not pass; so is a strict xpass,
        # which pytest itself reports as failed.
        Metric("failed", counts["failed"] + counts["error"], junit),
        Metric("skipped", counts["skipped"], junit),
        Metric("xfailed", counts["xfailed"], junit),
        Metric("xpassed", counts["xpassed"], junit),
        Metric("outbound_attempts", len(refused), PLUGIN),
    ]
    artifacts, notes = [junit], []
    if stage.coverage:
        covered = _coverage_metrics(context, scratch)
        metrics += covered
        if covered:
            artifacts.append(covered[0].source)
        else:
            notes.append("coverage was not measured: install coverage in the tests' environment")
    if tail.finished["exit"] == 2:
        notes.append("pytest was interrupted or could not import a test module")
    findings = [*_failures(tail.tests, context), *_refusals(refused)]
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


def _failures(tests: Sequence[Mapping[str, Any]], context: StageContext) -> Iterable[Finding]:
    for test in tests:
        if test["outcome"] in ("failed", "error"):
            where = f"{context.project.shown(Path(test['path']))}:{test['line']}"
            first = str(test["message"]).strip().splitlines() or [""]
            message = f"{test['id']}: {first[0] if test['path'] else first[-1]}"
            yield Finding(where if test["path"] else test["id"], message, "test", context.again)


def _refusals(refused: Sequence[Mapping[str, str]]) -> Iterable[Finding]:
    for attempt in refused:
        message = f"tried to reach {attempt['host']} ({attempt['event']}); the profile refuses it"
        yield Finding(attempt["test"], message, "network")
