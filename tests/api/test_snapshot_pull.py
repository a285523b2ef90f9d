"""What a server has approved comes into the project with its record, and only if it is that."""

import json
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from tests.api.conftest import ClientOf, World
from tests.api.test_snapshot_service import SNAPSHOTS, Left, approve

from testops.cli.snapshot_pull import pull
from testops.domain.access import Role
from testops.domain.errors import BadInput, StoreUnavailable
from testops.snapshots import compare_paths, read_bundle
from testops.storage.snapshot_tables import baseline as baseline_table


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    (folder / "suites").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def left(client: httpx.Client, world: World) -> Left:
    return Left(client, world)


def pulled(world: World, address: str, *words: str) -> Result:
    environment = {"TESTOPS_API_KEY": world.token(Role.VIEWER), "TESTOPS_URL": address}
    return CliRunner().invoke(pull, words, env=environment, standalone_mode=False)


def test_it_comes_with_its_record_and_is_what_runs_compare_with(
    client: httpx.Client, left: Left, world: World, address: str, project: Path
) -> None:
    former, identity = left(99)[1], left(100)[1]
    approve(client, former)
    approve(client, identity, why="the fee is gone")
    first = pulled(world, address)
    assert first.exception is None, first.output
    golden = project / "snapshots" / "golden"
    [baseline] = golden.rglob("*.tar.gz")
    assert read_bundle(baseline).identity == identity
    assert compare_paths(golden, baseline).verdict.value == "pass"
    record = json.loads(baseline.with_name("toron-v2.5H+.2-py3.11.json").read_text())
    assert (record["identity"], record["who"], record["why"]) == (
        identity,
        "maintainer-all",
        "the fee is gone",
    )
    assert record["provenance"]["commit"] == "c" * 40
    before = baseline.stat().st_mtime_ns
    again = json.loads(pulled(world, address, "--json").output)
    assert [one["written"] for one in again["baselines"]] == [False]
    assert baseline.stat().st_mtime_ns == before


def test_what_was_approved_before_it_stays_in_the_history(
    client: httpx.Client, left: Left, world: World, address: str, project: Path
) -> None:
    identities = [left(balance)[1] for balance in (1, 2)]
    for identity in identities:
        approve(client, identity)
        pulled(world, address)
    [record] = (project / "snapshots" / "golden").rglob("*.json")
    said = json.loads(record.read_text())
    assert said["identity"] == identities[1]
    assert [one["identity"] for one in said["history"]] == [identities[0]]


def test_what_is_not_what_was_approved_is_not_written(
    client: httpx.Client, left: Left, world: World, address: str, project: Path
) -> None:
    identity, other = left(100)[1], left(99)[1]
    approve(client, identity)
    shown = {name: client.get(f"{SNAPSHOTS}/{name}").json() for name in (identity, other)}
    files = {
        name: next(path for path in (world.root / "blobs").rglob(one["sha256"]) if path.is_file())
        for name, one in shown.items()
    }
    files[identity].write_bytes(files[other].read_bytes()[: shown[identity]["size"]])
    answer = pulled(world, address)
    assert isinstance(answer.exception, BadInput | httpx.RemoteProtocolError)
    assert list((project / "snapshots").rglob("*.tar.gz")) == []


@pytest.mark.parametrize("lie", [{"suite": "../../../outside"}, {"suite": "other"}])
def test_a_key_that_is_not_the_bundle_s_writes_and_reads_nothing(
    client: httpx.Client,
    left: Left,
    world: World,
    address: str,
    project: Path,
    lie: dict[str, str],
) -> None:
    approve(client, left(100)[1])
    with world.database.write() as connection:
        connection.execute(sa.update(baseline_table).values(**lie))
    answer = pulled(world, address)
    assert isinstance(answer.exception, BadInput)
    assert lie["suite"] in str(answer.exception)
    assert not (project / "snapshots").exists()


def test_a_damaged_file_here_is_written_again(
    client: httpx.Client, left: Left, world: World, address: str, project: Path
) -> None:
    approve(client, left(100)[1])
    pulled(world, address)
    [baseline] = (project / "snapshots" / "golden").rglob("*.tar.gz")
    baseline.unlink()
    again = json.loads(pulled(world, address, "--json").output)
    assert [one["written"] for one in again["baselines"]] == [True]
    assert baseline.exists()


def test_a_server_that_is_not_there_and_a_workspace_that_is_another_s_are_said(
    client_of: ClientOf, world: World, address: str, project: Path
) -> None:
    away = pulled(world, "http://127.0.0.1:1")
    assert isinstance(away.exception, StoreUnavailable)
    nothing = pulled(world, address)
    assert "has approved nothing" in nothing.output
    environment = {
        "TESTOPS_API_KEY": world.token(Role.VIEWER, frozenset({"other"})),
        "TESTOPS_URL": address,
    }
    foreign = CliRunner().invoke(pull, [], env=environment, standalone_mode=False)
    assert isinstance(foreign.exception, BadInput)
    assert not (project / "snapshots").exists()
