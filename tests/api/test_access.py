"""Nobody comes in without a key, none does what their role may not, and each refusal is written."""

import re
from typing import Any

import httpx
import pytest
from tests.api.conftest import ClientOf, World, problem

from testops.api.application import contract
from testops.api.routing import GuardedRoute
from testops.domain.access import GRANTS, Permission, Role
from testops.domain.errors import StoreUnavailable

HEALTH = {"/healthz", "/readyz"}
# A login takes a link or an issuer, and there is none here.
LOGINS = {"/login", "/login/oidc", "/login/oidc/callback"}
OPEN = HEALTH | LOGINS


def operations(app: Any) -> list[tuple[str, str, Permission | None]]:
    return [
        (method, route.path, route.permission)
        for route in app.routes
        for method in sorted(route.methods)
    ]


def concrete(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "0123456789abcdef", path)


def test_every_route_is_guarded_and_declares_what_it_takes(app: Any) -> None:
    assert all(isinstance(route, GuardedRoute) for route in app.routes)
    free = {path for _, path, permission in operations(app) if permission is None}
    assert free == OPEN | {"/docs", "/openapi.json"}
    assert contract().count('"x-permission"') == len(operations(app)) - len(free) + 2


def test_without_a_key_every_route_but_health_is_refused_and_it_is_written(
    app: Any, address: str, world: World
) -> None:
    with httpx.Client(base_url=address, trust_env=False, timeout=30) as nobody:
        for method, path, _ in operations(app):
            response = nobody.request(method, concrete(path))
            if path in OPEN:
                assert response.status_code in ((200,) if path in HEALTH else (401, 404))
                continue
            problem(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"].startswith("Bearer")
            wrong = nobody.request(
                method,
                concrete(path),
                headers={"authorization": f"Bearer tops_{'0' * 16}_{'a' * 43}"},
            )
            assert wrong.status_code == 401
    written = [entry for entry in world.audited() if entry.action == "refused.401"]
    assert written


def test_no_role_does_what_it_may_not_and_it_is_written(
    app: Any, client_of: ClientOf, world: World
) -> None:
    tried = 0
    for role in Role:
        client = client_of(role)
        for method, path, permission in operations(app):
            if permission is None or permission in GRANTS[role]:
                continue
            # Before the body is read: whoever may not ask is not told what a question looks like.
            body = problem(client.request(method, concrete(path)), 403, "forbidden")
            assert str(permission) in body["detail"]
            tried += 1
    assert tried > 20
    refused = [entry for entry in world.audited() if entry.action == "refused.403"]
    noted = {entry.actor_name for entry in refused}
    assert noted == {"viewer-all", "operator-all", "maintainer-all", "security-all"}


def test_what_a_role_may_do_is_not_refused(app: Any, client_of: ClientOf) -> None:
    for role in Role:
        client = client_of(role)
        for method, path, permission in operations(app):
            if path not in LOGINS and (permission is None or permission in GRANTS[role]):
                assert client.request(method, concrete(path)).status_code not in (401, 403)


def test_a_foreign_workspace_is_closed_and_its_runs_are_not_there(
    app: Any, client_of: ClientOf, world: World
) -> None:
    owner = client_of(Role.MAINTAINER)
    run_id = owner.post("/v1/test-runs", json={"suite": "core"}).json()["run_id"]
    wanted = {"name": "nightly", "cron": "0 3 * * *", "request": {"suite": "core"}}
    schedule_id = owner.post("/v1/schedules", json=wanted).json()["schedule_id"]
    world.execute(run_id, files={"reports/a.txt": b"secret"})
    stranger = client_of(Role.MAINTAINER, frozenset({"other"}))

    for method, path, _ in operations(app):
        if "{run_id}" not in path and "{schedule_id}" not in path:
            continue
        here = path.replace("{run_id}", run_id).replace("{schedule_id}", schedule_id)
        here = here.replace("{path:path}", "reports/a.txt")
        body: Any = {"mode": "same"} if path.endswith("rerun") else None
        body = wanted if (method, "schedules" in path) == ("PUT", True) else body
        # One answer for what is another's and for what is not there.
        mine = problem(stranger.request(method, here, json=body), 404, "not-found")
        there = here.replace(run_id, "f" * 16).replace(schedule_id, "f" * 16)
        none = problem(stranger.request(method, there, json=body), 404, "not-found")
        assert mine["detail"].replace(run_id, "").replace(schedule_id, "") == none[
            "detail"
        ].replace("f" * 16, "")

    for path in ("/v1/suites", "/v1/profiles", "/v1/suites/core", "/v1/test-runs"):
        response = stranger.get(path, params={"workspace": "default"})
        problem(response, 403, "forbidden")
    for path in ("/v1/test-runs", "/v1/chaos/run"):
        problem(stranger.post(path, json={"suite": "core"}), 403, "forbidden")
    problem(stranger.post("/v1/schedules", json=wanted), 403, "forbidden")
    assert stranger.get("/v1/test-runs").json()["runs"] == []
    assert stranger.get("/v1/schedules").json()["schedules"] == []
    assert [one["name"] for one in stranger.get("/v1/workspaces").json()["workspaces"]] == ["other"]
    assert run_id not in stranger.get("/").text
    problem(
        stranger.post("/v1/snapshots/compare", json={"base": run_id, "target": run_id}),
        404,
        "not-found",
    )
    refused = [entry for entry in world.audited() if entry.outcome == "refused"]
    assert {entry.workspace for entry in refused} == {"default"}
    assert {entry.action for entry in refused} == {"refused.403", "refused.404"}


def test_the_same_question_in_two_workspaces_is_two_runs(client_of: ClientOf) -> None:
    first = client_of().post("/v1/test-runs", json={"suite": "core", "build": {"commit": "a"}})
    stranger = client_of(Role.OPERATOR, frozenset({"other"}))
    asked = {"suite": "core", "build": {"commit": "a"}, "workspace": "other"}
    second = stranger.post("/v1/test-runs", json=asked)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["run_id"] != second.json()["run_id"]


def test_what_is_done_is_written_with_who_did_it(client_of: ClientOf, world: World) -> None:
    client = client_of(Role.MAINTAINER)
    run_id = client.post("/v1/test-runs", json={"suite": "core"}).json()["run_id"]
    client.put(f"/v1/test-runs/{run_id}/pin")
    client.post(f"/v1/test-runs/{run_id}/cancel")
    done = [entry for entry in world.audited() if entry.action.startswith("run.")]
    assert [entry.action for entry in done] == ["run.create", "run.pin", "run.cancel"]
    assert {entry.target for entry in done} == {run_id}
    assert {entry.actor_name for entry in done} == {"maintainer-all"}
    assert {entry.client for entry in done} == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["/nowhere", "/v1", "/v1/test-runs/", "/v1/nothing"])
def test_a_path_that_is_not_there_is_a_problem_too(client: httpx.Client, name: str) -> None:
    problem(client.get(name), 404, "not-found")


def test_a_method_that_is_not_there_names_those_that_are(client: httpx.Client) -> None:
    response = client.patch("/v1/test-runs")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"]


def test_a_store_that_does_not_answer_is_503_and_a_bug_of_ours_is_500_without_its_text(
    client: httpx.Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(error: Exception) -> Any:
        def get(_: str) -> Any:
            raise error

        return get

    place = f"/v1/test-runs/{'0' * 16}"
    monkeypatch.setattr(world.services.runs, "get", fails(StoreUnavailable("it restarts")))
    response = client.get(place)
    problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "3"
    monkeypatch.setattr(world.services.runs, "get", fails(RuntimeError("a secret")))
    response = client.get(place)
    body = problem(response, 500, "internal-error")
    assert "secret" not in body["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"
