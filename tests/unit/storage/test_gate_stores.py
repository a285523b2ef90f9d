"""What judges runs is kept: policies by version, waivers until withdrawn, and what was measured."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.platform import GREEN, Stores, at_once, new_run

from testops.domain.execution import Ending, StageRecord, cancelled
from testops.domain.gate import GateResult, GateRule, Op, Waived
from testops.domain.history import History
from testops.domain.policy import Policy
from testops.domain.run import RunState
from testops.domain.stage import Metric, StageName, StageReport, StageState
from testops.domain.verdict import Verdict
from testops.domain.waiver import Waiver
from testops.runner.policies import digest_of
from testops.storage.database import open_database
from testops.storage.history import WorkspaceHistory
from testops.storage.policies import PolicyStore
from testops.storage.waivers import WaiverStore

GATE = {"stage": "unit", "metric": "failed", "op": "==", "threshold": 0}
POLICY = Policy.model_validate({"name": "release", "version": 77, "gates": [GATE]})
WAIVER = Waiver("core", "unit.failed", "Ada", "why", datetime.now(UTC) + timedelta(days=3), up_to=2)


@pytest.fixture
def stores(database_url: str) -> Iterator[Stores]:
    database = open_database(database_url)
    yield Stores(database)
    database.close()


def test_each_change_of_a_policy_is_a_version_that_stays(stores: Stores) -> None:
    policies = PolicyStore(stores.database)
    first = policies.put("release", POLICY, digest_of, base=None, by="ada")
    assert first is not None
    # The server counts; what somebody wrote in the file says nothing here.
    assert (first.version, first.definition["version"]) == (1, 1)
    stricter = POLICY.model_copy(update={"description": "stricter"})
    second = policies.put("release", stricter, digest_of, base=1, by="bob")
    assert second is not None
    assert (second.version, second.created_by) == (2, "bob")
    assert policies.put("release", POLICY, digest_of, base=1, by="late") is None
    assert policies.put("release", POLICY, digest_of, base=None, by="late") is None
    assert policies.get("release") == second
    assert policies.get("release", 1) == first
    assert policies.all() == [second]
    called = policies.called("release")
    assert called is not None
    assert (called.version, digest_of(called)) == (2, second.digest)

    assert not policies.remove("release", base=1, by="late")
    assert policies.remove("release", base=2, by="ada")
    assert (policies.get("release"), policies.called("release"), policies.all()) == (None, None, [])
    assert policies.versions("release") == [second, first]
    again = policies.put("release", POLICY, digest_of, base=None, by="ada")
    assert again is not None
    assert again.version == 4


def test_of_two_who_change_one_version_at_once_one_is_told(stores: Stores) -> None:
    policies = PolicyStore(stores.database)
    policies.put("release", POLICY, digest_of, base=None, by="ada")

    made: list[Any] = []

    def change(number: int) -> None:
        made.append(policies.put("release", POLICY, digest_of, base=1, by=f"{number}"))

    at_once(4, change)
    assert len([one for one in made if one is not None]) == 1
    assert [one.version for one in policies.versions("release")] == [2, 1]


def test_a_waiver_is_kept_until_it_is_withdrawn(stores: Stores) -> None:
    waivers = WaiverStore(stores.database)
    made = waivers.add(WAIVER, workspace="default", by="key of bob")
    other = waivers.add(replace(WAIVER, reason="again"), workspace="other", by="eve")
    assert (made.owner, made.created_by, made.up_to) == ("Ada", "key of bob", 2)
    assert abs(made.expires_at - WAIVER.expires_at) < timedelta(seconds=1)
    assert waivers.of("default") == [made]
    assert waivers.all(None) == sorted([made, other], key=lambda one: one.created_at, reverse=True)
    assert waivers.all(frozenset({"other"})) == [other]
    assert waivers.withdraw(made.waiver_id, by="bob")
    assert not waivers.withdraw(made.waiver_id, by="bob")
    assert (waivers.get(made.waiver_id), waivers.of("default")) == (None, [])


def finish(
    stores: Stores,
    run_id: str,
    *,
    waived: bool = False,
    said: Verdict = Verdict.WARN,
    ending: Ending = GREEN,
    **fields: Any,
) -> None:
    """Execute a run that measured 5 s in 3 samples, and end it."""
    stores.runs.create(replace(new_run(run_id), **fields))
    taken = stores.executions.take(run_id, 1, "one")
    assert taken is not None
    metric = Metric("wall_s", 5.0, "x.json", "s", (4.0, 5.0, 6.0))
    report = StageReport(StageName.LINT, StageState.RAN, metrics={"wall_s": metric})
    waiver = Waived("Ada", "why", "2030-01-01T00:00:00Z") if waived else None
    rule = GateRule(StageName.LINT, "wall_s", Op.AT_MOST, 1)
    gate = GateResult(rule, said, 5.0, "…", waiver=waiver)
    stores.executions.record(
        taken, StageRecord("lint", report.to_full_json(), [gate.to_full_json()])
    )
    stores.executions.finish(taken, replace(ending, judgement={"score": None, "gates": []}))


def test_what_a_run_measured_is_history_of_its_workspace(stores: Stores) -> None:
    finish(stores, "a" * 16)
    finish(stores, "b" * 16, waived=True)
    finish(stores, "c" * 16, workspace="other")
    finish(stores, "d" * 16, suite="other")
    history: History = WorkspaceHistory(stores.database, "default")

    def asked(**changes: Any) -> list[str]:
        usual: dict[str, Any] = {
            "suite": "core",
            "profile": "offline",
            "verdicts": frozenset({Verdict.PASS}),
            "limit": 9,
        }
        return [past.run_id[0] for past in history.runs(**{**usual, **changes})]

    assert sorted(asked()) == ["a", "b"]
    assert len(asked(limit=1)) == 1
    assert asked(profile=None) == asked()
    assert asked(profile="heavy") == asked(verdicts=frozenset({Verdict.FAIL})) == []
    found = history.runs(suite="core", profile=None, verdicts=frozenset({Verdict.PASS}), limit=9)
    past = {one.run_id[0]: one for one in found}
    assert past["a"].metrics == {StageName.LINT: {"wall_s": 5.0}}
    assert past["a"].samples == {StageName.LINT: {"wall_s": (4.0, 5.0, 6.0)}}
    assert (past["a"].let_through, past["a"].commit) == (frozenset(), "c" * 40)
    assert past["b"].let_through == {(StageName.LINT, "wall_s")}


def test_a_value_that_failed_in_a_run_that_passed_is_known_as_let_through(stores: Stores) -> None:
    finish(stores, "a" * 16, said=Verdict.FAIL)
    found = WorkspaceHistory(stores.database, "default").attempts("a" * 16)
    assert [one.let_through for one in found] == [{(StageName.LINT, "wall_s")}]


def test_every_ended_attempt_of_one_run_is_known_also_one_that_was_cut_short(
    stores: Stores,
) -> None:
    finish(stores, "a" * 16, ending=cancelled("ada"))
    finish(stores, "b" * 16)
    history = WorkspaceHistory(stores.database, "default")
    [cut] = history.attempts("a" * 16)
    assert (cut.state, cut.metrics) == (RunState.CANCELLED, {StageName.LINT: {"wall_s": 5.0}})
    assert history.runs(suite="core", profile=None, verdicts=frozenset(Verdict), limit=9) == [
        *history.attempts("b" * 16)
    ]
    assert list(WorkspaceHistory(stores.database, "other").attempts("a" * 16)) == []


def test_what_runs_or_has_not_finished_is_no_history(stores: Stores) -> None:
    stores.runs.create(new_run())
    stores.executions.take("a" * 16, 1, "one")
    stores.runs.create(new_run("b" * 16))
    stores.runs.request_cancel("b" * 16, "bob")
    history = WorkspaceHistory(stores.database, "default")
    assert history.runs(suite="core", profile=None, verdicts=frozenset(Verdict), limit=9) == []


def test_what_was_judged_of_the_whole_is_shown_and_gone_in_the_next_attempt(
    stores: Stores,
) -> None:
    stores.runs.create(new_run())
    taken = stores.executions.take("a" * 16, 1, "one")
    assert taken is not None
    absent = GateResult(
        GateRule(StageName.UNIT, "failed", Op.EQUAL, 0), Verdict.INCONCLUSIVE, None, "…"
    )
    judgement = {
        "score": {"value": 50.0, "pass": 90.0, "warn": 75.0},
        "gates": [absent.to_full_json()],
        "waivers_unused": ["the waiver of Ada for x expired 3 days ago"],
    }
    stores.executions.finish(taken, replace(GREEN, judgement=judgement))
    view = stores.runs.get("a" * 16)
    assert view is not None
    shown = json.loads(json.dumps(view.to_json()))
    assert shown["score"] == judgement["score"]
    assert [gate["name"] for gate in shown["gates"]] == ["unit.failed"]
    assert shown["waivers_unused"] == judgement["waivers_unused"]
    assert stores.types("a" * 16)[-2:] == ["gate.evaluated", "run.finished"]
    again = stores.runs.create(new_run(), again=True).run.to_json()
    assert (again["score"], again["gates"], again["waivers_unused"]) == (None, [], [])
