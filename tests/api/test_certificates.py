"""The certificate of a run on a server, and the key that verifies it without the server."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import World, problem
from tests.support.finished import write_run_bundle

from testops.domain.access import Role
from testops.domain.errors import BadInput
from testops.domain.run import RunState
from testops.domain.verdict import Verdict
from testops.warroom.certificate import bundle_file, read_certificate
from testops.warroom.certificate_keys import PublicKey, public_key

ASKED = {"suite": "core", "seeds": {"sim": 2**64 - 1, "chaos": 7}}


def bundle_of(world: World) -> tuple[str, bytes]:
    file = world.root / "bundle.tar.gz"
    return write_run_bundle(file), file.read_bytes()


def ran(world: World, client: httpx.Client, **how: Any) -> str:
    """A run that a runner has executed, with a real bundle."""
    run_id: str = client.post("/v1/test-runs", json=ASKED).json()["run_id"]
    identity, content = bundle_of(world)
    files = {f"snapshots/{bundle_file(run_id)}": content}
    world.execute(run_id, **({"files": files, "identity": identity} | how))
    return run_id


def key_of(client: httpx.Client) -> PublicKey:
    [shown] = client.get("/v1/certificate-keys").json()["keys"]
    key = public_key(shown["public_key"].encode())
    assert key.key_id == shown["key_id"]
    return key


def test_a_finished_run_is_certified_for_whoever_is_not_here(
    world: World, client: httpx.Client
) -> None:
    run_id = ran(world, client)
    response = client.get(f"/v1/test-runs/{run_id}/certificate")

    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/vnd.dsse.envelope.v1+json"
    assert f'filename="certificate-{run_id}.json"' in response.headers["content-disposition"]
    found = read_certificate(response.content, [key_of(client)])
    assert (found.run_id, found.verdict) == (run_id, Verdict.PASS)
    assert found.bundle_identity == bundle_of(world)[0]
    assert client.get(f"/v1/test-runs/{run_id}/certificate").content == response.content
    held = {"if-none-match": response.headers["etag"]}
    assert client.get(f"/v1/test-runs/{run_id}/certificate", headers=held).status_code == 304


def test_who_signed_stands_in_the_audit_log(world: World, client: httpx.Client) -> None:
    run_id = ran(world, client)
    client.get(f"/v1/test-runs/{run_id}/certificate")
    noted = [entry for entry in world.audited() if entry.action == "certificate.signed"]
    assert [(entry.target, entry.workspace) for entry in noted] == [(run_id, "default")]


def test_a_run_that_has_not_finished_has_none(world: World, client: httpx.Client) -> None:
    run_id = client.post("/v1/test-runs", json=ASKED).json()["run_id"]
    said = problem(client.get(f"/v1/test-runs/{run_id}/certificate"), 409, "conflict")
    assert "it is queued" in said["detail"]


@pytest.mark.parametrize("state", [RunState.ERRORED, RunState.CANCELLED])
def test_a_run_that_ended_early_has_none(
    world: World, client: httpx.Client, state: RunState
) -> None:
    run_id = ran(world, client, state=state)
    said = problem(client.get(f"/v1/test-runs/{run_id}/certificate"), 409, "conflict")
    assert f"it is {state.value}" in said["detail"]


def test_a_bundle_that_was_not_kept_proves_nothing(world: World, client: httpx.Client) -> None:
    run_id = ran(world, client, files={})
    said = problem(client.get(f"/v1/test-runs/{run_id}/certificate"), 409, "conflict")
    assert "is missing" in said["detail"]


def test_a_bundle_that_retention_removed_proves_nothing(world: World, client: httpx.Client) -> None:
    run_id = ran(world, client)
    [bundle] = [path for path in (world.root / "blobs").rglob("*") if path.is_file()]
    bundle.unlink()
    said = problem(client.get(f"/v1/test-runs/{run_id}/certificate"), 409, "conflict")
    assert "retention has removed" in said["detail"]


def test_a_bundle_that_changed_in_the_store_proves_nothing(
    world: World, client: httpx.Client
) -> None:
    run_id = ran(world, client)
    [bundle] = [path for path in (world.root / "blobs").rglob("*") if path.is_file()]
    raw = bytearray(bundle.read_bytes())
    raw[40] ^= 1
    bundle.chmod(0o600)
    bundle.write_bytes(raw)
    said = problem(client.get(f"/v1/test-runs/{run_id}/certificate"), 409, "conflict")
    assert "other bytes than were put there" in said["detail"]


def test_a_bundle_of_another_identity_proves_nothing(world: World, client: httpx.Client) -> None:
    run_id = ran(world, client, identity="f" * 64)
    said = problem(client.get(f"/v1/test-runs/{run_id}/certificate"), 409, "conflict")
    assert "not the one that it left" in said["detail"]
    assert str(world.root) not in said["detail"]


def test_nobody_certifies_what_they_may_not_see(world: World, client_of: Any) -> None:
    run_id = ran(world, client_of())
    stranger = client_of(Role.VIEWER, frozenset({"other"}))
    for asked in (run_id, "f" * 16):
        problem(stranger.get(f"/v1/test-runs/{asked}/certificate"), 404, "not-found")
    assert client_of(Role.VIEWER).get(f"/v1/test-runs/{run_id}/certificate").status_code == 200


def test_without_a_key_it_is_the_operator_who_must_act(
    world: World, app: Any, client: httpx.Client
) -> None:
    run_id = ran(world, client)

    def none() -> Any:
        raise BadInput("no key", where="/srv/data/certificate.key", fix="give one")

    services = app.state.services
    object.__setattr__(services, "signing_key", none)
    for path in (f"/v1/test-runs/{run_id}/certificate", "/v1/certificate-keys"):
        said = problem(client.get(path), 503, "unavailable")
        assert "TESTOPS_SIGNING_KEY" in said["detail"]
        assert "/srv" not in said["detail"]


def test_the_private_key_is_never_answered(world: World, client: httpx.Client) -> None:
    shown = client.get("/v1/certificate-keys").text
    assert "PUBLIC KEY" in json.dumps(shown)
    assert "PRIVATE" not in shown
    key: Path = world.root / "data/certificate.key"
    assert key.stat().st_mode & 0o77 == 0
