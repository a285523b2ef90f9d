"""A relative or statistical gate is held against earlier passed runs, and against nothing else."""

import math
from typing import Any

import pytest
from tests.unit.warroom.conftest import Remembered, judge_by, past, policy, report

from testops.domain.gate import GateResult
from testops.domain.stage import StageName
from testops.domain.verdict import Verdict

SAMPLES = tuple(10 + n * 0.6180339887 % 1 for n in range(40))
SLOWER = tuple(value * 1.2 for value in SAMPLES)


def relative(value: Any, history: Remembered, **rule: Any) -> GateResult:
    """What `wall_s` at most 110 % says about `value`."""
    gate = {"metric": "wall_s", "relative": {"at_most_percent": 110, **rule}}
    _, gates = judge_by(policy(gate), history=history).stage(report(StageName.UNIT, wall_s=value))
    return gates[0]


def statistical(values: Any, history: Remembered, **rule: Any) -> GateResult:
    gate = {"metric": "wall_s", "statistical": rule}
    _, gates = judge_by(policy(gate), history=history).stage(report(StageName.UNIT, wall_s=values))
    return gates[0]


def runs(*values: float, **changes: Any) -> Remembered:
    return Remembered([past(number, value, **changes) for number, value in enumerate(values)])


def test_a_tenth_more_than_the_median_holds_and_more_does_not() -> None:
    history = runs(90, 100, 110, 100, 95)
    holds, breaks = relative(110, history), relative(110.1, history)
    assert (holds.verdict, breaks.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert breaks.rule.threshold == pytest.approx(110)
    assert breaks.margin == pytest.approx(-0.1)
    assert breaks.reason == (
        "wall_s is 110.1, wanted <= 110, off by 0.1 (x.json); that is 110 % of the median 100 of"
        " 5 passed runs: 00000000/1, 00000000/1, 00000000/1, 00000000/1, 00000000/1"
    )
    assert breaks.baseline_runs == tuple(f"{n:016x}" for n in (4, 3, 2, 1, 0))


@pytest.mark.parametrize(("to", "threshold"), [("median", 110.0), ("best", 88.0), ("last", 132.0)])
def test_the_ground_is_the_one_that_is_named(to: str, threshold: float) -> None:
    result = relative(1, runs(80, 100, 120), to=to)
    assert result.rule.threshold == pytest.approx(threshold)


def test_at_least_is_the_other_way_round_and_its_best_is_the_largest() -> None:
    gate = {"metric": "wall_s", "relative": {"at_least_percent": 90, "to": "best"}}
    judge = judge_by(policy(gate), history=runs(80, 100, 120))
    verdicts = [
        judge.stage(report(StageName.UNIT, wall_s=value))[1][0].verdict for value in (108, 107.9)
    ]
    assert verdicts == [Verdict.PASS, Verdict.FAIL]


def test_of_a_negative_ground_a_tenth_more_is_still_more() -> None:
    assert relative(-95, runs(-100, -100, -100)).verdict is Verdict.PASS
    assert relative(-89, runs(-100, -100, -100)).verdict is Verdict.FAIL


def test_a_new_suite_has_no_history_and_the_gate_says_so_and_blocks() -> None:
    result = relative(100, Remembered())
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "0 of the 3 passed runs of suite core, profile offline" in result.reason
    assert result.rule.threshold is None


@pytest.mark.parametrize("word", ["pass", "warn"])
def test_what_a_new_suite_gets_is_what_its_author_wrote(word: str) -> None:
    result = relative(100, runs(100, 100), when_no_history=word)
    assert result.verdict is Verdict(word)
    assert "(when_no_history)" in result.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": Verdict.FAIL},
        {"verdict": Verdict.INCONCLUSIVE},
        {"suite": "other"},
        {"profile": "heavy"},
        {"let_through": frozenset({(StageName.UNIT, "wall_s")})},
        {"metric": "another"},
    ],
    ids=str,
)
def test_what_did_not_pass_alike_is_no_ground(changes: dict[str, Any]) -> None:
    assert relative(100, runs(100, 100, 100, **changes)).verdict is Verdict.INCONCLUSIVE


def test_a_past_value_that_is_no_number_is_no_ground() -> None:
    assert relative(1, runs(math.nan, math.inf, 100)).verdict is Verdict.INCONCLUSIVE


def test_a_run_that_warned_is_ground_so_that_a_new_suite_can_begin() -> None:
    assert relative(100, runs(100, 100, 100, verdict=Verdict.WARN)).verdict is Verdict.PASS


@pytest.mark.parametrize(("stage", "is_ground"), [(StageName.SIM, False), (StageName.UNIT, True)])
def test_another_engine_minor_is_no_ground_for_what_the_engine_executes(
    stage: StageName, is_ground: bool
) -> None:
    history = Remembered(
        [past(n, 1.0, stage=stage, engine_version="toron-v2.4H+.9") for n in range(3)]
    )
    gate = {"stage": stage.value, "metric": "wall_s", "relative": {"at_most_percent": 110}}
    result = judge_by(policy(gate), history=history).stage(report(stage, wall_s=1.0))[1][0]
    assert (result.verdict is Verdict.PASS) is is_ground


def test_the_newest_patch_of_the_engine_is_ground() -> None:
    history = Remembered(
        [past(n, 1.0, stage=StageName.SIM, engine_version="toron-v2.5H+.9") for n in range(3)]
    )
    gate = {"stage": "sim", "metric": "wall_s", "relative": {"at_most_percent": 110}}
    result = judge_by(policy(gate), history=history).stage(report(StageName.SIM, wall_s=1.0))[1]
    assert result[0].verdict is Verdict.PASS


def test_a_fifth_slower_is_significant_and_larger_than_allowed() -> None:
    history = runs(10, 10, samples=SAMPLES)
    result = statistical(SLOWER, history)
    assert result.verdict is Verdict.FAIL
    assert result.statistics is not None
    assert result.statistics["p"] < 0.001
    assert result.statistics["cliffs_delta"] > 0.9
    assert result.statistics["shift_percent"] == pytest.approx(20, abs=1)
    assert result.margin is not None
    assert result.margin < 0
    assert result.baseline_runs == (f"{1:016x}", f"{0:016x}")
    for part in ("wall_s", "samples", "allowed 5 %", "p ", "Cliff's delta", "(x.json)", "runs:"):
        assert part in result.reason


def test_the_same_again_holds() -> None:
    assert statistical(SAMPLES, runs(10, samples=SAMPLES)).verdict is Verdict.PASS


def test_a_shift_that_is_significant_but_small_holds() -> None:
    slightly = tuple(value * 1.04 for value in SAMPLES)
    result = statistical(slightly, runs(10, samples=SAMPLES), min_effect=0.0)
    assert result.statistics is not None
    assert result.statistics["p"] < 0.01
    assert result.verdict is Verdict.PASS


def test_a_shift_that_is_large_but_may_be_chance_holds() -> None:
    wild = tuple(10 ** (n * 0.6180339887 % 1) for n in range(20))
    moved = tuple(value * 1.06 for value in wild)
    result = statistical(moved, runs(10, samples=wild), min_effect=0.0)
    assert result.statistics is not None
    assert result.statistics["shift_percent"] > 5
    assert result.verdict is Verdict.PASS
    assert "may be chance" in result.reason


def test_a_shift_that_is_certain_and_large_but_of_little_effect_holds() -> None:
    wild = tuple(10 ** (n * 0.6180339887 % 1) for n in range(400))
    moved = tuple(value * 1.25 for value in wild)
    history = runs(10, samples=wild)
    assert statistical(moved, history, min_effect=0.1).verdict is Verdict.FAIL
    result = statistical(moved, history)
    assert result.statistics is not None
    assert result.statistics["p"] < 0.001
    assert result.statistics["shift_percent"] > 5
    assert result.verdict is Verdict.PASS


def test_faster_is_not_worse_unless_any_difference_is() -> None:
    faster = tuple(value * 0.7 for value in SAMPLES)
    history = runs(10, samples=SAMPLES)
    verdicts = [
        statistical(faster, history, worse=worse).verdict
        for worse in ("higher", "lower", "different")
    ]
    assert verdicts == [Verdict.PASS, Verdict.FAIL, Verdict.FAIL]


@pytest.mark.parametrize("values", [(), SAMPLES[:19], (*SAMPLES, math.nan), (*SAMPLES, math.inf)])
def test_samples_of_this_run_that_say_too_little_are_inconclusive(
    values: tuple[float, ...],
) -> None:
    result = statistical(values, runs(10, samples=SAMPLES), when_no_history="pass")
    assert result.verdict is Verdict.INCONCLUSIVE


def test_earlier_samples_that_are_too_few_are_no_history() -> None:
    assert statistical(SAMPLES, runs(10, samples=SAMPLES[:19])).verdict is Verdict.INCONCLUSIVE
    few = statistical(SAMPLES, runs(10, samples=SAMPLES[:19]), when_no_history="warn")
    assert few.verdict is Verdict.WARN


def test_samples_that_could_never_be_significant_are_inconclusive() -> None:
    few, old = SAMPLES[:4], runs(10, samples=SAMPLES[:4])
    result = statistical(few, old, min_samples=4, alpha=0.001)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "can never be significant" in result.reason
