"""Judges the metrics of a stage by rules. Measuring them belongs to the stages.

A rule whose metric was not measured is `inconclusive`, and that blocks: a release is never let
through because a number is missing.
"""

from collections.abc import Mapping, Sequence

from testops.domain.gate import GateResult, GateRule, Op, Severity
from testops.domain.stage import Metric, Ran, StageName, StageOutcome, ToolError
from testops.domain.verdict import ExitCode, Verdict, exit_code_of

DETERMINISM = "determinism_percent"
# Of snapshot-compare: executions that behaved otherwise when they were executed again.
NONDETERMINISTIC = "nondeterministic"

_BROKEN = {
    Severity.BLOCK: Verdict.FAIL,
    Severity.WARN: Verdict.WARN,
    Severity.DOUBT: Verdict.INCONCLUSIVE,
}

DEFAULT_RULES: tuple[GateRule, ...] = (
    GateRule(StageName.LINT, "errors", Op.EQUAL, 0),
    GateRule(StageName.UNIT, "failed", Op.EQUAL, 0),
    GateRule(StageName.UNIT, "tests", Op.AT_LEAST, 1),
    GateRule(StageName.UNIT, "outbound_attempts", Op.EQUAL, 0),
    GateRule(StageName.SIM, DETERMINISM, Op.AT_LEAST, 98),
    # Below 100 something does move; the default lets it pass, but not in silence.
    GateRule(StageName.SIM, DETERMINISM, Op.AT_LEAST, 100, Severity.WARN),
    GateRule(StageName.SIM, "kernels_failed", Op.EQUAL, 0),
    GateRule(StageName.SIM, "kernels_inconclusive", Op.EQUAL, 0, Severity.DOUBT),
    GateRule(StageName.SIM, "kernels_warned", Op.EQUAL, 0, Severity.WARN),
    GateRule(StageName.SNAPSHOT_COMPARE, "deltas", Op.EQUAL, 0),
    GateRule(StageName.SNAPSHOT_COMPARE, NONDETERMINISTIC, Op.EQUAL, 0),
    GateRule(StageName.SNAPSHOT_COMPARE, "findings", Op.EQUAL, 0, Severity.WARN),
)


def rules_for(stage: StageName, own: Sequence[GateRule]) -> tuple[GateRule, ...]:
    """The rules of `stage`: the suite's `own`, and the defaults for metrics it does not name."""
    mine = [rule for rule in own if rule.stage is stage]
    named = {rule.metric for rule in mine}
    kept = [r for r in DEFAULT_RULES if r.stage is stage and r.metric not in named]
    return (*mine, *kept)


def judge(stage: StageName, outcome: StageOutcome, own: Sequence[GateRule]) -> list[GateResult]:
    """What each rule of `stage` says about `outcome`, in the order of the rules."""
    rules = rules_for(stage, own)
    if isinstance(outcome, ToolError):
        return [_unmeasured(rule, outcome.message) for rule in rules]
    measured = {metric.name: metric for metric in outcome.metrics}
    return [_apply(rule, measured, outcome) for rule in rules]


def _apply(rule: GateRule, measured: Mapping[str, Metric], outcome: Ran) -> GateResult:
    metric = measured.get(rule.metric)
    if metric is None:
        return _unmeasured(rule, "; ".join(outcome.notes) or "the stage did not report it")
    held = f"{rule.metric} is {metric.value:g}{metric.unit}"
    asked = f"{rule.op.value} {rule.threshold:g}{metric.unit}"
    if rule.op.holds(metric.value, rule.threshold):
        return GateResult(rule, Verdict.PASS, metric.value, f"{held}, {asked} ({metric.source})")
    return GateResult(
        rule, _BROKEN[rule.severity], metric.value, f"{held}, wanted {asked} ({metric.source})"
    )


def _unmeasured(rule: GateRule, why: str) -> GateResult:
    reason = f"{rule.metric} was not measured, wanted {rule.op.value} {rule.threshold:g}: {why}"
    return GateResult(rule, Verdict.INCONCLUSIVE, None, reason, missing=why)


def exit_code_of_gate(result: GateResult, *, strict: bool) -> ExitCode:
    """The exit code that one gate asks for."""
    return exit_code_on(result.rule.metric, result.verdict, strict=strict)


def exit_code_on(metric: str, verdict: Verdict, *, strict: bool) -> ExitCode:
    """The exit code of `verdict` on `metric`: a broken determinism gate has a code of its own."""
    code = exit_code_of(verdict, strict=strict)
    if code is ExitCode.FAILED and metric in (DETERMINISM, NONDETERMINISTIC):
        return ExitCode.NONDETERMINISM
    return code
