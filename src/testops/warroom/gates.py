"""Judges by rules what a stage measured. Measuring is the stages', choosing rules that of `rules`.

A rule without evidence is `inconclusive`, and that blocks: a release is never let through because a
number is missing. No evidence is what was not measured, is no number, comes of a stage that did not
run to its end, of one that was run again after it had found something, or is stale.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from testops.domain.gate import GateResult, GateRule, Kind, Severity
from testops.domain.policy import OF_DETERMINISM
from testops.domain.stage import Metric, StageName, StageReport, StageState
from testops.domain.verdict import ExitCode, Verdict, exit_code_of, worst
from testops.warroom.baselines import held_against_history
from testops.warroom.grounds import Grounds
from testops.warroom.waivers import waive

BROKEN = {
    Severity.BLOCK: Verdict.FAIL,
    Severity.WARN: Verdict.WARN,
    Severity.DOUBT: Verdict.INCONCLUSIVE,
}


def judge(
    report: StageReport, rules: Sequence[GateRule], grounds: Grounds, *, agree: bool = False
) -> tuple[StageReport, tuple[GateResult, ...]]:
    """What each of `rules` says about `report`, in their order, and the report with its verdict.

    With `agree` an earlier attempt at the very same question must not have failed a rule that holds
    now: a finding that goes away when it is asked again is still a finding.
    """
    said = [_apply(rule, report, grounds) for rule in rules]
    if agree:
        said = [_agreeing(result, grounds) for result in said]
    gates = tuple(waive(result, grounds) for result in said)
    reasons = (gate.missing or gate.reason for gate in gates if gate.verdict is not Verdict.PASS)
    reason = "; ".join(dict.fromkeys(reasons))
    if report.state is not StageState.RAN:
        return replace(report, verdict=Verdict.INCONCLUSIVE), gates
    return replace(report, verdict=worst(gate.verdict for gate in gates), reason=reason), gates


def absent(rule: GateRule, why: str) -> GateResult:
    """The result of a rule without any evidence, and why there is none."""
    threshold = "" if rule.threshold is None else f" {rule.op.value} {rule.threshold:g}"
    wanted = f", wanted{threshold}" if threshold else ""
    reason = f"{rule.metric} was not measured{wanted}: {why}"
    return GateResult(rule, Verdict.INCONCLUSIVE, None, reason, missing=why)


def _apply(rule: GateRule, report: StageReport, grounds: Grounds) -> GateResult:
    metric = _evidence(rule, report, grounds)
    if isinstance(metric, str):
        return absent(rule, metric)
    if rule.kind is not Kind.ABSOLUTE:
        return held_against_history(rule, metric, grounds, broken=BROKEN[rule.severity])
    assert rule.threshold is not None
    holds = rule.op.holds(metric.value, rule.threshold)
    margin = rule.op.margin(metric.value, rule.threshold)
    return GateResult(
        rule,
        Verdict.PASS if holds else BROKEN[rule.severity],
        metric.value,
        f"{sentence(rule, metric, margin, holds=holds)} ({metric.source})",
        unit=metric.unit,
        margin=margin,
        source=metric.source,
    )


def sentence(rule: GateRule, metric: Metric, margin: float, *, holds: bool) -> str:
    """What was measured, what was wanted, and how far it is from that."""
    assert rule.threshold is not None
    by = f"holds by {margin:g}" if holds else f"off by {abs(margin):g}"
    wanted = f"{rule.op.value} {rule.threshold:g}{metric.unit}"
    return f"{metric.name} is {metric.value:g}{metric.unit}, wanted {wanted}, {by}{metric.unit}"


def _evidence(rule: GateRule, report: StageReport, grounds: Grounds) -> Metric | str:
    """What the stage measured, or why that is none."""
    if report.state is not StageState.RAN:
        return report.reason or f"the stage is {report.state.value}"
    if grounds.stale:
        return grounds.stale
    hidden = [attempt.number for attempt in report.attempts[:-1] if attempt.outcome == "findings"]
    if hidden:
        return f"attempt {hidden[0]} found something and was run again, which hides findings"
    metric = report.metrics.get(rule.metric)
    if metric is None:
        return "; ".join(report.notes) or "the stage did not report it"
    if not math.isfinite(metric.value):
        return f"{metric.value:g} is no measurement ({metric.source})"
    return metric


def _agreeing(result: GateResult, grounds: Grounds) -> GateResult:
    """`result`, or that an earlier attempt at the same question said otherwise."""
    rule = result.rule
    # What a baseline says may change between two attempts without anything being hidden.
    is_asked_alike = rule.kind is Kind.ABSOLUTE and rule.stage is not StageName.SNAPSHOT_COMPARE
    if result.verdict is not Verdict.PASS or not is_asked_alike:
        return result
    assert rule.threshold is not None
    for past in grounds.earlier_attempts():
        value = past.metrics.get(rule.stage, {}).get(rule.metric)
        if value is not None and not rule.op.holds(value, rule.threshold):
            why = (
                f"attempt {past.attempt} of this very question measured {value:g}, this one"
                f" {result.value:g}: the same inputs gave two answers"
            )
            return replace(absent(rule, why), baseline_runs=(past.run_id,))
    return result


def exit_code_of_gate(result: GateResult, *, strict: bool) -> ExitCode:
    """The exit code that one gate asks for."""
    return exit_code_on(result.rule.metric, result.verdict, strict=strict)


def exit_code_on(metric: str, verdict: Verdict, *, strict: bool) -> ExitCode:
    """The exit code of `verdict` on `metric`: a broken determinism gate has a code of its own."""
    code = exit_code_of(verdict, strict=strict)
    if code is ExitCode.FAILED and metric in OF_DETERMINISM:
        return ExitCode.NONDETERMINISM
    return code
