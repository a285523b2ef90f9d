"""Both sides of a comparison say where they come from, and another CPython is said first."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.snapshots.building import Recipe

from testops.domain.verdict import Verdict
from testops.snapshots import approve, compare_paths, read_bundle
from testops.snapshots.approve import Evidence, baseline_path
from testops.snapshots.compare import Comparison
from testops.snapshots.origins import Here, with_origins

PROGRAMS = {"python": "3.11.9", "sqlite": "3.45.0"}


def approved(tmp_path: Path, provenance: Any = None) -> Path:
    approve(
        Recipe().write(tmp_path / "first.tar.gz"),
        tmp_path / "golden",
        who="ada",
        why="first",
        at=datetime(2026, 11, 24, tzinfo=UTC),
        evidence=Evidence(provenance=provenance),
    )
    return tmp_path / "golden"


def recorded(tmp_path: Path, target: Path, **environment: str) -> None:
    folder = tmp_path / "runs" / "ab"
    folder.mkdir(parents=True)
    record = {
        "run_id": "ab",
        "attempt": 1,
        "state": "finished",
        "bundle_identity": read_bundle(target).identity,
        "build": {"commit": "c" * 40, "dirty": None},
        "environment": environment,
    }
    (folder / "attempt-1.json").write_text(json.dumps(record))


def found(tmp_path: Path, golden: Path, target: Path, **here: Any) -> Comparison:
    place = Here(tmp_path / "runs", PROGRAMS, **here)
    return with_origins(compare_paths(golden, target), place)


def test_the_approval_and_the_run_are_named(tmp_path: Path) -> None:
    golden = approved(tmp_path, {"commit": "b" * 40, "python": "3.11.9", "sqlite": None})
    target = Recipe(outputs={}).write(tmp_path / "run.tar.gz")
    recorded(tmp_path, target, python="3.11.9")
    answer: Any = found(tmp_path, golden, target).to_json()
    assert answer["base"]["approved"] == {
        "who": "ada",
        "why": "first",
        "at": "2026-11-24T00:00:00Z",
    }
    assert answer["base"]["provenance"]["commit"] == "b" * 40
    assert answer["target"]["provenance"]["run_id"] == "ab"
    assert answer["notes"] == []


@pytest.mark.parametrize("is_origin", [True, False])
def test_another_patch_of_cpython_is_the_first_note_and_the_verdict_stays(
    tmp_path: Path, is_origin: bool
) -> None:
    golden = approved(tmp_path, {"python": "3.11.7", "sqlite": "3.40.1"})
    target = Recipe(outputs={}).write(tmp_path / "run.tar.gz")
    if not is_origin:
        recorded(tmp_path, target, **PROGRAMS)
    comparison = found(tmp_path, golden, target, is_origin=is_origin)
    assert comparison.verdict is Verdict.FAIL
    assert comparison.notes[0].startswith(
        "the baseline was approved under CPython 3.11.7/SQLite 3.40.1, the target was made under "
        "CPython 3.11.9/SQLite 3.45.0"
    )


def test_what_nobody_knows_is_no_note_and_equal_behaviour_needs_none(tmp_path: Path) -> None:
    golden = approved(tmp_path, {"python": "3.11.7", "sqlite": None})
    target = Recipe(outputs={}).write(tmp_path / "run.tar.gz")
    comparison = found(tmp_path, golden, target)
    assert comparison.notes == []
    assert comparison.target_origin == {"approved": None, "provenance": None}
    same = Recipe().write(tmp_path / "same.tar.gz")
    assert found(tmp_path, golden, same, is_origin=True).notes == []


def test_a_record_of_another_bundle_is_evidence_for_nothing(tmp_path: Path) -> None:
    golden = approved(tmp_path, {"python": "3.11.7"})
    baseline = baseline_path(golden, Recipe().header().key)
    Recipe(outputs={"n": 1}).write(baseline)
    target = Recipe(outputs={}).write(tmp_path / "run.tar.gz")
    comparison = found(tmp_path, golden, target, is_origin=True)
    assert comparison.base_origin == {"approved": None, "provenance": None}
    assert comparison.notes == []
