"""Hardening: a phase is as good as its evidence, and what nobody checked has not passed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.report_pages import checked

from testops.domain.errors import BadInput
from testops.domain.verdict import Verdict
from testops.reports.formats.reading import Source
from testops.reports.hardening import Check, Phase, checks_in, hardening_json, phases_of
from testops.reports.hardening_page import render_hardening, write_hardening

NOW = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
OF_NINE = ("release_artifact", "audit_chain", "signed_checklist")


def file_of(body: object) -> Source:
    return Source("x.json", json.dumps(body).encode())


def check(name: str, verdict: Verdict = Verdict.PASS, **changes: Any) -> Check:
    given: dict[str, Any] = {"phase": 9, "at": NOW - timedelta(hours=1)} | changes
    return Check(name=name, verdict=verdict, **given)


def phase(number: int, *checks: Check) -> Phase:
    return next(one for one in phases_of(checks, at=NOW) if one.number == number)


def test_evidence_of_the_future_is_none() -> None:
    every = [check(name) for name in OF_NINE[1:]]
    for late, verdict in ((timedelta(minutes=4), "pass"), (timedelta(minutes=6), "inconclusive")):
        one = phase(9, check(OF_NINE[0], at=NOW + late), *every)
        assert one.verdict == verdict


def test_without_data_every_phase_is_not_measured_and_has_no_number() -> None:
    phases = phases_of([], at=NOW)
    assert [one.number for one in phases] == [4, 5, 6, 7, 8, 9]
    for one in phases:
        assert (one.verdict, one.pass_percent, one.open, one.oldest_s) == (None,) * 4
        assert one.coverage_percent == 0
    said = checked(render_hardening(phases)).words
    assert "Not measured No check left a result." in said
    assert said.count("not measured") == 6


def test_a_phase_with_every_check_passed_and_fresh_holds() -> None:
    found = phase(9, *(check(name) for name in OF_NINE))
    assert (found.verdict, found.coverage_percent, found.pass_percent) == (Verdict.PASS, 100, 100)
    assert found.oldest_s == 3600


def test_a_check_that_left_no_result_makes_its_phase_inconclusive() -> None:
    found = phase(9, *(check(name) for name in OF_NINE[1:]))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.missing == ("release_artifact",)
    assert found.coverage_percent == pytest.approx(66.7, abs=0.1)
    # Of those that were made all hold, and that is another number.
    assert found.pass_percent == 100
    assert "not measured: release_artifact" in checked(render_hardening([found])).words


@pytest.mark.parametrize(
    ("age", "verdict"),
    [(timedelta(days=7), Verdict.PASS), (timedelta(days=7, seconds=1), Verdict.INCONCLUSIVE)],
)
def test_evidence_older_than_a_week_is_stale(age: timedelta, verdict: Verdict) -> None:
    others = [check(name) for name in OF_NINE[1:]]
    found = phase(9, check(OF_NINE[0], at=NOW - age), *others)
    assert found.verdict is verdict
    said = checked(render_hardening([found])).words
    assert ("older than a week: release_artifact" in said) is (verdict is not Verdict.PASS)
    assert "7 days" in said


def test_a_failed_check_decides_and_its_open_findings_are_counted() -> None:
    checks = [check(name) for name in OF_NINE[1:]]
    bad = check(OF_NINE[0], Verdict.FAIL, open={"critical": 1, "low": 3}, summary="one is open")
    found = phase(9, bad, *checks)
    assert found.verdict is Verdict.FAIL
    assert found.open == {"critical": 1, "high": 0, "medium": 0, "low": 3, "info": 0}
    said = checked(render_hardening([found])).words
    assert "1 critical, 3 low" in said
    assert "release_artifact: fail, one is open" in said


def test_the_newest_result_of_a_check_counts_whatever_the_order() -> None:
    old = check(OF_NINE[0], Verdict.FAIL, at=NOW - timedelta(days=2))
    for checks in ([old, check(OF_NINE[0])], [check(OF_NINE[0]), old]):
        assert [one.verdict for one in phase(9, *checks).checks] == [Verdict.PASS]


def test_a_check_that_nobody_demands_counts_as_well() -> None:
    found = phase(9, *(check(name) for name in OF_NINE), check("own_drill", Verdict.FAIL))
    assert found.verdict is Verdict.FAIL
    assert found.expected[-1] == "own_drill"


def test_recorded_results_are_read_and_come_back_in_the_json(tmp_path: Path) -> None:
    body = {
        "schema": 1,
        "checks": [
            {
                "phase": 6,
                "name": "sast",
                "verdict": "fail",
                "at": "2026-11-25T18:00:00+00:00",
                "tool": "bandit",
                "open_findings": {"high": 2},
            }
        ],
    }
    phases = phases_of(checks_in(file_of(body)), at=NOW)
    paths = write_hardening(phases, tmp_path)
    assert [path.name for path in paths] == ["hardening.json", "hardening.html"]
    told = json.loads(paths[0].read_text())
    assert told == hardening_json(phases)
    six = told["phases"][2]
    assert (six["phase"], six["verdict"], six["checks_measured"]) == (6, "fail", 1)
    assert six["checks"][0]["open_findings"] == {"high": 2}
    assert "Fail · 0 of 6 phases hold" in checked(paths[1].read_text()).words


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "schema 1"),
        ({"schema": 2}, "schema 1"),
        ({"schema": 1}, "checks is no list"),
        ({"schema": 1, "checks": [None] * 1001}, "checks is no list"),
        ({"schema": 1, "checks": [7]}, "/checks/0: it is no object"),
        ({"schema": 1, "checks": [{}]}, "phase None is none"),
        ({"schema": 1, "checks": [{"phase": 4, "at": "yesterday"}]}, "no moment with a zone"),
        ({"schema": 1, "checks": [{"phase": 4, "at": "2026-11-25T18:00:00"}]}, "with a zone"),
        ({"schema": 1, "checks": [{"phase": 4, "at": "2026-11-25T18:00:00Z"}]}, "has no name"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_field(body: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        checks_in(file_of(body))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verdict", "ok"),
        ("verdict", None),
        ("open_findings", []),
        ("open_findings", {"bad": 1}),
        ("open_findings", {"high": -1}),
        ("open_findings", {"high": True}),
    ],
)
def test_a_verdict_or_count_that_is_none_is_refused(field: str, value: Any) -> None:
    whole = {"phase": 4, "name": "a", "at": "2026-11-25T18:00:00Z", "verdict": "pass"}
    with pytest.raises(BadInput, match=field):
        checks_in(file_of({"schema": 1, "checks": [whole | {field: value}]}))
    assert len(checks_in(file_of({"schema": 1, "checks": [whole]}))) == 1
