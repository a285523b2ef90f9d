"""Two runs are compared by their ids or their bundles' identities, as the command line compares."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import ClientOf, World, problem

from testops.domain.access import Role
from testops.domain.verdict import Verdict
from testops.snapshots import BundleHeader, execution_files, write_bundle
from testops.snapshots.masks import NO_MASKS

COMPARE = "/v1/snapshots/compare"


class Execution:
    kernel, sim_seed, chaos_seed = "ledger", 7, 3
    identical, first_divergence = True, None

    def __init__(self, balance: int, verdict: str = "pass") -> None:
        self.outcome: dict[str, Any] = {
            "verdict": verdict,
            "trace_digest": f"{balance:064x}",
            "outputs": {"balance": balance},
            "properties": {},
            "failure": None,
            "steps": 10,
            "virtual_ns": 1000,
            "faults": [],
            "python": "3.11",
        }


def bundle(
    folder: Path,
    balance: int,
    *,
    verdict: str = "pass",
    engine_version: str = "toron-v2.5H+.2",
) -> tuple[bytes, str]:
    """The packed bytes of a bundle, and its identity."""
    header = BundleHeader(
        suite="core",
        profile="offline",
        sim_seed=7,
        chaos_seed=3,
        engine_version=engine_version,
        python="3.11",
        masks_version=NO_MASKS.version,
    )
    path = folder / "bundle.tar.gz"
    identity = write_bundle(path, header, execution_files([Execution(balance, verdict)]))
    return path.read_bytes(), identity


@pytest.fixture
def runs(client: httpx.Client, world: World) -> dict[str, str]:
    """Runs by name: two that behave alike, and one that does not; with their identities."""
    made: dict[str, str] = {}
    for name, balance in (("one", 100), ("same", 100), ("other", 99)):
        asked = {"suite": "core", "salt": name}
        run_id = client.post("/v1/test-runs", json=asked).json()["run_id"]
        content, identity = bundle(world.root, balance)
        files = {f"snapshots/run-{run_id}.tar.gz": content}
        world.execute(run_id, Verdict.PASS, files=files, identity=identity)
        made |= {name: run_id, f"{name}-identity": identity}
    return made


def test_equal_behaviour_passes(client: httpx.Client, runs: dict[str, str]) -> None:
    response = client.post(COMPARE, json={"base": runs["one"], "target": runs["same"]})
    assert response.status_code == 200, response.text
    shown = response.json()
    assert (shown["verdict"], shown["exit_code"], shown["delta_count"]) == ("pass", 0, 0)


def test_a_changed_output_is_a_delta_and_no_place_of_the_server_is_told(
    client: httpx.Client, runs: dict[str, str]
) -> None:
    by_id = client.post(COMPARE, json={"base": runs["one"], "target": runs["other"]})
    shown = by_id.json()
    assert (shown["verdict"], shown["exit_code"]) == ("fail", 1)
    assert "/outputs/balance" in [delta["field"] for delta in shown["deltas"]]
    assert "testops-compare-" not in by_id.text
    identities = {"base": runs["one-identity"], "target": runs["other-identity"]}
    assert client.post(COMPARE, json=identities).json()["deltas"] == shown["deltas"]


def test_masks_hide_what_they_name(client: httpx.Client, runs: dict[str, str]) -> None:
    masks = {
        "masks": [
            {"files": "kernels/*", "pointer": "/outputs/balance", "reason": "it moves"},
        ]
    }
    asked = {"base": runs["one"], "target": runs["other"], "masks": masks}
    shown = client.post(COMPARE, json=asked).json()
    assert "/outputs/balance" not in [delta["field"] for delta in shown["deltas"]]
    bad = asked | {"masks": {"masks": [{"files": "kernels/*"}]}}
    body = problem(client.post(COMPARE, json=bad), 422, "invalid-request")
    assert body["errors"][0]["pointer"] == "/masks"
    assert "testops-compare-" not in body["detail"]


@pytest.mark.parametrize(
    "name", ["snapshots/golden", "../x", "/etc/passwd", "0" * 15, "g" * 16, "A" * 64]
)
def test_nothing_else_names_a_bundle(client: httpx.Client, runs: dict[str, str], name: str) -> None:
    asked = {"base": name, "target": runs["one"]}
    problem(client.post(COMPARE, json=asked), 422, "invalid-request")


def test_what_is_not_there_or_another_s_is_not_found(
    client: httpx.Client, client_of: ClientOf, runs: dict[str, str]
) -> None:
    for name in ("f" * 16, "f" * 64):
        problem(client.post(COMPARE, json={"base": name, "target": runs["one"]}), 404, "not-found")
    stranger = client_of(Role.OPERATOR, frozenset({"other"}))
    for name in (runs["one"], runs["one-identity"]):
        asked = {"base": name, "target": name}
        problem(stranger.post(COMPARE, json=asked), 404, "not-found")


def test_a_run_without_a_bundle_is_a_conflict(client: httpx.Client, runs: dict[str, str]) -> None:
    waiting = client.post("/v1/test-runs", json={"suite": "core"}).json()["run_id"]
    asked = {"base": waiting, "target": runs["one"]}
    problem(client.post(COMPARE, json=asked), 409, "conflict")
