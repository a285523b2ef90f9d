"""A gate judges what was measured; what was not measured blocks."""

import pytest

from testops.domain.gate import GateRule, Op, Severity
from testops.domain.stage import Metric, Ran, StageName, ToolError
from testops.domain.verdict import ExitCode, Verdict, worst
from testops.warroom.gates import DEFAULT_RULES, exit_code_of_gate, judge


def measured(**metrics: float) -> Ran:
    return Ran(tuple(Metric(name, value, "reports/x.json") for name, value in metrics.items()))


GREEN_SIM = {
    "determinism_percent": 100.0,
    "kernels_failed": 0,
    "kernels_inconclusive": 0,
    "kernels_warned": 0,
}


def test_a_stage_as_wanted_passes() -> None:
    results = judge(StageName.SIM, measured(**GREEN_SIM), [])
    assert {result.verdict for result in results} == {Verdict.PASS}


@pytest.mark.parametrize(
    "stage", [StageName.LINT, StageName.UNIT, StageName.SIM, StageName.SNAPSHOT_COMPARE]
)
def test_no_metric_at_all_is_inconclusive_in_every_stage(stage: StageName) -> None:
    results = judge(stage, Ran(()), [])
    assert results
    assert {result.verdict for result in results} == {Verdict.INCONCLUSIVE}
    assert all(result.verdict.blocks for result in results)


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: f"{rule.stage}-{rule.condition}")
def test_each_default_gate_can_go_red(rule: GateRule) -> None:
    wrong = rule.threshold - 1 if rule.op is Op.AT_LEAST else rule.threshold + 1
    found = judge(rule.stage, measured(**{rule.metric: wrong}), [])
    mine = next(result for result in found if result.rule == rule)
    wanted = {
        Severity.BLOCK: Verdict.FAIL,
        Severity.WARN: Verdict.WARN,
        Severity.DOUBT: Verdict.INCONCLUSIVE,
    }
    assert mine.verdict is wanted[rule.severity]


def test_a_reason_names_metric_value_threshold_and_source() -> None:
    result = judge(StageName.LINT, measured(errors=3), [])[0]
    assert result.reason == "errors is 3, wanted == 0 (reports/x.json)"


def test_a_tool_error_gives_its_message_as_the_missing_cause() -> None:
    result = judge(StageName.LINT, ToolError("ruff is not installed"), [])[0]
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.missing == "ruff is not installed"


def test_between_98_and_100_percent_the_default_warns() -> None:
    results = judge(StageName.SIM, measured(**{**GREEN_SIM, "determinism_percent": 99}), [])
    assert worst(result.verdict for result in results) is Verdict.WARN


def test_a_suites_rule_replaces_the_defaults_for_its_metric_only() -> None:
    own = [GateRule(StageName.SIM, "determinism_percent", Op.AT_LEAST, 100)]
    results = judge(StageName.SIM, measured(**{**GREEN_SIM, "determinism_percent": 99}), own)
    failed = [result for result in results if result.verdict is Verdict.FAIL]
    assert [result.rule for result in failed] == own
    assert len(results) == 4


def test_broken_determinism_has_an_exit_code_of_its_own() -> None:
    results = judge(StageName.SIM, measured(**{**GREEN_SIM, "determinism_percent": 50}), [])
    codes = {exit_code_of_gate(result, strict=False) for result in results}
    assert codes == {ExitCode.HOLDS, ExitCode.NONDETERMINISM}


def test_a_number_that_is_not_one_fails_the_gate() -> None:
    results = judge(StageName.LINT, measured(errors=float("nan")), [])
    assert results[0].verdict is Verdict.FAIL
