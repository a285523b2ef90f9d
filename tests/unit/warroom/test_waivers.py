"""A waiver makes one failing gate a warning, for a while, in somebody's name; and nothing else."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.warroom.conftest import NOW, Remembered, judge_by, past, policy, report

from testops.domain.gate import GateResult
from testops.domain.stage import StageName, StageState
from testops.domain.verdict import ExitCode, Verdict
from testops.domain.waiver import Refused, Waiver, WaiverEntry, waiver_of

WAIVER = Waiver("core", "unit.failed", "Ada Lovelace", "known, T-12", NOW + timedelta(days=3))


def said(waiver: Waiver, gate: str = "unit.failed", **metrics: Any) -> GateResult:
    stage = StageName(gate.split(".", maxsplit=1)[0])
    gates = judge_by(waivers=[waiver]).stage(report(stage, **metrics))[1]
    return next(one for one in gates if one.rule.name == gate)


def test_a_failing_gate_is_a_warning_that_says_who_why_and_until_when() -> None:
    result = said(replace(WAIVER, ticket="T-12"), failed=2)
    assert result.verdict is Verdict.WARN
    assert result.to_json()["waiver"] == {
        "owner": "Ada Lovelace",
        "reason": "known, T-12",
        "expires": "2026-11-28T12:00:00Z",
        "ticket": "T-12",
    }
    assert result.reason == (
        "failed is 2, wanted == 0, off by 2 (x.json);"
        " waived by Ada Lovelace until 2026-11-28T12:00:00Z: known, T-12"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expires_at": NOW - timedelta(days=3)}, "expired 3 days ago"),
        ({"expires_at": NOW}, "expired 0 s ago"),
        ({"up_to": 1}, "covers it up to 1, and it is 2"),
    ],
)
def test_what_does_not_cover_it_says_why(changes: dict[str, Any], words: str) -> None:
    result = said(replace(WAIVER, **changes), failed=2)
    assert (result.verdict, result.waiver) == (Verdict.FAIL, None)
    assert words in result.reason


def test_a_limit_covers_what_is_no_worse() -> None:
    assert said(replace(WAIVER, up_to=2), failed=2).verdict is Verdict.WARN
    assert said(replace(WAIVER, up_to=2), failed=3).verdict is Verdict.FAIL


def test_no_limit_covers_a_change_that_is_worse_either_way() -> None:
    gate = {"name": "shift", "metric": "wall_s", "statistical": {"worse": "different"}}
    usual = tuple(100 + n / 10 for n in range(40))
    history = Remembered([past(1, 100, samples=usual)])
    fallen = tuple(one / 2 for one in usual)
    fell = report(StageName.UNIT, wall_s=fallen)
    for up_to, wanted in ((None, Verdict.WARN), (110, Verdict.FAIL)):
        waiver = replace(WAIVER, gate="shift", up_to=up_to)
        judge = judge_by(policy(gate), history=history, waivers=[waiver])
        assert judge.stage(fell)[1][0].verdict is wanted


@pytest.mark.parametrize("changes", [{"suite": "other"}, {"gate": "unit.tests"}])
def test_it_is_bound_to_a_suite_and_a_gate(changes: dict[str, Any]) -> None:
    assert said(replace(WAIVER, **changes), failed=2).verdict is Verdict.FAIL


def test_missing_evidence_cannot_be_waived() -> None:
    result = said(WAIVER, failed=None)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "missing evidence cannot be waived" in result.reason


def test_nor_can_that_of_a_killed_stage() -> None:
    killed = replace(report(StageName.UNIT, failed=2), state=StageState.CANCELLED)
    gates = judge_by(waivers=[WAIVER]).stage(killed)[1]
    assert {one.verdict for one in gates} == {Verdict.INCONCLUSIVE}


def test_determinism_cannot_be_waived() -> None:
    name = "sim.determinism_percent"
    result = said(replace(WAIVER, gate=name), name, determinism_percent=50)
    assert result.verdict is Verdict.FAIL
    assert "determinism cannot be waived" in result.reason


def test_nor_can_it_be_under_another_name() -> None:
    gate = {
        "name": "unit.x",
        "stage": "sim",
        "metric": "determinism_percent",
        "op": ">=",
        "threshold": 99,
    }
    judge = judge_by(policy(gate), waivers=[replace(WAIVER, gate="unit.x")])
    first = judge.stage(report(StageName.SIM, determinism_percent=50))[1][0]
    assert (first.rule.name, first.verdict) == ("unit.x", Verdict.FAIL)


def test_a_waived_run_warns_and_never_passes() -> None:
    judge = judge_by(
        policy({"metric": "x", "op": "==", "threshold": 0}, score={}), waivers=[WAIVER]
    )
    judged, gates = judge.stage(report(StageName.UNIT, failed=2, x=0))
    assert judged.verdict is Verdict.WARN
    whole = judge.run([judged.verdict], gates)
    assert (whole.verdict, whole.exit_code) == (Verdict.WARN, ExitCode.HOLDS)


@pytest.mark.parametrize(
    ("changes", "failed", "words"),
    [
        ({}, 0, "is not needed: the gate holds"),
        ({"gate": "unit.nothing"}, 2, "names no gate of this run"),
        ({"expires_at": NOW - timedelta(hours=5)}, 0, "expired 5 hours ago"),
        ({"up_to": 1}, 2, "covers it up to 1"),
    ],
)
def test_a_waiver_that_did_nothing_is_told(
    changes: dict[str, Any], failed: int, words: str
) -> None:
    judge = judge_by(waivers=[replace(WAIVER, **changes)])
    gates = judge.stage(report(StageName.UNIT, failed=failed))[1]
    [line] = judge.waivers_unused(gates)
    assert words in line


def test_one_that_was_used_and_one_of_another_suite_are_not() -> None:
    judge = judge_by(waivers=[WAIVER, replace(WAIVER, suite="other")])
    gates = judge.stage(report(StageName.UNIT, failed=2))[1]
    assert judge.waivers_unused(gates) == ()


ENTRY = {
    "suite": "core",
    "gate": "unit.failed",
    "owner": "Ada",
    "reason": "known",
    "expires": "2026-12-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"expires": "2027-03-01T00:00:00Z"}, "expires"),
        ({"expires": "2026-12-01T00:00:00"}, "expires"),
        ({"expires": "tomorrow"}, "expires"),
        ({"gate": "sim.determinism_percent"}, "gate"),
    ],
)
def test_what_nobody_may_grant_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        waiver_of(WaiverEntry.model_validate({**ENTRY, **changes}), NOW)
    assert refused.value.field == field


def test_ninety_days_are_granted_and_not_a_second_more() -> None:
    last = NOW + timedelta(days=90)
    entry = WaiverEntry.model_validate({**ENTRY, "expires": last.isoformat()})
    assert waiver_of(entry, NOW).expires_at == last
    with pytest.raises(Refused):
        waiver_of(entry, NOW - timedelta(seconds=1))
