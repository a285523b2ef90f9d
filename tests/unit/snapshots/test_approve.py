"""A baseline is approved by a person, for a reason, and what it replaced is remembered."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.unit.snapshots.building import Recipe

from testops.domain.errors import BadInput, OutputNotWritable
from testops.snapshots import approve, read_bundle, unpack_bundle

AT = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


def test_an_approved_bundle_stands_at_its_key_with_its_record_beside_it(tmp_path: Path) -> None:
    run = Recipe().write(tmp_path / "run.tar.gz")
    at = datetime(2026, 11, 24, 13, 30, tzinfo=timezone(timedelta(hours=1)))
    baseline = approve(run, tmp_path / "golden", who=" Ada ", why="first baseline", at=at)
    folder = tmp_path / "golden" / "regression_core" / "offline"
    assert baseline == folder / "toron-v2.5H+.1-py3.11.tar.gz"
    assert baseline.read_bytes() == run.read_bytes()
    record = json.loads((folder / "toron-v2.5H+.1-py3.11.json").read_text())
    assert record == {
        "schema_version": 1,
        "suite": "regression_core",
        "profile": "offline",
        "engine_version": "toron-v2.5H+.1",
        "python": "3.11",
        "identity": read_bundle(run).identity,
        "who": "Ada",
        "why": "first baseline",
        "at": "2026-11-24T12:30:00Z",
        "failing": 0,
        "history": [],
    }


def test_each_approval_keeps_the_ones_before_it_oldest_first(tmp_path: Path) -> None:
    golden, identities = tmp_path / "golden", []
    baseline = tmp_path
    for number in range(3):
        run = Recipe(outputs={"n": number}).write(tmp_path / "run.tar.gz")
        identities.append(read_bundle(run).identity)
        at = AT + timedelta(days=number)
        baseline = approve(run, golden, who=f"person {number}", why=f"reason {number}", at=at)
    record = json.loads(baseline.with_name("toron-v2.5H+.1-py3.11.json").read_text())
    assert record["identity"] == identities[2]
    assert [item["identity"] for item in record["history"]] == identities[:2]
    assert [item["who"] for item in record["history"]] == ["person 0", "person 1"]
    assert [item["at"][:10] for item in record["history"]] == ["2026-11-24", "2026-11-25"]


def test_an_unpacked_bundle_is_approved_as_the_same_bytes(tmp_path: Path) -> None:
    run = Recipe().write(tmp_path / "run.tar.gz")
    unpack_bundle(run, tmp_path / "dev")
    baseline = approve(tmp_path / "dev", tmp_path / "golden", who="ada", why="because", at=AT)
    assert baseline.read_bytes() == run.read_bytes()


@pytest.mark.parametrize(
    ("who", "why", "problem"),
    [
        ("", "because", "--who: is empty"),
        ("ada", " \n ", "--why: is empty"),
        ("ada", "x" * 3000, "--why: is longer"),
        ("a\x1b[31mda", "because", "--who: holds control characters"),
    ],
)
def test_an_approval_without_a_person_or_a_reason_is_refused(
    tmp_path: Path, who: str, why: str, problem: str
) -> None:
    run = Recipe().write(tmp_path / "run.tar.gz")
    with pytest.raises(BadInput, match=problem):
        approve(run, tmp_path / "golden", who=who, why=why, at=AT)
    assert not (tmp_path / "golden").exists()


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    run = Recipe().write(tmp_path / "run.tar.gz")
    with pytest.raises(BadInput, match="no time zone"):
        approve(run, tmp_path / "golden", who="a", why="b", at=datetime(2026, 1, 1))


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_a_bundle_with_failing_executions_needs_to_be_allowed_to(
    tmp_path: Path, verdict: str
) -> None:
    run = Recipe(verdict=verdict, seeds=(7, 8)).write(tmp_path / "run.tar.gz")
    golden = tmp_path / "golden"
    with pytest.raises(BadInput, match=r"2 of its 2 executions did not pass \(ledger, seed 7"):
        approve(run, golden, who="ada", why="known bug 12", at=AT)
    baseline = approve(run, golden, who="ada", why="known bug 12", at=AT, allow_failing=True)
    record = json.loads(baseline.with_name("toron-v2.5H+.1-py3.11.json").read_text())
    assert record["failing"] == 2


def test_a_bundle_that_is_damaged_or_empty_is_refused(tmp_path: Path) -> None:
    empty = Recipe(seeds=()).write(tmp_path / "empty.tar.gz")
    with pytest.raises(BadInput, match="holds no execution"):
        approve(empty, tmp_path / "golden", who="ada", why="because", at=AT)
    empty.write_bytes(b"nothing")
    with pytest.raises(BadInput, match="not a gzip file"):
        approve(empty, tmp_path / "golden", who="ada", why="because", at=AT)


def test_a_record_that_cannot_be_read_is_not_overwritten(tmp_path: Path) -> None:
    run = Recipe().write(tmp_path / "run.tar.gz")
    baseline = approve(run, tmp_path / "golden", who="ada", why="because", at=AT)
    record = baseline.with_name("toron-v2.5H+.1-py3.11.json")
    record.write_text("{")
    with pytest.raises(BadInput, match="restore it from version control"):
        approve(run, tmp_path / "golden", who="ada", why="because", at=AT)
    assert record.read_text() == "{"


def test_a_bundle_that_was_replaced_since_it_was_reviewed_is_not_approved(tmp_path: Path) -> None:
    run = Recipe().write(tmp_path / "run.tar.gz")
    seen = read_bundle(run).identity
    Recipe(outputs={"n": 2}).write(run)
    with pytest.raises(BadInput, match=r"is another bundle now .* than the one that was reviewed"):
        approve(run, tmp_path / "golden", who="ada", why="because", at=AT, seen=seen)
    assert not (tmp_path / "golden").exists()


def test_a_folder_that_cannot_be_written_leaves_everything_as_it_was(tmp_path: Path) -> None:
    run = Recipe().write(tmp_path / "run.tar.gz")
    (tmp_path / "golden").write_text("a file")
    with pytest.raises(OutputNotWritable):
        approve(run, tmp_path / "golden", who="ada", why="because", at=AT)
    assert (tmp_path / "golden").read_text() == "a file"
