"""Asking for runs: one question is one run, a mistake is pointed at, and nothing is asked twice."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.api.conftest import ClientOf, World, definition, problem

from testops.domain.access import Role
from testops.domain.run import RunState
from testops.domain.verdict import Verdict

RUNS = "/v1/test-runs"
ASKED: dict[str, Any] = {"suite": "core", "seeds": {"sim": 42, "chaos": 7}}


def ask(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    response = client.post(RUNS, json=ASKED | changes)
    assert response.status_code in (200, 202), response.text
    body: dict[str, Any] = response.json()
    return body


def test_the_first_request_gets_202_and_the_place_of_its_run(
    client: httpx.Client, world: World
) -> None:
    response = client.post(RUNS, json=ASKED)
    assert response.status_code == 202, response.text
    body = response.json()
    assert response.headers["location"] == f"{RUNS}/{body['run_id']}"
    assert (body["state"], body["verdict"], body["attempt"]) == ("queued", None, 1)
    assert body["events_url"] == f"{RUNS}/{body['run_id']}/events"
    assert body["reproduce"] == "testops run core --profile offline --seed 42 --chaos-seed 7"
    assert body["created_by"] == "maintainer-all"
    assert [one.run_id for one in world.submitted] == [body["run_id"]]
    assert client.get(response.headers["location"]).json() == body
    assert response.headers["ratelimit"].startswith('"principal";r=')


def test_an_identical_request_gets_200_and_the_same_run(client: httpx.Client, world: World) -> None:
    first = client.post(RUNS, json=ASKED)
    second = client.post(RUNS, json=ASKED)
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json() == first.json()
    assert len(world.submitted) == 1


def test_a_definition_that_says_the_same_is_the_same_run(client: httpx.Client) -> None:
    named, given = ask(client), ask(client, suite=definition())
    assert given["run_id"] == named["run_id"]


def test_salt_labels_and_workspace(client: httpx.Client) -> None:
    usual = ask(client)
    assert ask(client, salt="again")["run_id"] != usual["run_id"]
    # Labels say why somebody asked, and are no part of the question.
    assert ask(client, labels={"branch": "main"})["run_id"] == usual["run_id"]


def test_a_build_that_the_client_states_is_its_word(client: httpx.Client, world: World) -> None:
    body = ask(client, build={"commit": "abc123", "version": "1.2.3"})
    stated = {"commit": "abc123", "dirty": None, "version": "1.2.3", "stated": True}
    assert body["build"] == stated
    assert world.builds_read == []
    assert ask(client)["build"] == {"commit": "c" * 40, "dirty": None}


@pytest.mark.parametrize("state", [RunState.ERRORED, RunState.CANCELLED])
def test_a_question_without_an_answer_gets_another_attempt(
    client: httpx.Client, world: World, state: RunState
) -> None:
    body = ask(client)
    world.execute(body["run_id"], Verdict.INCONCLUSIVE, state=state)
    again = client.post(RUNS, json=ASKED)
    assert again.status_code == 202
    assert (again.json()["run_id"], again.json()["attempt"]) == (body["run_id"], 2)
    attempts = client.get(f"{RUNS}/{body['run_id']}/attempts").json()["attempts"]
    assert [(one["attempt"], one["state"]) for one in attempts] == [(1, state), (2, "queued")]


def test_a_question_with_an_answer_keeps_it(client: httpx.Client, world: World) -> None:
    run_id = ask(client)["run_id"]
    world.execute(run_id, Verdict.FAIL)
    again = client.post(RUNS, json=ASKED)
    assert (again.status_code, again.json()["verdict"]) == (200, "fail")
    assert len(world.submitted) == 1


def test_a_thousand_identical_requests_of_fifty_clients_make_one_run(
    address: str, world: World
) -> None:
    token = world.token(Role.OPERATOR)
    together = threading.Barrier(50)

    def ask_twenty(_: int) -> list[tuple[int, str]]:
        held = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address, headers=held, timeout=60, trust_env=False) as client:
            together.wait(30)
            answers = [client.post(RUNS, json=ASKED) for _ in range(20)]
        return [(answer.status_code, answer.json()["run_id"]) for answer in answers]

    with ThreadPoolExecutor(50) as pool:
        answers = [one for some in pool.map(ask_twenty, range(50)) for one in some]
    assert len(answers) == 1000
    assert len({run_id for _, run_id in answers}) == 1
    assert [status for status, _ in answers].count(202) == 1
    assert [status for status, _ in answers].count(200) == 999
    assert len(world.submitted) == 1
    # Those who asked at once shared the reading of the build.
    assert len(world.builds_read) < 1000


def test_a_dry_run_answers_the_plan_and_creates_nothing(client: httpx.Client, world: World) -> None:
    response = client.post(f"{RUNS}?dry_run=1", json=ASKED)
    assert response.status_code == 200
    planned = response.json()
    assert planned["existing"] is None
    assert planned["kernels"] == [{"name": "echo", "run": "sim/echo.py::echo", "verify": "fixed"}]
    assert planned["sim_seeds"] == [42, 43]
    assert planned["executions"] == 2
    assert [stage["name"] for stage in planned["stages"]] == ["sim"]
    gates = {(gate["metric"], gate["op"], gate["threshold"]) for gate in planned["gates"]}
    assert ("determinism_percent", ">=", 98) in gates
    assert world.submitted == []
    assert client.get(f"{RUNS}/{planned['run_id']}").status_code == 404
    assert ask(client)["run_id"] == planned["run_id"]
    assert client.post(f"{RUNS}?dry_run=1", json=ASKED).json()["existing"] == "queued"


@pytest.mark.parametrize(
    ("changes", "slug", "document", "pointer"),
    [
        ({"suite": "nothing"}, "invalid-suite", None, None),
        ({"profile": "nothing"}, "invalid-suite", None, None),
        ({"suite": definition(seeds={"sim": -1, "chaos": 7})}, "invalid-suite", "suite",
         "/seeds/sim"),
        ({"suite": definition(more=1)}, "invalid-suite", "suite", "/more"),
        ({"suite": "../core"}, "invalid-request", "body", "/suite"),
        ({"seeds": {"sim": 2**64}}, "invalid-request", "body", "/seeds/sim"),
        ({"seeds": {"sim_range": "9:5"}}, "invalid-suite", None, None),
        ({"labels": {"a b": "c"}}, "invalid-request", "body", "/labels/a b"),
        ({"labels": {"a": "\x00"}}, "invalid-request", "body", "/labels/a"),
        ({"unknown": 1}, "invalid-request", "body", "/unknown"),
        ({"suite": "No Such Name"}, "invalid-request", "body", "/suite"),
        ({"seeds": {"sim": -1}}, "invalid-request", "body", "/seeds/sim"),
        ({"priority": 10}, "invalid-request", "body", "/priority"),
        ({"workspace": "nowhere"}, "invalid-request", "body", "/workspace"),
        ({"stages": ["lint"]}, "invalid-suite", "suite", "/stages"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_problem_that_points_at_it(
    client: httpx.Client,
    world: World,
    changes: dict[str, Any],
    slug: str,
    document: str | None,
    pointer: str | None,
) -> None:
    body = problem(client.post(RUNS, json=ASKED | changes), 422, slug)
    assert str(world.root) not in str(body)
    if document is not None:
        assert (document, pointer) in [(e["document"], e["pointer"]) for e in body["errors"]]
    assert world.submitted == []


def test_every_mistake_of_a_definition_is_in_the_problem(client: httpx.Client) -> None:
    suite = definition(seeds={"sim": "x", "chaos": -1}, stages={"sim": {"kernels": {"E": {}}}})
    body = problem(client.post(RUNS, json={"suite": suite}), 422, "invalid-suite")
    assert len(body["errors"]) >= 3
    assert all(set(error) >= {"document", "pointer", "detail"} for error in body["errors"])


def test_suites_that_choose_commands_are_refused_where_the_operator_did_not_allow_it(
    client: httpx.Client,
) -> None:
    suite = definition(stages={"unit": {"python": "/bin/sh", "arguments": ["-c", "id"]}})
    body = problem(client.post(RUNS, json={"suite": suite}), 422, "invalid-suite")
    pointers = [error["pointer"] for error in body["errors"]]
    assert pointers == ["/stages/unit", "/stages/unit/python", "/stages/unit/arguments"]


def test_a_key_makes_one_run_whatever_became_of_it(client: httpx.Client, world: World) -> None:
    held = {"Idempotency-Key": "deploy-17"}
    asked = ASKED | {"seeds": {"sim": "random", "chaos": 7}}
    first = client.post(RUNS, json=asked, headers=held)
    second = client.post(RUNS, json=asked, headers=held)
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json()["run_id"] == first.json()["run_id"]
    world.execute(first.json()["run_id"], Verdict.INCONCLUSIVE, state=RunState.ERRORED)
    third = client.post(RUNS, json=asked, headers=held)
    assert (third.status_code, third.json()["state"], third.json()["attempt"]) == (
        200,
        "errored",
        1,
    )
    assert len(world.submitted) == 1


def test_a_key_with_another_body_is_refused(client: httpx.Client) -> None:
    held = {"Idempotency-Key": "deploy-17"}
    client.post(RUNS, json=ASKED, headers=held)
    other = client.post(RUNS, json=ASKED | {"salt": "other"}, headers=held)
    problem(other, 422, "idempotency-key-reused")


def test_a_key_whose_first_request_is_not_done_is_a_conflict(
    client: httpx.Client, world: World
) -> None:
    planned = client.post(f"{RUNS}?dry_run=1", json=ASKED)
    assert planned.status_code == 200
    go_on, asked = threading.Event(), threading.Event()
    create = world.services.runs.create

    def slow(*given: Any, **named: Any) -> Any:
        asked.set()
        assert go_on.wait(20)
        return create(*given, **named)

    held = {"Idempotency-Key": "deploy-17"}
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(world.services.runs, "create", slow)
        first = pool.submit(client.post, RUNS, json=ASKED, headers=held)
        assert asked.wait(20)
        second = client.post(RUNS, json=ASKED, headers=held)
        go_on.set()
        assert first.result().status_code == 202
    problem(second, 409, "idempotency-in-flight")
    assert second.headers["retry-after"] == "1"
    assert client.post(RUNS, json=ASKED, headers=held).status_code == 200


def test_a_key_is_free_again_when_its_request_made_nothing(client: httpx.Client) -> None:
    held = {"Idempotency-Key": "deploy-17"}
    problem(client.post(RUNS, json={"suite": "nothing"}, headers=held), 422, "invalid-suite")
    assert client.post(RUNS, json=ASKED, headers=held).status_code == 202


def test_keys_of_two_principals_are_two(client_of: ClientOf) -> None:
    held = {"Idempotency-Key": "deploy-17"}
    client_of(Role.OPERATOR).post(RUNS, json=ASKED, headers=held)
    other = client_of(Role.MAINTAINER).post(RUNS, json=ASKED | {"salt": "x"}, headers=held)
    assert other.status_code == 202


def test_a_key_that_is_no_key_is_refused(client: httpx.Client) -> None:
    for key in ("", "a b", "k" * 256):
        held = {"Idempotency-Key": key}
        problem(client.post(RUNS, json=ASKED, headers=held), 400, "malformed-request")


def test_waiting_is_preferred_and_applied(client: httpx.Client, world: World) -> None:
    run_id = ask(client)["run_id"]
    finisher = threading.Timer(0.5, world.execute, (run_id,))
    finisher.start()
    began = time.monotonic()
    response = client.post(RUNS, json=ASKED, headers={"Prefer": "respond-async, wait=20"})
    finisher.join()
    assert response.headers["preference-applied"] == "wait=20"
    assert response.json()["state"] == "finished"
    assert 0.4 < time.monotonic() - began < 10
    waited = client.get(f"{RUNS}/{run_id}", headers={"Prefer": "wait=1"})
    assert waited.headers["preference-applied"] == "wait=1"


def test_a_run_has_an_entity_tag_until_it_changes(client: httpx.Client, world: World) -> None:
    run_id = ask(client)["run_id"]
    first = client.get(f"{RUNS}/{run_id}")
    held = {"If-None-Match": first.headers["etag"]}
    same = client.get(f"{RUNS}/{run_id}", headers=held)
    assert (same.status_code, same.content) == (304, b"")
    world.execute(run_id)
    assert client.get(f"{RUNS}/{run_id}", headers=held).json()["state"] == "finished"


def test_lists_are_filtered(client: httpx.Client, world: World) -> None:
    one = ask(client, labels={"branch": "main"})["run_id"]
    two = ask(client, salt="two", build={"commit": "abc"}, labels={"branch": "a=b"})["run_id"]
    three = ask(client, workspace="other")["run_id"]
    world.execute(one, Verdict.FAIL)

    def found(**filters: Any) -> set[str]:
        response = client.get(RUNS, params=filters)
        assert response.status_code == 200, response.text
        return {run["run_id"] for run in response.json()["runs"]}

    assert found() == {one, two, three}
    assert found(suite="core") == {one, two, three}
    assert found(suite="none") == set()
    assert found(profile="offline", state="queued") == {two, three}
    assert found(verdict="fail") == {one}
    assert found(workspace="other") == {three}
    assert found(label="branch=main") == {one}
    assert found(label="branch=a=b") == {two}
    assert found(commit="abc") == {two}
    now_ms = int(time.time() * 1000)
    assert found(created_from=now_ms + 60_000) == set()
    assert found(created_from=now_ms - 60_000, created_to=now_ms + 60_000) == {one, two, three}
    problem(client.get(RUNS, params={"state": "sleeping"}), 422, "invalid-request")
    problem(client.get(RUNS, params={"limit": 201}), 422, "invalid-request")


def test_a_filter_that_is_misspelt_does_not_select_everything(client: httpx.Client) -> None:
    ask(client)
    body = problem(client.get(RUNS, params={"sate": "queued"}), 422, "invalid-request")
    assert body["errors"][0]["pointer"] == "/sate"
    assert "state" in body["errors"][0]["fix"]


def test_a_wrong_method_is_told_all_that_are_right(client: httpx.Client) -> None:
    refused = client.delete(RUNS)
    problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "GET, POST"


def test_a_list_goes_on_behind_its_cursor_while_runs_arrive(client: httpx.Client) -> None:
    made = [ask(client, salt=str(number))["run_id"] for number in range(5)]
    response = client.get(RUNS, params={"limit": 2, "suite": "core"})
    seen = [run["run_id"] for run in response.json()["runs"]]
    ask(client, salt="arrives while we read")
    while "next" in response.links:
        response = client.get(response.links["next"]["url"])
        seen += [run["run_id"] for run in response.json()["runs"]]
    assert response.json()["next_cursor"] is None
    assert sorted(seen) == sorted(made)


@pytest.mark.parametrize("cursor", ["x", "MTo", "é", "!!!", "MToxOmFiYw", "a" * 200])
def test_a_cursor_that_is_not_ours_is_refused(client: httpx.Client, cursor: str) -> None:
    problem(client.get(RUNS, params={"cursor": cursor}), 400, "invalid-cursor")


def test_a_queued_run_is_cancelled_at_once(client: httpx.Client) -> None:
    run_id = ask(client)["run_id"]
    response = client.post(f"{RUNS}/{run_id}/cancel")
    assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    assert client.post(f"{RUNS}/{run_id}/cancel").status_code == 200


def test_a_run_that_has_ended_cannot_be_cancelled(client: httpx.Client, world: World) -> None:
    run_id = ask(client)["run_id"]
    world.execute(run_id)
    problem(client.post(f"{RUNS}/{run_id}/cancel"), 409, "conflict")


def test_a_rerun_of_the_same_is_another_attempt(client: httpx.Client, world: World) -> None:
    run_id = ask(client)["run_id"]
    problem(client.post(f"{RUNS}/{run_id}/rerun", json={"mode": "same"}), 409, "conflict")
    world.execute(run_id)
    again = client.post(f"{RUNS}/{run_id}/rerun", json={"mode": "same"})
    assert again.status_code == 202, again.text
    assert (again.json()["run_id"], again.json()["attempt"]) == (run_id, 2)


def test_a_rerun_under_another_build_is_another_run(client: httpx.Client, world: World) -> None:
    run_id = ask(client)["run_id"]
    world.execute(run_id)
    world.commit("default", "d" * 40)
    again = client.post(f"{RUNS}/{run_id}/rerun", json={"mode": "same"}).json()
    assert again["run_id"] != run_id
    assert again["build"]["commit"] == "d" * 40
    assert again["seeds"] == {"sim": 42, "chaos": 7}


def test_a_rerun_of_a_stated_build_takes_the_clients_word_again(
    client: httpx.Client, world: World
) -> None:
    run_id = ask(client, build={"commit": "stated"})["run_id"]
    world.execute(run_id)
    again = client.post(f"{RUNS}/{run_id}/rerun", json={"mode": "same"}).json()
    assert (again["run_id"], again["attempt"]) == (run_id, 2)


def test_a_rerun_of_what_failed_asks_only_that(client: httpx.Client, world: World) -> None:
    with (world.root / "default" / "suites" / "core.yaml").open("a") as suite:
        suite.write("  lint: {mypy: {}}\n")
    run_id = ask(client)["run_id"]
    world.execute(run_id, Verdict.PASS)
    problem(client.post(f"{RUNS}/{run_id}/rerun", json={"mode": "failed"}), 409, "conflict")
    other = ask(client, salt="x")["run_id"]
    world.execute(other, Verdict.FAIL)
    again = client.post(f"{RUNS}/{other}/rerun", json={"mode": "failed"})
    assert again.status_code == 202
    assert [stage["name"] for stage in again.json()["stages"]] == ["lint", "sim"]


def test_a_rerun_with_new_seeds_draws_them(client: httpx.Client, world: World) -> None:
    body = ask(client)
    world.execute(body["run_id"])
    again = client.post(f"{RUNS}/{body['run_id']}/rerun", json={"mode": "new-seed"}).json()
    assert again["run_id"] != body["run_id"]
    assert again["seeds"] != body["seeds"]
    assert f"--seeds {again['seeds']['sim']}:{again['seeds']['sim'] + 2}" in again["reproduce"]


def test_a_pinned_run_says_so(client: httpx.Client) -> None:
    run_id = ask(client)["run_id"]
    assert client.put(f"{RUNS}/{run_id}/pin").json()["pinned"] is True
    assert client.get(f"{RUNS}/{run_id}").json()["pinned"] is True
    assert client.delete(f"{RUNS}/{run_id}/pin").json()["pinned"] is False


def test_the_definition_of_a_run_can_be_fetched_as_a_file(client: httpx.Client) -> None:
    profile = {"schema": 1, "name": "tiny", "sizes": {"users": 3}}
    body = ask(client, suite=definition(description="mine"), profile=profile)
    suite = client.get(f"{RUNS}/{body['run_id']}/suite").json()
    assert suite["description"] == "mine"
    assert client.get(f"{RUNS}/{body['run_id']}/profile").json()["sizes"] == {"users": 3}
    assert ask(client, suite=suite, profile=profile)["run_id"] == body["run_id"]
    assert f"/v1/test-runs/{body['run_id']}/suite" in body["reproduce"]


def test_a_short_link_leads_to_the_page(client: httpx.Client) -> None:
    run_id = ask(client)["run_id"]
    response = client.get(f"/r/{run_id}")
    assert (response.status_code, response.headers["location"]) == (307, f"/runs/{run_id}")


@pytest.mark.parametrize("path", ["/v1/hardening/execute", "/v1/chaos/run", "/v1/load/run"])
def test_a_stage_to_come_says_so_and_makes_no_run(
    client: httpx.Client, world: World, path: str
) -> None:
    asked: dict[str, Any] = {"suite": "core", "seeds": {"sim": 1, "chaos": 2}}
    if "hardening" in path:
        asked["phase"] = 6
    problem(client.post(path, json=asked), 422, "stage-not-available")
    problem(client.post(path, json={}), 422, "invalid-request")
    assert world.submitted == []
