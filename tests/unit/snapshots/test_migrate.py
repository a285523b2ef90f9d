"""A committed bundle of schema 1 is read for ever, and becomes a later schema without a change."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.snapshots.building import Recipe
from tests.unit.snapshots.schema2 import SCHEMA_2, schema_2

from testops.domain.errors import BadInput
from testops.domain.verdict import Verdict
from testops.snapshots import (
    approve,
    compare_paths,
    read_bundle,
    read_executions,
    unpack_bundle,
    write_bundle,
)
from testops.snapshots.canonical import canonical, parse
from testops.snapshots.manifest import BundleHeader
from testops.snapshots.migrate import identities_of, migrate
from testops.snapshots.schemas import Files, Schemas, known, registered

ROOT = Path(__file__).parents[3]
FIXTURE = Path(__file__).parent / "fixtures" / "schema1"
IDENTITY = "449354abf3d89e84a06362eeed13d441a83e9027690a546e1d825c1de428bcaa"
AT = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return shutil.copytree(FIXTURE, tmp_path / "golden")


def bundle_in(golden: Path) -> Path:
    return golden / "shop" / "offline" / "toron-v2.5H+.2-py3.11.tar.gz"


def record_in(golden: Path) -> Path:
    return golden / "shop" / "offline" / "toron-v2.5H+.2-py3.11.json"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_committed_bundle_is_what_it_was_when_it_was_committed() -> None:
    bundle = read_bundle(bundle_in(FIXTURE))
    assert (bundle.identity, bundle.schema_version) == (IDENTITY, 1)
    executions = read_executions(bundle)
    assert [(one.id.kernel, one.verdict, one.trace is None) for one in executions.values()] == [
        ("orders", Verdict.PASS, True),
        ("orders", Verdict.PASS, True),
        ("oversold", Verdict.FAIL, False),
        ("oversold", Verdict.FAIL, False),
    ]


def test_a_program_that_knows_more_reads_it_as_its_own_and_names_it_as_before() -> None:
    with schema_2():
        bundle = read_bundle(bundle_in(FIXTURE))
        assert (bundle.identity, bundle.schema_version) == (IDENTITY, 1)
        documents = [one.document for one in read_executions(bundle).values()]
    assert all("faults" not in document for document in documents)


def test_a_migrated_bundle_compares_equal_to_its_original(golden: Path) -> None:
    with schema_2():
        (done,) = migrate(golden)
        assert (done.former_identity, done.former_schema, done.schema) == (IDENTITY, 1, 2)
        migrated = read_bundle(bundle_in(golden))
        assert (migrated.identity, migrated.schema_version) == (done.identity, 2)
        assert migrated.identity != IDENTITY
        for base, target in ((FIXTURE, golden), (golden, FIXTURE)):
            comparison = compare_paths(base, target)
            assert comparison.verdict is Verdict.PASS, comparison.reason
            assert comparison.compared_count == 4


def test_a_baseline_of_schema_1_is_compared_with_a_run_of_schema_2(
    golden: Path, tmp_path: Path
) -> None:
    original = read_bundle(bundle_in(golden))
    with schema_2():
        same, other = tmp_path / "same.tar.gz", tmp_path / "other.tar.gz"
        read = read_bundle(bundle_in(golden))
        write_bundle(same, read.header, read.files)
        files = dict(read.files)
        path = "kernels/orders/42-7.json"
        files[path] = files[path].replace(b'"price":3', b'"price":4')
        write_bundle(other, read.header, files)
        assert read_bundle(same).schema_version == 2
        assert compare_paths(golden, same).verdict is Verdict.PASS
        comparison = compare_paths(golden, other)
        assert [delta.field for delta in comparison.deltas] == ["/outputs/tea/price"]
        assert comparison.base_identity == original.identity


def test_the_record_keeps_what_was_approved_and_names_the_former_identity(golden: Path) -> None:
    before = json.loads(record_in(golden).read_text())
    with schema_2():
        (done,) = migrate(golden)
        after = json.loads(record_in(golden).read_text())
        assert after["identity"] == done.identity
        assert after["migrated_from"] == [{"identity": IDENTITY, "schema_version": 1}]
        for name in ("who", "why", "at", "approvals", "provenance", "failing", "history"):
            assert after[name] == before[name]
        assert identities_of(read_bundle(bundle_in(golden))) == [done.identity, IDENTITY]
        assert not compare_paths(golden, FIXTURE).findings
        # The next approval keeps the chain in its history.
        run = bundle_in(FIXTURE)
        approve(run, golden, who="bob", why="again", at=AT, allow_failing=True)
        record = json.loads(record_in(golden).read_text())
        assert record["migrated_from"] == [{"identity": IDENTITY, "schema_version": 1}]
        assert record["history"][0]["migrated_from"] == after["migrated_from"]


def test_migrating_twice_changes_nothing_more(golden: Path) -> None:
    with schema_2():
        migrate(golden)
        before = contents(golden)
        (again,) = migrate(golden)
        assert not again.is_needed
        assert contents(golden) == before


def test_a_dry_run_says_what_would_change_and_changes_nothing(golden: Path) -> None:
    before = contents(golden)
    with schema_2():
        (planned,) = migrate(golden, dry_run=True)
        assert planned.is_needed
        assert contents(golden) == before
        assert migrate(golden) == [planned]


def test_without_a_newer_schema_there_is_nothing_to_do(golden: Path) -> None:
    before = contents(golden)
    assert [one.is_needed for one in migrate(golden)] == [False]
    assert contents(golden) == before


def test_a_bundle_that_nobody_approved_is_still_linked_to_its_run(
    golden: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run-0123456789abcdef.tar.gz"
    shutil.copy(bundle_in(golden), run)
    unpack_bundle(run, tmp_path / "dev")
    with schema_2():
        migrate(tmp_path)
        for place in (run, tmp_path / "dev"):
            assert read_bundle(place).schema_version == 2
            assert identities_of(read_bundle(place))[1:] == [IDENTITY]


@pytest.mark.parametrize("act", ["read", "compare", "migrate", "approve"])
def test_a_newer_schema_is_refused_by_name_and_never_written_back(golden: Path, act: str) -> None:
    with schema_2():
        migrate(golden)
    before = contents(golden)
    path = bundle_in(golden)
    acts: dict[str, Callable[[], object]] = {
        "read": lambda: read_bundle(path),
        "compare": lambda: compare_paths(golden, FIXTURE),
        "migrate": lambda: migrate(golden),
        "approve": lambda: approve(path, golden, who="a", why="b", at=AT, allow_failing=True),
    }
    with pytest.raises(BadInput, match=r"schema_version is 2, and this program reads 1; update"):
        acts[act]()
    assert contents(golden) == before


def _manifest_3(header: BundleHeader, files: Files) -> bytes:
    document = parse(SCHEMA_2.manifest(header, files))
    assert isinstance(document, dict)
    return canonical(document | {"schema_version": 3})


def test_schemas_in_a_row_are_migrated_one_after_the_other(golden: Path) -> None:
    schema_3 = replace(SCHEMA_2, version=3, manifest=_manifest_3)
    with schema_2():
        (second,) = migrate(golden)
        with registered(schema_3):
            (third,) = migrate(golden)
            record = json.loads(record_in(golden).read_text())
            assert record["identity"] == third.identity
            assert record["migrated_from"] == [
                {"identity": IDENTITY, "schema_version": 1},
                {"identity": second.identity, "schema_version": 2},
            ]
        with pytest.raises(BadInput, match="is 3, and this program reads 1 and 2; update"):
            read_bundle(bundle_in(golden))


def test_nothing_is_touched_when_one_of_many_is_damaged(golden: Path) -> None:
    (bundle_in(golden).parent / "zz.tar.gz").write_bytes(b"\x1f\x8bno")
    before = contents(golden)
    with schema_2(), pytest.raises(BadInput, match=r"zz\.tar\.gz"):
        migrate(golden)
    assert contents(golden) == before


def test_a_record_that_is_of_another_bundle_stops_the_migration(golden: Path) -> None:
    record = json.loads(record_in(golden).read_text()) | {"identity": "a" * 64}
    record_in(golden).write_text(json.dumps(record))
    before = contents(golden)
    with schema_2(), pytest.raises(BadInput, match="not the record of the bundle beside it"):
        migrate(golden)
    assert contents(golden) == before


def test_a_migration_whose_result_nobody_can_read_writes_nothing(golden: Path) -> None:
    def broken(header: object, files: object) -> object:
        assert isinstance(files, dict)
        return header, dict.fromkeys(files, b"{}")

    before = contents(golden)
    with registered(replace(SCHEMA_2, migrate=broken)), pytest.raises(BadInput):  # type: ignore[arg-type]
        migrate(golden)
    assert contents(golden) == before


def test_schemas_have_no_gap() -> None:
    with pytest.raises(AssertionError):
        Schemas([replace(SCHEMA_2, version=1), replace(SCHEMA_2, version=3)])
    assert known().newest.version == 1


# The child is killed at its n-th rename or sync; it is a process of its own, as a real one is.
DYING = """
import os, signal, sys
from pathlib import Path
from tests.unit.snapshots.schema2 import schema_2
from testops.snapshots.migrate import migrate

left = [int(sys.argv[2])]

def dying(real):
    def counted(*arguments, **named):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return counted

Path.replace, os.fsync = dying(Path.replace), dying(os.fsync)
with schema_2():
    migrate(Path(sys.argv[1]))
"""


def _migrate_and_die(golden: Path, moment: int) -> int:
    command = [sys.executable, "-c", DYING, str(golden), str(moment)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def test_a_migration_that_is_killed_anywhere_leaves_an_approved_baseline(tmp_path: Path) -> None:
    killed = 0
    for moment in range(1, 40):
        golden = shutil.copytree(FIXTURE, tmp_path / f"golden-{moment}")
        status = _migrate_and_die(golden, moment)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
        with schema_2():
            comparison = compare_paths(golden, FIXTURE)
            assert (comparison.verdict, list(comparison.findings)) == (Verdict.PASS, []), moment
            migrate(golden)
            migrated = read_bundle(bundle_in(golden))
            assert migrated.schema_version == 2
            assert identities_of(migrated)[1:] == [IDENTITY]
        names = [path.name for path in golden.rglob("*") if path.is_file()]
        assert sorted(names) == sorted([bundle_in(golden).name, record_in(golden).name])
    assert killed >= 6  # the trial, the record and the bundle, each between sync and rename


def test_a_run_recorded_today_is_of_the_newest_schema(tmp_path: Path) -> None:
    assert read_bundle(Recipe().write(tmp_path / "run.tar.gz")).schema_version == 1
    with schema_2():
        assert read_bundle(Recipe().write(tmp_path / "run2.tar.gz")).schema_version == 2
