"""How verdicts and metrics are spelled for a person, the same in the table and in the summary."""

from collections.abc import Callable, Mapping

from testops.domain.stage import StageName, StageReport
from testops.domain.verdict import Verdict

SIGNS = {Verdict.PASS: "✓", Verdict.WARN: "!", Verdict.FAIL: "✗", Verdict.INCONCLUSIVE: "?"}
STYLES = {
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "magenta",
}
Numbers = Mapping[str, float]


def metrics_line(report: StageReport) -> str:
    """The few numbers of a stage that say how it went; empty when it measured none."""
    numbers = {name: metric.value for name, metric in report.metrics.items()}
    return _LINES[report.name](numbers) if numbers and report.name in _LINES else ""


def _lint(numbers: Numbers) -> str:
    tools = [
        name for name in ("ruff_findings", "format_findings", "mypy_errors") if name in numbers
    ]
    each = ", ".join(f"{name.split('_')[0]} {numbers[name]:g}" for name in tools)
    return f"{_count(numbers['errors'], 'error')} ({each})"


def _unit(numbers: Numbers) -> str:
    parts = [_count(numbers["tests"], "test"), f"{numbers['failed']:g} failed"]
    parts += [
        f"{numbers[name]:g} {name}" for name in ("skipped", "xfailed", "xpassed") if numbers[name]
    ]
    if "line_percent" in numbers:
        parts.append(f"{numbers['line_percent']:.1f}% of lines")
    if "branch_percent" in numbers:
        parts.append(f"{numbers['branch_percent']:.1f}% of branches")
    if numbers["outbound_attempts"]:
        parts.append(f"{_count(numbers['outbound_attempts'], 'outside connection')} refused")
    return ", ".join(parts)


def _sim(numbers: Numbers) -> str:
    return (
        f"{_count(numbers['executions'], 'execution')} of {_count(numbers['kernels'], 'kernel')},"
        f" {numbers['identical']:g} identical in a second process"
        f" ({numbers['determinism_percent']:g}% deterministic),"
        f" {_count(numbers['kernels_failed'], 'kernel')} failed"
    )


def _compare(numbers: Numbers) -> str:
    compared = _count(numbers["executions_compared"], "execution")
    return f"{_count(numbers['deltas'], 'delta')} to the baseline in {compared}"


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"


_LINES: Mapping[StageName, Callable[[Numbers], str]] = {
    StageName.LINT: _lint,
    StageName.UNIT: _unit,
    StageName.SIM: _sim,
    StageName.SNAPSHOT_COMPARE: _compare,
}
