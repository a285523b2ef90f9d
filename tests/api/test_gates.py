"""Policies and waivers on a server: versioned, guarded, and never changing what was judged."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.api.conftest import ClientOf, World, definition, problem

from testops.domain.access import Role
from testops.domain.execution import Ending, StageRecord
from testops.domain.run import RunState
from testops.domain.stage import Metric, StageName, StageReport, StageState
from testops.domain.verdict import ExitCode, Verdict
from testops.storage.executions import ExecutionsStore

GATE = {"stage": "sim", "metric": "kernels", "op": ">=", "threshold": 1, "key": True}
POLICY: dict[str, Any] = {"name": "release", "gates": [GATE], "score": {"pass": 95, "warn": 80}}
PLACE = "/v1/policies/release"


def put(client: httpx.Client, tag: str | None = None, **changes: Any) -> httpx.Response:
    headers = {} if tag is None else {"if-match": tag}
    return client.put(PLACE, json=POLICY | changes, headers=headers)


def expires(**later: float) -> str:
    return (datetime.now(UTC) + timedelta(**later)).strftime("%Y-%m-%dT%H:%M:%SZ")


def waiver(**changes: Any) -> dict[str, Any]:
    usual = {
        "suite": "core",
        "gate": "sim.kernels_failed",
        "owner": "Ada Lovelace",
        "reason": "known",
        "expires": expires(days=3),
    }
    return usual | changes


def test_a_policy_is_made_read_changed_and_removed(client: httpx.Client) -> None:
    made = put(client)
    assert made.status_code == 201, made.text
    assert (made.json()["version"], len(made.json()["digest"])) == (1, 64)
    tag = client.get(PLACE).headers["etag"]
    assert client.get(PLACE, headers={"if-none-match": tag}).status_code == 304
    problem(put(client), 428, "precondition-required")
    changed = put(client, tag, description="stricter")
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert changed.json()["definition"]["version"] == 2
    assert changed.json()["digest"] != made.json()["digest"]
    problem(put(client, tag), 412, "precondition-failed")
    problem(client.delete(PLACE, headers={"if-match": tag}), 412, "precondition-failed")
    assert client.get("/v1/policies").json()["policies"] == [changed.json()]

    assert client.delete(PLACE).status_code == 204
    problem(client.get(PLACE), 404, "not-found")
    problem(put(client, changed.headers["etag"]), 412, "precondition-failed")
    # What runs were judged by stays readable, and its numbers are not used again.
    versions = client.get(f"{PLACE}/versions").json()["policies"]
    assert [one["version"] for one in versions] == [2, 1]
    assert client.get(f"{PLACE}/versions/1").json() == made.json()
    problem(client.get(f"{PLACE}/versions/3"), 404, "not-found")
    assert put(client).json()["version"] == 4


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"gates": [{**GATE, "threshold": 0}]}, "/gates/0"),
        ({"name": "other"}, "/name"),
        ({"gates": [{**GATE, "weight": -1}]}, "/gates/0/weight"),
        ({"gates": [{**GATE, "relative": {"at_most_percent": 110}}]}, "/gates/0"),
        ({"gates": []}, ""),
        ({"score": {"pass": 50, "warn": 60}}, "/score"),
        ({"unknown": 1}, "/unknown"),
    ],
)
def test_a_policy_that_cannot_decide_is_refused(
    client: httpx.Client, changes: dict[str, Any], pointer: str
) -> None:
    body = problem(put(client, **changes), 422, "invalid-request")
    assert pointer in [error["pointer"] for error in body["errors"]]


def test_who_may_change_what_judges_everybody(world: World, client_of: ClientOf) -> None:
    for role in (Role.VIEWER, Role.OPERATOR, Role.SECURITY):
        problem(put(client_of(role)), 403, "forbidden")
    problem(put(client_of(Role.MAINTAINER, frozenset({"default"}))), 403, "forbidden")
    assert put(client_of()).status_code == 201
    assert client_of(Role.VIEWER).get(PLACE).status_code == 200
    problem(client_of(Role.OPERATOR).delete(PLACE), 403, "forbidden")
    assert "policy.put" in [entry.action for entry in world.audited()]


def ask(client: httpx.Client, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/test-runs", json=body)
    assert response.status_code in (200, 202), response.text
    made: dict[str, Any] = response.json()
    return made


def test_a_run_keeps_the_policy_that_it_was_asked_with(client: httpx.Client) -> None:
    first = put(client)
    by_suite = definition(policy={"server": "release"})
    run = ask(client, suite=by_suite)
    assert run["policy"] == {
        "name": "release",
        "version": 1,
        "digest": first.json()["digest"],
    }
    put(client, first.headers["etag"], description="stricter")
    assert client.get(f"/v1/test-runs/{run['run_id']}").json()["policy"]["version"] == 1
    later = ask(client, suite=by_suite)
    assert (later["policy"]["version"], later["run_id"] == run["run_id"]) == (2, False)


def test_a_request_may_name_the_policy(client: httpx.Client) -> None:
    plain = ask(client, suite="core")
    assert (plain["policy"], plain["score"]) == (None, None)
    put(client)
    run = ask(client, suite="core", policy={"server": "release"})
    assert run["policy"]["name"] == "release"
    assert run["run_id"] != plain["run_id"]
    missing = client.post("/v1/test-runs", json={"suite": "core", "policy": {"server": "none"}})
    problem(missing, 422, "invalid-suite")
    problem(
        client.post("/v1/test-runs", json={"suite": "core", "policy": "none"}),
        422,
        "invalid-suite",
    )


def test_asking_the_same_again_is_judged_by_the_same_policy(
    client: httpx.Client, world: World
) -> None:
    made = put(client)
    run = ask(client, suite="core", policy={"server": "release"})
    world.execute(run["run_id"])
    put(client, made.headers["etag"], description="stricter")
    again = client.post(f"/v1/test-runs/{run['run_id']}/rerun", json={"mode": "same"})
    assert again.status_code in (200, 201, 202), again.text
    assert again.json()["run_id"] == run["run_id"]


def test_a_dry_run_shows_the_gates_of_the_policy(client: httpx.Client) -> None:
    put(client)
    asked = {"suite": "core", "policy": {"server": "release"}}
    planned = client.post("/v1/test-runs?dry_run=true", json=asked).json()
    gates = {gate["name"]: gate for gate in planned["gates"]}
    assert (gates["sim.kernels"]["weight"], gates["sim.kernels"]["key"]) == (1, True)
    assert (gates["sim.kernels_failed"]["weight"], gates["sim.kernels_failed"]["key"]) == (0, True)


def test_a_waiver_is_made_read_listed_and_withdrawn(client: httpx.Client, world: World) -> None:
    response = client.post("/v1/waivers", json=waiver(ticket="T-1", up_to=2))
    assert response.status_code == 201, response.text
    made = response.json()
    assert (made["state"], made["owner"], made["up_to"]) == ("active", "Ada Lovelace", 2)
    # Whoever sent it is not who answers for it.
    assert made["created_by"] != made["owner"]
    place = response.headers["location"]
    assert client.get(place).json() == made
    assert client.get("/v1/waivers").json()["waivers"] == [made]
    assert client.delete(place).status_code == 204
    problem(client.get(place), 404, "not-found")
    problem(client.delete(place), 404, "not-found")
    assert client.get("/v1/waivers").json()["waivers"] == []
    actions = [entry.action for entry in world.audited()]
    assert {"waiver.create", "waiver.withdraw"} <= set(actions)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"expires": expires(days=91)}, "/expires"),
        ({"expires": expires(days=-1)}, "/expires"),
        ({"expires": "soon"}, "/expires"),
        ({"gate": "sim.determinism_percent"}, "/gate"),
        ({"gate": "snapshot-compare.nondeterministic"}, "/gate"),
        ({"owner": ""}, "/owner"),
        ({"reason": "two\nlines"}, "/reason"),
        ({"workspace": "nowhere"}, "/workspace"),
    ],
)
def test_a_waiver_that_nobody_may_grant_is_refused(
    client: httpx.Client, changes: dict[str, Any], pointer: str
) -> None:
    body = problem(client.post("/v1/waivers", json=waiver(**changes)), 422, "invalid-request")
    assert pointer in [error["pointer"] for error in body["errors"]]


def test_waivers_are_of_workspaces(client_of: ClientOf) -> None:
    for role in (Role.VIEWER, Role.OPERATOR, Role.SECURITY):
        problem(client_of(role).post("/v1/waivers", json=waiver()), 403, "forbidden")
    other = client_of(Role.MAINTAINER, frozenset({"other"}))
    problem(other.post("/v1/waivers", json=waiver()), 403, "forbidden")
    made = client_of().post("/v1/waivers", json=waiver())
    place = made.headers["location"]
    problem(other.get(place), 404, "not-found")
    problem(other.delete(place), 404, "not-found")
    assert other.get("/v1/waivers").json()["waivers"] == []
    assert client_of(Role.VIEWER).get(place).status_code == 200


def ended(world: World, run_id: str, **metrics: float) -> None:
    """Execute the run's one stage, so that it measured this, and end it as passed."""
    executions = ExecutionsStore(world.database)
    taken = executions.take(run_id, 1, "test-runner")
    assert taken is not None
    usual = {"determinism_percent": 100, "kernels": 1, "kernels_failed": 0}
    every = {**usual, "kernels_inconclusive": 0, "kernels_warned": 0, **metrics}
    measured = {name: Metric(name, value, "x.json") for name, value in every.items()}
    report = StageReport(StageName.SIM, StageState.RAN, Verdict.PASS, metrics=measured)
    executions.begin_stage(taken, "sim", "test-runner")
    executions.record(taken, StageRecord("sim", report.to_full_json(), []))
    ending = Ending(RunState.FINISHED, Verdict.PASS, ExitCode.HOLDS)
    executions.finish(taken, replace(ending, judgement={"score": None, "gates": []}))


def evaluated(client: httpx.Client, run_id: str, **asked: Any) -> tuple[str, int]:
    response = client.post("/v1/gates/evaluate", json={"run_id": run_id, **asked})
    assert response.status_code == 200, response.text
    return response.json()["verdict"], response.json()["exit_code"]


def test_a_run_is_judged_again_by_its_own_policy_or_another(
    client: httpx.Client, world: World, client_of: ClientOf
) -> None:
    run_id = ask(client, suite="core")["run_id"]
    ended(world, run_id)
    assert evaluated(client, run_id) == ("pass", 0)
    more = {"name": "more", "gates": [{**GATE, "threshold": 5}]}
    assert evaluated(client, run_id, policy=more) == ("fail", 1)
    put(client)
    assert evaluated(client, run_id, policy={"server": "release"}) == ("pass", 0)
    assert client.get(f"/v1/test-runs/{run_id}").json()["verdict"] == "pass"
    assert evaluated(client, run_id, commit="c" * 7) == ("pass", 0)
    assert evaluated(client, run_id, commit="d" * 7) == ("inconclusive", 4)
    for wrong in ({"commit": ""}, {"policy": {"server": "none"}}):
        body = {"run_id": run_id, **wrong}
        problem(client.post("/v1/gates/evaluate", json=body), 422, "invalid-request")
    other = client_of(Role.VIEWER, frozenset({"other"}))
    problem(other.post("/v1/gates/evaluate", json={"run_id": run_id}), 404, "not-found")


def test_a_run_that_did_not_end_or_kept_no_exact_numbers_proves_nothing(
    client: httpx.Client, world: World
) -> None:
    run_id = ask(client, suite="core")["run_id"]
    assert evaluated(client, run_id) == ("inconclusive", 4)
    world.execute(run_id)
    assert evaluated(client, run_id) == ("inconclusive", 4)


def test_gates_are_tried_on_the_server_and_one_that_cannot_go_red_is_named(
    client: httpx.Client,
) -> None:
    sound = client.post("/v1/gates/selftest", json={"policy": POLICY}).json()
    assert sound["ok"]
    assert "score of release" in [one["name"] for one in sound["gates"]]
    gate = {"stage": "unit", "metric": "failed", "op": ">=", "threshold": 0}
    found = client.post("/v1/gates/selftest", json={"gates": [gate]}).json()
    assert not found["ok"]
    [bad] = [one for one in found["gates"] if not one["ok"]]
    assert (bad["name"], "cannot go red" in bad["problem"]) == ("unit.failed", True)
