"""What a store keeps is migrated beside its original, which stays for whoever refers to it."""

import itertools
import threading
from pathlib import Path

import pytest
from tests.unit.snapshots.schema2 import schema_2

from testops.domain.errors import BadInput
from testops.domain.verdict import Verdict
from testops.snapshots import compare_paths
from testops.snapshots.bundle import read_stored
from testops.snapshots.objects.folder import FolderLatch, FolderShelf
from testops.snapshots.store.checking import check_store
from testops.snapshots.store.migrating import migrate_store
from testops.snapshots.store.service import Holder, SnapshotStore
from testops.telemetry.clock import SystemClock

FIXTURE = Path(__file__).parents[1] / "fixtures/schema1/shop/offline/toron-v2.5H+.2-py3.11.tar.gz"
OURS, THEIRS = Holder("ours", "/ours"), Holder("theirs", "/theirs")


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    root = tmp_path / "shelf"
    latch = FolderLatch(root, pause=_pause, told=lambda _said: None)
    return SnapshotStore(FolderShelf(root), latch, SystemClock())


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


_numbers = itertools.count()


def tokens() -> str:
    return f"{next(_numbers):016x}"


def migrated(store: SnapshotStore, holder: Holder = OURS, *, dry_run: bool = False) -> list[str]:
    done = migrate_store(store, holder, who="ada", token=tokens, dry_run=dry_run)
    return [one.identity for one in done if one.is_needed]


def test_a_kept_bundle_is_migrated_beside_its_original(
    store: SnapshotStore, tmp_path: Path
) -> None:
    former = store.capture(FIXTURE, holder=OURS, who="ada", run_id="0123456789abcdef").record
    store.pin(former.identity, who="bob", why="release 1.4", token=tokens())
    with schema_2():
        (new,) = migrated(store)
        shown = store.show(new)
        assert f"migrated-from-{former.identity}" in shown.holds[0].source
        assert shown.holds[0].run_id == "0123456789abcdef"
        assert [(pin.who, pin.why) for pin in shown.pins] == [
            ("bob", f"release 1.4 (pinned as {former.identity[:16]}, before its migration)")
        ]
        store.materialise(former.identity, tmp_path / "old.tar.gz")
        store.materialise(new, tmp_path / "new.tar.gz")
        assert (tmp_path / "old.tar.gz").read_bytes() == FIXTURE.read_bytes()
        assert read_stored(tmp_path / "new.tar.gz")[0].schema_version == 2
        comparison = compare_paths(tmp_path / "old.tar.gz", tmp_path / "new.tar.gz")
        assert comparison.verdict is Verdict.PASS
        assert check_store(store).damages == []


def test_migrating_twice_changes_nothing_more(store: SnapshotStore) -> None:
    former = store.capture(FIXTURE, holder=OURS, who="ada").record
    store.pin(former.identity, who="bob", why="release", token=tokens())
    with schema_2():
        (new,) = migrated(store)
        assert migrated(store) == []
        assert len(store.list()) == 2
        assert len(store.show(new).pins) == 1


def test_a_pin_that_a_kill_left_behind_is_carried_over_by_the_next(store: SnapshotStore) -> None:
    former = store.capture(FIXTURE, holder=OURS, who="ada").record
    with schema_2():
        (new,) = migrated(store)
        store.pin(former.identity, who="bob", why="release", token=tokens())
        assert migrated(store) == []
        assert len(store.show(new).pins) == 1


def test_a_dry_run_and_another_projects_bundles_change_nothing(store: SnapshotStore) -> None:
    store.capture(FIXTURE, holder=THEIRS, who="eve")
    with schema_2():
        assert migrated(store) == []
        assert len(migrated(store, THEIRS, dry_run=True)) == 1
        assert len(store.list()) == 1


def test_a_kept_bundle_of_a_newer_schema_is_refused_by_name(store: SnapshotStore) -> None:
    store.capture(FIXTURE, holder=OURS, who="ada")
    with schema_2():
        migrated(store)
    with pytest.raises(BadInput, match=r"schema_version is 2, and this program reads 1; update"):
        migrated(store)
