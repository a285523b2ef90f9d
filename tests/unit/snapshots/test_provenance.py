"""A baseline says where it came from, and a new engine minor proves that it is deterministic."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.snapshots.building import NO_MASKS_VERSION, Recipe

from testops.domain.errors import BadInput
from testops.domain.review import Decision
from testops.snapshots import approve, read_bundle
from testops.snapshots.approve import Evidence
from testops.snapshots.provenance import provenance_of, require_verified, run_record_of
from testops.snapshots.review_rules import ReviewRules

AT = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
NEW_MINOR = Recipe(engine="toron-v2.5H+.3")


def record(identity: str, attempt: int = 1, **changes: Any) -> dict[str, Any]:
    metrics = {"executions": 50, "identical": 50, "kernels_inconclusive": 0}
    return {
        "run_id": "0123456789abcdef",
        "attempt": attempt,
        "state": "finished",
        "bundle_identity": identity,
        "build": {"commit": "c0ffee", "dirty": None},
        "environment": {"python": "3.11.7", "sqlite": "3.45.1"},
        "finished_at": f"2026-11-25T12:00:0{attempt}+00:00",
        "stages": [{"name": "sim", "state": "ran", "metrics": metrics | changes}],
    }


def keep(runs: Path, body: object, *, run: str = "0123456789abcdef", attempt: int = 1) -> None:
    path = runs / run / f"attempt-{attempt}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body if isinstance(body, str) else json.dumps(body))


def test_the_record_of_the_very_bundle_is_found_newest_first(tmp_path: Path) -> None:
    keep(tmp_path, record("a" * 64))
    keep(tmp_path, record("a" * 64, attempt=2), attempt=2)
    keep(tmp_path, record("b" * 64, attempt=3), attempt=3)
    keep(tmp_path, record("a" * 64, attempt=4) | {"state": "errored"}, attempt=4)
    keep(tmp_path, "{", attempt=5)
    keep(tmp_path, "[1]", attempt=6)
    assert run_record_of(tmp_path, "f" * 64, "a" * 64)["attempt"] == 2
    assert run_record_of(tmp_path, "c" * 64) == {}
    assert run_record_of(tmp_path / "nowhere", "a" * 64) == {}


def test_provenance_is_what_is_known_and_null_where_nothing_is(tmp_path: Path) -> None:
    bundle = read_bundle(Recipe(seeds=(7, 8)).write(tmp_path / "run.tar.gz"))
    known = {
        "commit": "c0ffee",
        "dirty": None,
        "run_id": "0123456789abcdef",
        "attempt": 1,
        "sim_seed": 7,
        "chaos_seed": 3,
        "engine_version": "toron-v2.5H+.1",
        "python": "3.11.7",
        "sqlite": "3.45.1",
        "masks_version": NO_MASKS_VERSION,
        "determinism_percent": 98.0,
        "executions": 2,
    }
    assert provenance_of(bundle, record(bundle.identity, identical=49)) == known
    unknown = ("commit", "run_id", "attempt", "python", "sqlite", "determinism_percent")
    assert provenance_of(bundle, {}) == known | dict.fromkeys(unknown)


def test_history_keeps_the_provenance_and_the_approvals_of_a_former_baseline(
    tmp_path: Path,
) -> None:
    golden = tmp_path / "golden"
    first = Evidence((Decision("ada", "why", "2026-11-25T12:30:00Z"),), {"commit": "c0ffee"})
    run = Recipe().write(tmp_path / "run.tar.gz")
    approve(run, golden, who="ada", why="why", at=AT, evidence=first)
    run = Recipe(outputs={"n": 2}).write(tmp_path / "run.tar.gz")
    baseline = approve(run, golden, who="bob", why="why", at=AT)
    body = json.loads(baseline.with_name("toron-v2.5H+.1-py3.11.json").read_text())
    assert "provenance" not in body
    assert body["history"][0]["provenance"] == {"commit": "c0ffee"}
    assert body["history"][0]["approvals"][0]["who"] == "ada"


def refused(tmp_path: Path, body: dict[str, Any], percent: float = 98.0) -> str:
    bundle = read_bundle(NEW_MINOR.write(tmp_path / "new.tar.gz"))
    with pytest.raises(BadInput) as caught:
        require_verified(bundle, tmp_path / "golden", body, ReviewRules(1, None, percent))
    return str(caught.value)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    run = Recipe().write(tmp_path / "run.tar.gz")
    approve(run, tmp_path / "golden", who="ada", why="why", at=AT)
    return tmp_path / "golden"


@pytest.mark.usefixtures("golden")
def test_a_new_minor_without_the_record_of_its_run_is_refused_with_the_command(
    tmp_path: Path,
) -> None:
    said = refused(tmp_path, {})
    assert "engine toron-v2.5H+.3 has no baseline of suite regression_core yet" in said
    assert "a new engine minor needs a determinism verification" in said
    assert "run `python sim/run_suite.py --profile offline --suite regression_core`" in said


@pytest.mark.usefixtures("golden")
@pytest.mark.parametrize(
    ("changes", "percent", "problem"),
    [
        ({"identical": 48}, 98.0, "48 of 50 executions were identical (96 %), below 98 %"),
        ({"identical": 49}, 99.0, "49 of 50 executions were identical (98 %), below 99 %"),
        ({"executions": 100_000, "identical": 97_999}, 98.0, "97999 of 100000"),
        ({"kernels_inconclusive": 1}, 98.0, "1 of its kernels were inconclusive"),
        (
            {"kernels_inconclusive": None},
            98.0,
            "nothing says how many of its kernels were inconclusive",
        ),
        ({"executions": 0, "identical": 0}, 98.0, "no record of a finished run"),
        ({"identical": True}, 98.0, "no record of a finished run"),
    ],
)
def test_a_new_minor_that_proves_too_little_is_refused(
    tmp_path: Path, changes: dict[str, Any], percent: float, problem: str
) -> None:
    assert problem in refused(tmp_path, record("x", **changes), percent)


@pytest.mark.usefixtures("golden")
def test_a_sim_stage_that_did_not_end_is_no_proof(tmp_path: Path) -> None:
    body = record("x")
    body["stages"][0]["state"] = "tool_error"
    assert "no record of a finished run" in refused(tmp_path, body)


def test_a_new_minor_that_proves_enough_is_let_in(tmp_path: Path, golden: Path) -> None:
    bundle = read_bundle(NEW_MINOR.write(tmp_path / "new.tar.gz"))
    require_verified(bundle, golden, record(bundle.identity, identical=49), ReviewRules())


def test_the_very_first_baseline_and_another_python_need_no_proof(
    tmp_path: Path, golden: Path
) -> None:
    bundle = read_bundle(NEW_MINOR.write(tmp_path / "new.tar.gz"))
    require_verified(bundle, tmp_path / "empty", {}, ReviewRules())
    other = read_bundle(Recipe(python="3.12").write(tmp_path / "other.tar.gz"))
    require_verified(other, golden, {}, ReviewRules())
