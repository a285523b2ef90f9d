"""What people approve on a server is what its next runs are compared with, by a real runner."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.test_platform import Server
from tests.crash.processes import free_port

KERNEL = """\
import toron


@toron.kernel
async def ledger(world):
    await world.sleep(1)
    world.record("balance", {balance})
"""
SUITE = """\
schema: 1
name: core
seeds: {sim: 42, chaos: 7}
stages:
  sim: {kernels: {ledger: {run: "sim/ledger.py::ledger"}}}
  snapshot-compare: {}
"""
SNAPSHOTS = "/v1/snapshots"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in ("suites", "sim", "profiles"):
        (folder / name).mkdir(parents=True)
    (folder / "suites" / "core.yaml").write_text(SUITE)
    (folder / "profiles" / "offline.yaml").write_text("schema: 1\nname: offline\n")
    behave(folder, 100)
    return folder


def behave(project: Path, balance: int) -> None:
    (project / "sim" / "ledger.py").write_text(KERNEL.format(balance=balance))


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    started = Server(project, free_port())
    started.said("^ready at")
    yield started
    started.stop(signal.SIGKILL)


def ended(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The run that the request makes, when it has ended."""
    made = client.post(path, json=body)
    assert made.status_code == 202, made.text
    url = made.headers["location"]
    run: dict[str, Any] = {}
    for _ in range(6):
        run = client.get(url, headers={"prefer": "wait=20"}).json()
        if run["state"] not in ("queued", "running"):
            break
    assert run["state"] == "finished", run
    return run


def approve(client: httpx.Client, identity: str) -> Any:
    tag = client.get(f"{SNAPSHOTS}/{identity}").headers["etag"]
    answer = client.post(
        f"{SNAPSHOTS}/{identity}/approve", json={"why": "it is right"}, headers={"if-match": tag}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_two_people_approved_is_what_the_next_runs_are_compared_with(
    server: Server, project: Path
) -> None:
    assert server.testops("workspaces", "approvals", "default", "2").returncode == 0
    made = server.testops("keys", "create", "second", "--role", "maintainer", "--json")
    assert made.returncode == 0, made.stderr
    with server.client() as client:
        first = ended(client, "/v1/test-runs", {"suite": "core"})
        assert first["verdict"] == "inconclusive", "nothing is approved"
        identity = first["bundle_identity"]
        assert f"{SNAPSHOTS}/{identity}/approve" in first["reason"]
        assert approve(client, identity)["baseline"] is None
        headers = {"authorization": f"Bearer {key_in(made.stdout)}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as second:
            assert approve(second, identity)["baseline"] == "current"

        again = ended(client, f"/v1/test-runs/{first['run_id']}/rerun", {"mode": "same"})
        assert again["verdict"] == "pass", again["reason"]
        assert not (project / "snapshots").exists(), "it is the server's baseline, not a file"

        behave(project, 99)
        moved = ended(client, "/v1/test-runs", {"suite": "core"})
        assert moved["verdict"] == "fail"
        [review] = client.get(f"{SNAPSHOTS}/reviews?state=pending").json()["reviews"]
        assert (review["base"], review["target"]) == (identity, moved["bundle_identity"])
        assert review["opened_by_run"] == moved["run_id"]
        assert ("/outputs/balance", "pending") in {
            (group["field"], group["state"]) for group in review["groups"]
        }

        behave(project, 100)
        replayed = ended(client, f"{SNAPSHOTS}/{identity}/replay", {})
        assert replayed["verdict"] == "pass", replayed["reason"]
        assert replayed["bundle_identity"] == identity


def key_in(said: str) -> str:
    return str(json.loads(said)["key"])
