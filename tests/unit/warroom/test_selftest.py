"""Every gate shows that it can go red; one that cannot is found, whatever it looks like."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.warroom.conftest import policy

from testops.domain.verdict import Verdict
from testops.warroom import selftest as module
from testops.warroom.gates import judge
from testops.warroom.rules import DEFAULT_RULES, Rules
from testops.warroom.selftest import Tried, selftest


def tried(gate: dict[str, Any]) -> Tried:
    """What became of the one gate of a policy."""
    name = f"unit.{gate['metric']}"
    return next(one for one in selftest(Rules(policy=policy(gate))) if one.name == name)


def test_every_default_rule_rejects_its_bad_sample_and_takes_its_good_one() -> None:
    found = selftest(Rules())
    assert [one.name for one in found] == [rule.name for rule in DEFAULT_RULES]
    assert [one.problem for one in found] == [""] * len(found)
    assert all(one.bad != "nothing" != one.good for one in found)


@pytest.mark.parametrize(
    "gate",
    [
        {"metric": "line_percent", "op": ">=", "threshold": 85},
        {"metric": "wall_s", "op": "<", "threshold": 0.001},
        {"metric": "x_delta", "op": ">=", "threshold": 0},
        {"metric": "wall_s", "relative": {"at_most_percent": 110}},
        {"metric": "line_percent", "relative": {"at_least_percent": 99, "to": "best"}},
        {"metric": "wall_s", "relative": {"at_most_percent": 100, "to": "last"}},
        {"metric": "wall_s", "statistical": {}},
        {"metric": "rate", "statistical": {"worse": "lower", "max_shift_percent": 20}},
        {"metric": "wall_s", "statistical": {"worse": "different", "alpha": 0.001}},
    ],
    ids=lambda gate: "-".join(map(str, gate.values())),
)
def test_a_gate_that_can_go_red_shows_it(gate: dict[str, Any]) -> None:
    found = tried(gate)
    assert found.problem == ""
    assert found.bad != "nothing"


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"metric": "failed", "op": ">=", "threshold": 0}, "cannot go red"),
        ({"metric": "failed", "op": "!=", "threshold": -1}, "cannot go red"),
        ({"metric": "line_percent", "op": "<=", "threshold": 100}, "cannot go red"),
        ({"metric": "line_percent", "op": ">", "threshold": 100}, "can never hold"),
        ({"metric": "failed", "op": "<", "threshold": 0}, "can never hold"),
        ({"metric": "wall_s", "relative": {"at_least_percent": 0}}, "cannot go red"),
        ({"metric": "wall_s", "statistical": {"min_samples": 4, "of": 1}}, "cannot go red"),
        (
            {"metric": "wall_s", "statistical": {"worse": "lower", "max_shift_percent": 100}},
            "cannot go red",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_a_gate_that_only_looks_like_one_is_found(gate: dict[str, Any], words: str) -> None:
    assert words in tried(gate).problem


def test_a_judge_that_lets_everything_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(report: Any, rules: Any, grounds: Any) -> Any:
        _, gates = judge(report, rules, grounds)
        return report, tuple(replace(one, verdict=Verdict.PASS) for one in gates)

    monkeypatch.setattr(module, "judge", lenient)
    assert all(one.problem for one in selftest(Rules()))


def test_the_score_of_a_policy_is_tried_as_well() -> None:
    gate = {"metric": "failed", "op": "==", "threshold": 0}
    found = selftest(Rules(policy=policy(gate, score={"pass": 90, "warn": 50})))
    assert (found[-1].name, found[-1].problem) == ("score of release", "")


def test_a_gate_that_asks_for_very_many_samples_is_tried_with_no_more_than_it_takes() -> None:
    many = {"of": 50, "min_samples": 10_000}
    asked = policy({"metric": "wall_s", "statistical": many})
    rule = Rules(policy=asked).of_policy[0]
    for _, metric, earlier in module._samples(rule):
        pooled = sum(len(run.samples[rule.stage][rule.metric]) for run in earlier)
        assert (len(metric.samples), pooled) == (10_000, 10_000)
    assert module.tried_rule(rule).problem == ""
