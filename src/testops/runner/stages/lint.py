"""The lint stage: ruff, ruff format and mypy, each with the project's own configuration.

A tool's exit code cannot tell "found something" from "could not look" (ruff answers 1 for a missing
path), so each adapter parses the output and only cross-checks the code.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.stage import Finding, Metric, Ran, StageName, StageOutcome, ToolError
from testops.domain.suite import LintStage, LintTool
from testops.reports.findings import CodeFinding, fingerprinted, with_snippets
from testops.reports.formats.sarif import write_sarif
from testops.runner.files import write_atomically
from testops.runner.processes import Completed, run_tool
from testops.runner.stages.context import StageContext

FINDINGS_SHOWN_MAX = 50


@dataclass(frozen=True, slots=True)
class LintResult:
    """One place that a tool objects to."""

    path: str
    line: int
    column: int
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Linter:
    """How one tool is started and read."""

    name: str
    metric: str
    arguments: tuple[str, ...]
    parse: Callable[[Completed], list[LintResult] | None]


def run_lint(stage: LintStage, context: StageContext) -> StageOutcome:
    """All tools of the stage; one that cannot measure makes the whole stage a tool error."""
    asked = [(linter, tool) for linter in LINTERS if (tool := _tool_of(stage, linter)) is not None]
    progress = context.progress(StageName.LINT)
    found: dict[str, list[LintResult]] = {}
    for done, (linter, tool) in enumerate(asked):
        progress(done, len(asked))
        answer = _run_linter(linter, tool, stage, context)
        if isinstance(answer, ToolError):
            return answer
        found[linter.name] = answer
    progress(len(asked), len(asked))
    report = context.project.reports / "lint.sarif"
    write_atomically(report, _sarif(found, context.project.root).encode("utf-8", "replace"))
    return _outcome(found, asked, context.project.shown(report))


def _sarif(found: dict[str, list[LintResult]], root: Path) -> str:
    """All findings in one file; equal ones are equal bytes, whatever folder they were found in."""
    every = [
        CodeFinding(
            tool=tool,
            rule=result.rule,
            message=result.message,
            path=result.path,
            line=result.line,
            column=result.column,
            # It is about the whole file, and stands wherever the first difference is just now.
            key=result.rule if result.rule == "unformatted" else "",
        )
        for tool, results in found.items()
        for result in results
    ]
    return write_sarif(fingerprinted(with_snippets(every, root)), tools=list(found))


def _outcome(
    found: dict[str, list[LintResult]], asked: Sequence[tuple[Linter, LintTool]], source: str
) -> Ran:
    counts = [Metric(linter.metric, len(found[linter.name]), source) for linter, _ in asked]
    total = Metric("errors", sum(metric.value for metric in counts), source)
    results = [result for results in found.values() for result in results]
    shown = [
        Finding(f"{r.path}:{r.line}:{r.column}", r.message, r.rule)
        for r in results[:FINDINGS_SHOWN_MAX]
    ]
    left_out = len(results) - len(shown)
    notes = (f"{left_out} more findings are in {source}",) if left_out else ()
    return Ran((total, *counts), tuple(shown), (source,), notes)


def _tool_of(stage: LintStage, linter: Linter) -> LintTool | None:
    return {"ruff": stage.ruff, "ruff format": stage.format, "mypy": stage.mypy}[linter.name]


def _run_linter(
    linter: Linter, tool: LintTool, stage: LintStage, context: StageContext
) -> list[LintResult] | ToolError:
    for path in tool.paths:
        if not (context.project.root / path).exists():
            # Every linter reads a missing path as "nothing wrong there", or as a finding.
            return ToolError(f"{linter.name}: there is no {path}", retryable=False)
    python = context.interpreter(stage.python)
    # A cache of mypy's is used where the project has one, and never made where it has none.
    cache = () if linter.name != "mypy" or _has_cache(context) else ("--cache-dir=/dev/null",)
    done = run_tool(
        [python, "-m", *linter.arguments, *cache, "--", *tool.paths],
        folder=context.project.root,
        environment={**context.environment, "NO_COLOR": "1", "RUFF_NO_CACHE": "true"},
        timeout_s=stage.timeout_s,
        clock=context.clock,
    )
    if done.timed_out:
        return ToolError(f"{linter.name} did not end within {stage.timeout_s:g} s")
    if "No module named" in done.stderr and not done.stdout:
        module = linter.arguments[0]
        return ToolError(
            f"{module} is not installed in {python}: install it there", retryable=False
        )
    results = linter.parse(done)
    if results is None or (done.exit_code == 0) != (not results):
        return ToolError(f"{linter.name} failed (exit {done.exit_code}): {done.last_words}")
    return [_relative(result, context) for result in results]


def _has_cache(context: StageContext) -> bool:
    # Runs with an output of their own may go on at once, and one cache cannot serve two.
    own = context.project.root / ".mypy_cache"
    return context.project.output is None and own.is_dir()


def _relative(result: LintResult, context: StageContext) -> LintResult:
    root = context.project.root
    absolute = root / result.path
    inside = absolute.is_relative_to(root)
    path = (absolute.relative_to(root) if inside else absolute).as_posix()
    return LintResult(path, result.line, result.column, result.rule, result.message)


def _parse_ruff(done: Completed) -> list[LintResult] | None:
    entries = _json_list(done.stdout)
    if entries is None:
        return None
    results = [_ruff_result(entry) for entry in entries]
    # An unreadable file is not a finding about the code.
    return None if any(result.rule == "E902" for result in results) else results


def _ruff_result(entry: dict[str, Any]) -> LintResult:
    place = entry.get("location") or {}
    return LintResult(
        path=str(entry["filename"]),
        line=int(place.get("row", 1)),
        column=int(place.get("column", 1)),
        rule=str(entry.get("code") or "invalid-syntax"),
        message=str(entry["message"]),
    )


def _parse_mypy(done: Completed) -> list[LintResult] | None:
    results = []
    for line in done.stdout.splitlines():
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            return None
        if entry.get("severity") == "error":
            results.append(_mypy_result(entry))
    return results


def _mypy_result(entry: dict[str, Any]) -> LintResult:
    return LintResult(
        path=str(entry["file"]),
        line=int(entry["line"]),
        column=int(entry["column"]) + 1,
        rule=str(entry.get("code") or "mypy"),
        message=str(entry["message"]),
    )


def _json_list(text: str) -> list[dict[str, Any]] | None:
    try:
        entries = json.loads(text)
    except ValueError:
        return None
    return entries if isinstance(entries, list) else None


LINTERS = (
    Linter(
        "ruff",
        "ruff_findings",
        ("ruff", "check", "--no-cache", "--output-format=json"),
        _parse_ruff,
    ),
    Linter(
        "ruff format",
        "format_findings",
        ("ruff", "format", "--check", "--no-cache", "--output-format=json"),
        _parse_ruff,
    ),
    Linter("mypy", "mypy_errors", ("mypy", "-O", "json", "--no-error-summary"), _parse_mypy),
)
