"""A gate judges what was measured; what was not measured blocks."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from testops.domain.gate import GateResult, GateRule, Op, Severity
from testops.domain.stage import Metric, StageAttempt, StageName, StageReport, StageState
from testops.domain.verdict import ExitCode, Verdict, worst
from testops.warroom.gates import exit_code_of_gate, judge
from testops.warroom.grounds import Grounds
from testops.warroom.rules import DEFAULT_RULES, Rules

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
GROUNDS = Grounds("core", "offline", "toron-v2.5", NOW)
GREEN_SIM = {
    "determinism_percent": 100.0,
    "kernels_failed": 0,
    "kernels_inconclusive": 0,
    "kernels_warned": 0,
}


def measured(stage: StageName, **metrics: float) -> StageReport:
    every = {name: Metric(name, value, "reports/x.json") for name, value in metrics.items()}
    return StageReport(
        stage, StageState.RAN, attempts=(StageAttempt(1, "ran", 0.1),), metrics=every
    )


def rules_for(stage: StageName, own: list[GateRule]) -> tuple[GateRule, ...]:
    return Rules(tuple(own)).for_stage(stage)


def judged(
    stage: StageName, report: StageReport, own: list[GateRule] | None = None
) -> tuple[GateResult, ...]:
    return judge(report, rules_for(stage, own or []), GROUNDS)[1]


def test_a_stage_as_wanted_passes() -> None:
    report, gates = judge(
        measured(StageName.SIM, **GREEN_SIM), rules_for(StageName.SIM, []), GROUNDS
    )
    assert {gate.verdict for gate in gates} == {Verdict.PASS}
    assert (report.verdict, report.reason) == (Verdict.PASS, "")


@pytest.mark.parametrize(
    "stage", [StageName.LINT, StageName.UNIT, StageName.SIM, StageName.SNAPSHOT_COMPARE]
)
def test_no_metric_at_all_is_inconclusive_in_every_stage(stage: StageName) -> None:
    results = judged(stage, measured(stage))
    assert results
    assert {result.verdict for result in results} == {Verdict.INCONCLUSIVE}
    assert all(result.verdict.blocks for result in results)


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.name)
def test_each_default_gate_can_go_red(rule: GateRule) -> None:
    assert rule.threshold is not None
    wrong = rule.threshold - 1 if rule.op is Op.AT_LEAST else rule.threshold + 1
    found = judged(rule.stage, measured(rule.stage, **{rule.metric: wrong}))
    mine = next(result for result in found if result.rule == rule)
    wanted = {
        Severity.BLOCK: Verdict.FAIL,
        Severity.WARN: Verdict.WARN,
        Severity.DOUBT: Verdict.INCONCLUSIVE,
    }
    assert mine.verdict is wanted[rule.severity]


def test_a_reason_names_metric_value_threshold_margin_and_source() -> None:
    result = judged(StageName.LINT, measured(StageName.LINT, errors=3))[0]
    assert result.reason == "errors is 3, wanted == 0, off by 3 (reports/x.json)"
    assert (result.margin, result.source) == (-3, "reports/x.json")


def test_what_holds_says_by_how_much() -> None:
    rule = GateRule(StageName.UNIT, "line_percent", Op.AT_LEAST, 85)
    report = measured(StageName.UNIT, line_percent=91.5)
    report = replace(
        report, metrics={"line_percent": Metric("line_percent", 91.5, "coverage.xml", "%")}
    )
    result = judged(StageName.UNIT, report, [rule])[0]
    assert result.reason == "line_percent is 91.5%, wanted >= 85%, holds by 6.5% (coverage.xml)"
    assert (result.verdict, result.unit) == (Verdict.PASS, "%")


def test_a_tool_error_gives_its_message_as_the_missing_cause() -> None:
    broken = StageReport(StageName.LINT, StageState.TOOL_ERROR, reason="ruff is not installed")
    result = judged(StageName.LINT, broken)[0]
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.missing == "ruff is not installed"


@pytest.mark.parametrize("state", [one for one in StageState if one is not StageState.RAN])
def test_a_stage_that_did_not_run_to_its_end_proves_nothing(state: StageState) -> None:
    killed = replace(measured(StageName.LINT, errors=0), state=state)
    report, gates = judge(killed, rules_for(StageName.LINT, []), GROUNDS)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert {gate.verdict for gate in gates} == {Verdict.INCONCLUSIVE}


def test_a_stage_that_was_run_again_after_it_found_something_proves_nothing() -> None:
    tries = (StageAttempt(1, "findings", 1.0), StageAttempt(2, "ran", 1.0))
    again = replace(measured(StageName.LINT, errors=0), attempts=tries)
    result = judged(StageName.LINT, again)[0]
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "attempt 1 found something" in result.reason


def test_a_stage_that_was_run_again_because_its_tool_failed_is_evidence() -> None:
    tries = (StageAttempt(1, "tool_error", 1.0, "no disk"), StageAttempt(2, "ran", 1.0))
    again = replace(measured(StageName.LINT, errors=0), attempts=tries)
    assert judged(StageName.LINT, again)[0].verdict is Verdict.PASS


def test_between_98_and_100_percent_the_default_warns() -> None:
    report = measured(StageName.SIM, **{**GREEN_SIM, "determinism_percent": 99})
    assert worst(result.verdict for result in judged(StageName.SIM, report)) is Verdict.WARN


def test_a_suites_rule_replaces_the_defaults_for_its_metric_only() -> None:
    own = [GateRule(StageName.SIM, "determinism_percent", Op.AT_LEAST, 100)]
    report = measured(StageName.SIM, **{**GREEN_SIM, "determinism_percent": 99})
    results = judged(StageName.SIM, report, own)
    failed = [result for result in results if result.verdict is Verdict.FAIL]
    assert [result.rule for result in failed] == own
    assert len(results) == 4


def test_broken_determinism_has_an_exit_code_of_its_own() -> None:
    report = measured(StageName.SIM, **{**GREEN_SIM, "determinism_percent": 50})
    codes = {exit_code_of_gate(one, strict=False) for one in judged(StageName.SIM, report)}
    assert codes == {ExitCode.HOLDS, ExitCode.NONDETERMINISM}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("op", Op)
def test_a_number_that_is_none_holds_nothing(value: float, op: Op) -> None:
    rule = GateRule(StageName.LINT, "errors", op, 0)
    result = judged(StageName.LINT, measured(StageName.LINT, errors=value), [rule])[0]
    assert result.verdict is Verdict.INCONCLUSIVE
