"""What becomes of a whole run; and no way leads from missing evidence to a pass."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit.warroom.conftest import (
    GREEN,
    NOW,
    Remembered,
    judge_by,
    past,
    policy,
    report,
)

from testops.domain.gate import GateRule, Op
from testops.domain.policy import Policy
from testops.domain.run import RunState
from testops.domain.stage import StageAttempt, StageName, StageReport, StageState
from testops.domain.verdict import ExitCode, Verdict
from testops.domain.waiver import Waiver
from testops.warroom.judge import Judge
from testops.warroom.rules import Rules
from testops.warroom.verdicts import Judgement


def whole(judge: Judge, *reports: StageReport, strict: bool = False) -> Judgement:
    """The judgement over these stages, which are all that the suite has."""
    judged = [judge.stage(one) for one in reports]
    names = [one.name for one in reports]
    gates = [gate for _, said in judged for gate in said]
    gates += judge.absent(names, names)
    verdicts = [one.verdict for one, _ in judged if one.verdict is not None]
    return judge.run(verdicts, gates, strict=strict)


def weighed(*weights: float, **fields: Any) -> Policy:
    """A policy over `a`, `b`, …, each of which must be 0."""
    gates = [
        {"metric": name, "op": "==", "threshold": 0, "weight": weight}
        for name, weight in zip("abcdef", weights, strict=False)
    ]
    return policy(*gates, score=fields.pop("score", {"pass": 90, "warn": 70}), **fields)


@pytest.mark.parametrize(
    ("values", "score", "verdict"),
    [
        ({"a": 0, "b": 0, "c": 0}, 100, Verdict.PASS),
        ({"a": 0, "b": 0, "c": 1}, 90, Verdict.PASS),
        ({"a": 0, "b": 1, "c": 0}, 70, Verdict.WARN),
        ({"a": 0, "b": 1, "c": 1}, 60, Verdict.FAIL),
    ],
)
def test_the_score_is_what_was_achieved_of_all_weights(
    values: dict[str, float], score: float, verdict: Verdict
) -> None:
    found = whole(judge_by(weighed(60, 30, 10)), report(StageName.UNIT, **values))
    assert found.score is not None
    assert found.score.value == pytest.approx(score)
    assert found.verdict is verdict


def test_a_gate_that_warns_gives_half_its_weight() -> None:
    gates = [
        {"metric": "a", "op": "==", "threshold": 0, "severity": "warn"},
        {"metric": "b", "op": "==", "threshold": 0},
    ]
    found = whole(judge_by(policy(*gates, score={})), report(StageName.UNIT, a=1, b=0))
    assert found.score is not None
    assert (found.score.value, found.verdict) == (75, Verdict.WARN)


def test_a_key_objective_fails_the_run_whatever_the_score() -> None:
    gates = [
        {"metric": "a", "op": "==", "threshold": 0, "weight": 1, "key": True},
        {"metric": "b", "op": "==", "threshold": 0, "weight": 999},
    ]
    found = whole(judge_by(policy(*gates, score={})), report(StageName.UNIT, a=1, b=0))
    assert found.score is not None
    assert found.score.value > 99
    assert (found.verdict, found.exit_code) == (Verdict.FAIL, ExitCode.FAILED)


def test_what_a_policy_does_not_weigh_fails_the_run_as_ever() -> None:
    found = whole(judge_by(weighed(1)), report(StageName.UNIT, a=0, failed=1))
    assert found.verdict is Verdict.FAIL


def test_an_objective_of_determinism_is_a_key_one_with_a_code_of_its_own() -> None:
    gates = [
        {"stage": "sim", "metric": "determinism_percent", "op": ">=", "threshold": 98, "weight": 0},
        {"stage": "sim", "metric": "kernels_failed", "op": "==", "threshold": 0},
    ]
    found = whole(judge_by(policy(*gates, score={})), report(StageName.SIM, determinism_percent=50))
    assert found.exit_code is ExitCode.NONDETERMINISM


def test_an_open_gate_blocks_however_good_the_rest_is() -> None:
    found = whole(judge_by(weighed(99, 1)), report(StageName.UNIT, a=0))
    assert (found.verdict, found.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)


def test_a_score_that_nothing_open_could_save_has_failed() -> None:
    found = whole(judge_by(weighed(60, 30, 10)), report(StageName.UNIT, a=1, b=0))
    assert found.verdict is Verdict.FAIL


def test_a_required_stage_that_the_suite_has_not_is_open() -> None:
    wanted = policy({"metric": "failed", "op": "==", "threshold": 0}, required_stages=["sim"])
    judge = judge_by(wanted)
    absent = judge.absent([StageName.UNIT], [StageName.UNIT])
    assert {gate.rule.name for gate in absent} >= {"sim.determinism_percent", "sim.kernels_failed"}
    assert {gate.missing for gate in absent} == {"it has no such stage"}
    assert whole(judge, report(StageName.UNIT)).verdict is Verdict.INCONCLUSIVE


def test_a_run_of_some_stages_does_not_meet_a_policy_about_others() -> None:
    wanted = policy({"stage": "lint", "metric": "errors", "op": "==", "threshold": 0})
    absent = judge_by(wanted).absent([StageName.UNIT], [StageName.UNIT, StageName.LINT])
    assert [(gate.rule.name, gate.missing) for gate in absent] == [
        ("lint.errors", "the stage was not asked for")
    ]


def test_without_a_policy_a_run_of_some_stages_is_about_those() -> None:
    own = tuple(policy({"stage": "lint", "metric": "errors", "op": "==", "threshold": 0}).gates)
    judge = replace(judge_by(), rules=Rules(tuple(gate.as_rule() for gate in own)))
    assert judge.absent([StageName.UNIT], [StageName.UNIT, StageName.LINT]) == ()
    # A gate over a stage that the suite does not have at all can never be met.
    assert [g.rule.name for g in judge.absent([StageName.UNIT], [StageName.UNIT])] == [
        "lint.errors"
    ]


def test_evidence_that_is_too_old_proves_nothing() -> None:
    wanted = policy({"metric": "failed", "op": "==", "threshold": 0}, max_age_s=3600)
    fresh = judge_by(wanted, begun_at=NOW - timedelta(minutes=59))
    assert whole(fresh, report(StageName.UNIT)).verdict is Verdict.PASS
    for begun_at in (NOW - timedelta(minutes=61), NOW + timedelta(minutes=1), None):
        old = judge_by(wanted, begun_at=begun_at)
        assert whole(old, report(StageName.UNIT)).verdict is Verdict.INCONCLUSIVE


def test_a_gate_that_an_earlier_attempt_at_the_question_failed_is_open_where_refused() -> None:
    gate = {"metric": "failed", "op": "==", "threshold": 0}
    flaky = past(1, 2, metric="failed", verdict=Verdict.FAIL, run_id="f" * 16)
    other = past(2, 2, metric="failed", verdict=Verdict.FAIL)
    for history, wanted in (([flaky, other], Verdict.INCONCLUSIVE), ([other], Verdict.PASS)):
        judge = judge_by(policy(gate, reruns="refuse"), history=Remembered(list(history)))
        assert whole(judge, report(StageName.UNIT)).verdict is wanted
    allowed = judge_by(policy(gate), history=Remembered([flaky]))
    assert whole(allowed, report(StageName.UNIT)).verdict is Verdict.PASS


def test_nor_does_it_go_away_by_cutting_that_attempt_short_or_by_running_much_else() -> None:
    gate = {"metric": "failed", "op": "==", "threshold": 0}
    cut = {"state": RunState.CANCELLED, "verdict": Verdict.INCONCLUSIVE, "run_id": "f" * 16}
    flaky = past(1, 2, metric="failed", **cut)
    others = [past(number, 0, metric="failed") for number in range(2, 300)]
    judge = judge_by(policy(gate, reruns="refuse"), history=Remembered([flaky, *others]))
    assert whole(judge, report(StageName.UNIT)).verdict is Verdict.INCONCLUSIVE


def test_two_gates_of_one_name_are_called_apart_across_stages() -> None:
    suite = GateRule(StageName.LINT, "wall_s", Op.AT_MOST, 1, label="slow")
    asked = policy({"name": "slow", "metric": "wall_s", "op": "<=", "threshold": 1})
    rules = Rules((suite,), asked)
    names = [[r.name for r in rules.for_stage(n)] for n in (StageName.UNIT, StageName.LINT)]
    assert "slow" in names[0]
    assert ("slow.2" in names[1], "slow" in names[1]) == (True, False)


def test_strict_makes_a_warning_a_failure() -> None:
    one = report(StageName.SIM, determinism_percent=99)
    assert whole(judge_by(), one).exit_code is ExitCode.HOLDS
    assert whole(judge_by(), one, strict=True).exit_code is ExitCode.NONDETERMINISM


def test_no_stage_at_all_is_inconclusive() -> None:
    assert whole(judge_by()).verdict is Verdict.INCONCLUSIVE
    assert judge_by(weighed(1)).run([], []).verdict is Verdict.INCONCLUSIVE


# --- the property --------------------------------------------------------------------------------

STAGES = tuple(GREEN)
_states = st.sampled_from(StageState)
_values = st.one_of(
    st.none(), st.just(float("nan")), st.just(float("inf")), st.floats(0, 200), st.integers(0, 200)
)


@st.composite
def policies(draw: st.DrawFn) -> Policy | None:
    """Any policy over what the stages measure, or none."""
    if draw(st.booleans()):
        return None
    gates = []
    for stage in draw(st.lists(st.sampled_from(STAGES), min_size=1, max_size=4)):
        kind = draw(st.sampled_from(("absolute", "relative", "statistical")))
        gate: dict[str, Any] = {
            "stage": stage.value,
            "metric": draw(st.sampled_from(sorted(GREEN[stage]))),
            "weight": draw(st.sampled_from((0.5, 1.0, 100.0))),
            "key": draw(st.booleans()),
            "severity": draw(st.sampled_from(("block", "warn"))),
        }
        if kind == "absolute":
            gate |= {"op": draw(st.sampled_from((">=", "<=", "!=", "=="))), "threshold": 0}
        else:
            # Even where somebody lets a new suite pass.
            later = {"when_no_history": draw(st.sampled_from(("pass", "warn", "inconclusive")))}
            more = {"at_most_percent": 110} if kind == "relative" else {}
            gate[kind] = {**later, **more}
        gates.append(gate)
    score = draw(st.sampled_from((None, {"pass": 1, "warn": 1}, {"pass": 90, "warn": 50})))
    return policy(*gates, score=score)


@st.composite
def broken_runs(draw: st.DrawFn) -> tuple[list[StageReport], str]:
    """The reports of a run, of which at least one has lost evidence; and what was done to it."""
    reports = [report(stage) for stage in draw(st.sets(st.sampled_from(STAGES), min_size=1))]
    number = draw(st.integers(0, len(reports) - 1))
    one = reports[number]
    name = draw(st.sampled_from(sorted(one.metrics)))
    what = draw(st.sampled_from(("killed", "partial", "no number", "retried away")))
    match what:
        case "killed":
            state = draw(_states.filter(lambda state: state is not StageState.RAN))
            one = replace(one, state=state)
        case "partial":
            one = replace(one, metrics={k: v for k, v in one.metrics.items() if k != name})
        case "no number":
            value = draw(st.sampled_from((float("nan"), float("inf"), float("-inf"))))
            one = replace(
                one, metrics={**one.metrics, name: replace(one.metrics[name], value=value)}
            )
        case _:
            tries = (StageAttempt(1, "findings", 1.0), StageAttempt(2, "ran", 1.0))
            one = replace(one, attempts=tries)
    reports[number] = one
    return reports, what


waived = st.lists(
    st.builds(
        Waiver,
        st.just("core"),
        st.sampled_from([f"{stage.value}.{name}" for stage in STAGES for name in GREEN[stage]]),
        st.just("Ada"),
        st.just("why"),
        st.just(NOW + timedelta(days=1)),
    ),
    max_size=4,
)


@given(policies(), broken_runs(), waived)
def test_no_way_leads_from_missing_evidence_to_a_pass(
    wanted: Policy | None, run: tuple[list[StageReport], str], waivers: list[Waiver]
) -> None:
    judge = judge_by(wanted, waivers=waivers, history=Remembered([past(1, 1.0)]))
    reports, _ = run
    found = whole(judge, *reports)
    assert found.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)
    assert found.exit_code is not ExitCode.HOLDS


@given(policies(), st.sets(st.sampled_from(STAGES)), waived)
def test_nor_from_a_stage_that_was_left_out(
    wanted: Policy | None, left: set[StageName], waivers: list[Waiver]
) -> None:
    assume(wanted is not None)
    assert wanted is not None
    named = {StageName(gate.stage) for gate in wanted.gates}
    assume(not named <= left)
    judge = judge_by(wanted, waivers=waivers)
    found = whole(judge, *(report(stage) for stage in STAGES if stage in left))
    assert found.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)


@given(policies(), st.data())
def test_nor_from_whatever_a_stage_says_that_it_measured(
    wanted: Policy | None, data: st.DataObject
) -> None:
    metrics = {name: data.draw(_values, name) for name in GREEN[StageName.SIM]}
    assume(any(v is None or not 0 <= v < float("inf") for v in metrics.values()))
    found = whole(judge_by(wanted), report(StageName.SIM, **metrics))
    assert found.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)
