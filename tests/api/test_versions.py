"""The matrix is served, and a dashboard that it does not qualify is answered nothing else."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.api.conftest import problem

from testops.domain.versions import Matrix, Versions
from testops.wiring.versions import in_force

DASHBOARD = "TestOps-UI"


def give(app: Any, versions: Versions) -> None:
    object.__setattr__(app.state.services, "versions", versions)


def test_the_matrix_is_served_with_what_runs(client: httpx.Client) -> None:
    shown = client.get("/v1/version-matrix")
    assert shown.status_code == 200
    body = shown.json()
    assert body == in_force().to_json()
    assert body["qualified"] is True
    assert body["rows"][-1]["ui"] == []
    held = {"if-none-match": shown.headers["etag"]}
    assert client.get("/v1/version-matrix", headers=held).status_code == 304


def test_it_names_the_row_that_is_missing(app: Any, client: httpx.Client) -> None:
    running = replace(in_force().running, engine="toron-v2.5H+.99")
    give(app, Versions(in_force().matrix, running))
    body = client.get("/v1/version-matrix").json()
    assert (body["qualified"], body["row"]) == (False, None)
    assert "engine toron-v2.5H+.99" in body["missing"]


@pytest.mark.parametrize("version", ["0.1", "9.9", "none", "", "0.1; drop"])
def test_a_dashboard_of_no_row_is_refused_with_the_row(client: httpx.Client, version: str) -> None:
    for method, path in (
        ("GET", "/v1/test-runs"),
        ("POST", "/v1/test-runs"),
        ("GET", "/v1/suites"),
    ):
        said = problem(
            client.request(method, path, headers={DASHBOARD: version}), 409, "unqualified-versions"
        )
        assert "no row of the compatibility matrix has UI" in said["detail"]
        assert "testops 0.1" in said["detail"]
    # How else would it learn which one to load?
    assert client.get("/v1/version-matrix", headers={DASHBOARD: version}).status_code == 200


def test_a_dashboard_of_the_row_is_answered(app: Any, client: httpx.Client) -> None:
    row = replace(in_force().matrix.rows[-1], uis=("0.1", "0.2"))
    give(app, Versions(Matrix((row,)), in_force().running))
    assert client.get("/v1/test-runs", headers={DASHBOARD: "0.2"}).status_code == 200
    problem(client.get("/v1/test-runs", headers={DASHBOARD: "0.3"}), 409, "unqualified-versions")


def test_whoever_is_no_dashboard_says_nothing_and_is_answered(client: httpx.Client) -> None:
    assert client.get("/v1/test-runs").status_code == 200


def test_nobody_learns_versions_without_a_key(address: str) -> None:
    with httpx.Client(base_url=address, trust_env=False) as stranger:
        problem(stranger.get("/v1/version-matrix"), 401, "unauthenticated")
        problem(stranger.get("/v1/test-runs", headers={DASHBOARD: "9.9"}), 401, "unauthenticated")
