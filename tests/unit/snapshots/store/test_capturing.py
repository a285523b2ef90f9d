"""A captured bundle comes back byte for byte, equal files are kept once, and damage has a name."""

import hashlib
import subprocess
import sys
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from tests.unit.snapshots.building import Recipe, members_of, repack
from tests.unit.snapshots.schema2 import schema_2
from tests.unit.snapshots.store.killing import killed_at
from tests.unit.snapshots.store.shelving import Place, folder_place, s3_place

from testops.domain.errors import BadInput
from testops.snapshots import read_bundle, unpack_bundle
from testops.snapshots.bundle import bundles_below
from testops.snapshots.store.checking import check_folders, check_store
from testops.snapshots.store.service import Captured, Holder, SnapshotStore
from testops.snapshots.tree_index import TreeIndex
from testops.telemetry.clock import SystemClock

HOLDER = Holder("project", "/somewhere")


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return folder_place(tmp_path / "store")
    return s3_place(request.getfixturevalue("s3_server"), request.getfixturevalue("s3_bucket"))


@pytest.fixture
def store(place: Place) -> SnapshotStore:
    return SnapshotStore(place.shelf, place.latch("test"), SystemClock())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Recipe(seeds=(1, 2, 3)).write(tmp_path / "run-0123456789abcdef.tar.gz")


def captured(store: SnapshotStore, path: Path, *, rewrite: bool = False) -> Captured:
    return store.capture(path, holder=HOLDER, who="ada", rewrite=rewrite)


def folder_store(root: Path) -> SnapshotStore:
    place = folder_place(root)
    return SnapshotStore(place.shelf, place.latch("test"), SystemClock())


def object_place(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"


def test_the_file_that_comes_back_is_the_file_that_was_captured(
    store: SnapshotStore, bundle: Path, tmp_path: Path
) -> None:
    identity = captured(store, bundle).record.identity
    done = store.materialise(identity[:8], tmp_path / "back.tar.gz")
    assert done.path.read_bytes() == bundle.read_bytes()
    assert done.is_same_file


def test_the_folder_that_comes_back_is_the_bundle_unpacked(
    store: SnapshotStore, bundle: Path, tmp_path: Path
) -> None:
    identity = captured(store, bundle).record.identity
    store.materialise(identity, tmp_path / "back")
    unpack_bundle(bundle, tmp_path / "unpacked")
    assert read_bundle(tmp_path / "back").identity == identity
    contents = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "back", tmp_path / "unpacked")
    ]
    assert contents[0] == contents[1]


def test_a_bundle_that_another_program_packed_is_told_from_the_same_file(
    store: SnapshotStore, bundle: Path, tmp_path: Path
) -> None:
    foreign = repack(tmp_path / "foreign.tar.gz", members_of(bundle))
    assert foreign.read_bytes() != bundle.read_bytes()
    identity = captured(store, foreign).record.identity
    assert identity == read_bundle(bundle).identity
    assert store.materialise(identity, tmp_path / "back.tar.gz").is_same_file is False


def test_an_unpacked_bundle_and_its_file_are_one_bundle(
    store: SnapshotStore, bundle: Path, tmp_path: Path
) -> None:
    unpack_bundle(bundle, tmp_path / "dev")
    first = captured(store, bundle)
    second = captured(store, tmp_path / "dev")
    assert (first.is_new, second.is_new) == (True, False)
    assert second.bytes_new == 0
    assert store.materialise(first.record.identity, tmp_path / "back.tar.gz").is_same_file


def test_files_that_another_bundle_has_are_shared_and_counted(
    store: SnapshotStore, bundle: Path, tmp_path: Path
) -> None:
    first = captured(store, bundle)
    assert (first.files_shared, first.bytes_shared) == (0, 0)
    more = Recipe(seeds=(1, 2, 3, 4)).write(tmp_path / "more.tar.gz")
    second = captured(store, more)
    assert second.files_shared == 3
    assert second.files_new == 2  # the fourth execution, and the manifest
    assert second.bytes_new + second.bytes_shared == second.record.size
    kept = sum(content.size for content in store.objects.list())
    assert kept == first.bytes_new + second.bytes_new


def test_a_bundle_of_an_older_schema_comes_back_as_it_was(
    store: SnapshotStore, bundle: Path, tmp_path: Path
) -> None:
    before = captured(store, bundle).record
    with schema_2():
        assert captured(store, bundle).is_new is False
        assert check_store(store).damages == []
        store.materialise(before.identity, tmp_path / "back.tar.gz")
        store.materialise(before.identity, tmp_path / "back")
    assert (tmp_path / "back.tar.gz").read_bytes() == bundle.read_bytes()
    assert read_bundle(tmp_path / "back").identity == before.identity


def test_what_is_known_of_a_bundle_is_listed_and_shown(store: SnapshotStore, bundle: Path) -> None:
    record = captured(store, bundle).record
    [shown] = store.list()
    assert shown.record == record == store.show(record.identity[:4]).record
    assert (record.key.suite, record.sim_seed, record.file_count) == ("regression_core", 1, 4)
    [hold] = shown.holds
    assert (hold.who, hold.source) == ("ada", str(bundle))
    assert hold.packed == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert datetime.fromisoformat(shown.to_json()["holds"][0]["at"]) == hold.at


@pytest.mark.parametrize("asked", ["", "abc", "../../etc", "xyzw", "ffff" * 17])
def test_a_name_that_is_no_identity_is_refused(store: SnapshotStore, asked: str) -> None:
    with pytest.raises(BadInput, match="IDENTITY"):
        store.show(asked)


def test_a_bundle_that_is_not_kept_says_how_to_add_it(store: SnapshotStore) -> None:
    with pytest.raises(BadInput, match=r"keeps no bundle 0000.*testops snapshot capture"):
        store.show("0000")


def test_a_pin_says_who_and_why_until_it_is_ended(store: SnapshotStore, bundle: Path) -> None:
    identity = captured(store, bundle).record.identity
    store.pin(identity[:8], who="ada", why="the release of May", token="1")
    store.pin(identity[:8], who="grace", why="an incident", token="2")
    assert [(pin.who, pin.why) for pin in store.show(identity).pins] == [
        ("ada", "the release of May"),
        ("grace", "an incident"),
    ]
    store.unpin(identity, who="ada", why="released", token="3")
    assert store.show(identity).pins == ()
    with pytest.raises(BadInput, match="is not pinned"):
        store.unpin(identity, who="ada", why="again", token="4")


@pytest.mark.parametrize(("who", "why"), [("", "x"), ("ada", " "), ("ada", "x" * 2001)])
def test_a_pin_without_a_person_or_a_reason_is_refused(
    store: SnapshotStore, bundle: Path, who: str, why: str
) -> None:
    identity = captured(store, bundle).record.identity
    with pytest.raises(BadInput, match=r"--wh[oy]"):
        store.pin(identity, who=who, why=why, token="1")
    assert store.show(identity).pins == ()


def test_a_folder_of_bundles_is_all_its_bundles(tmp_path: Path) -> None:
    one = Recipe(seeds=(1,)).write(tmp_path / "all" / "deep" / "one.tar.gz")
    unpack_bundle(one, tmp_path / "all" / "dev")
    (tmp_path / "all" / ".store").mkdir()
    (tmp_path / "all" / ".store" / "not.tar.gz").touch()
    assert list(bundles_below(tmp_path / "all")) == [one, tmp_path / "all" / "dev"]


def test_a_store_that_nobody_touched_is_whole(store: SnapshotStore, bundle: Path) -> None:
    captured(store, bundle)
    checked = check_store(store)
    assert checked.damages == []
    assert (checked.bundles, checked.objects, checked.unreferenced_objects) == (1, 4, 0)
    assert checked.bytes_read == store.list()[0].record.size


@pytest.mark.parametrize("damage", ["edited", "missing", "cut off"])
def test_a_damaged_file_is_named_with_its_bundle_and_mended_by_a_good_copy(
    store: SnapshotStore, bundle: Path, damage: str
) -> None:
    record = captured(store, bundle).record
    path, content = sorted(read_bundle(bundle).files.items())[1]
    sha256 = hashlib.sha256(content).hexdigest()
    if damage == "missing":
        store.shelf.remove(object_place(sha256))
    else:
        bad = content[:-1] + (b"?" if damage == "edited" else b"")
        store.shelf.write(object_place(sha256), bad)
    [found] = check_store(store).damages
    assert found.what == f"object {sha256}, which is {path} of bundle {record.identity}"
    assert "testops snapshot capture --rewrite" in found.fix
    assert str(bundle) in found.fix
    with pytest.raises(BadInput, match="testops snapshot verify"):
        store.materialise(record.identity, bundle.parent / "back.tar.gz")
    captured(store, bundle, rewrite=True)
    assert check_store(store).damages == []


def test_a_damaged_manifest_is_named(store: SnapshotStore, bundle: Path) -> None:
    record = captured(store, bundle).record
    store.shelf.write(object_place(record.manifest), b"{}")
    [found] = check_store(store).damages
    assert found.what == f"bundle {record.identity}"
    assert "manifest.json is damaged" in found.problem


def test_a_record_that_was_moved_to_another_identity_is_found(
    store: SnapshotStore, bundle: Path
) -> None:
    record = captured(store, bundle).record
    content = store.shelf.read(f"bundles/{record.identity}.json")
    assert content is not None
    forged = "f" * 64
    store.shelf.write(
        f"bundles/{forged}.json", content.replace(record.identity.encode(), forged.encode())
    )
    [found] = check_store(store).damages
    assert found.what == f"bundle {forged}"
    assert record.identity in found.problem


def test_a_record_that_is_no_record_is_named_by_its_file(
    store: SnapshotStore, bundle: Path
) -> None:
    record = captured(store, bundle).record
    store.shelf.write(f"bundles/{record.identity}.json", b"not json")
    [found] = check_store(store).damages
    assert found.what.endswith(f"bundles/{record.identity}.json")
    assert "capture --rewrite" in found.fix
    captured(store, bundle, rewrite=True)
    assert check_store(store).damages == []


def test_a_pinned_bundle_that_is_gone_is_damage(store: SnapshotStore, bundle: Path) -> None:
    identity = captured(store, bundle).record.identity
    store.pin(identity, who="ada", why="x", token="1")
    store.shelf.remove(f"bundles/{identity}.json")
    assert [one.problem for one in check_store(store).damages] == ["was pinned and is not kept"]


def test_an_unpacked_bundle_is_checked_against_its_manifest(tmp_path: Path, bundle: Path) -> None:
    dev = tmp_path / "dev"
    unpack_bundle(bundle, dev)
    index = TreeIndex(tmp_path / "index")
    assert check_folders([dev], index).damages == []
    victim = next(iter(sorted((dev / "kernels").rglob("*.json"))))
    victim.write_bytes(victim.read_bytes().replace(b"alice", b"malic"))
    [found] = check_folders([dev], index).damages
    assert victim.relative_to(dev).as_posix() in found.problem


def test_a_place_without_any_bundle_is_bad_input(tmp_path: Path) -> None:
    for place in (tmp_path / "missing", tmp_path):
        with pytest.raises(BadInput):
            check_folders([place], TreeIndex(tmp_path / "index"))


CAPTURE = """
import sys, time
from pathlib import Path
from tests.unit.snapshots.store.test_capturing import HOLDER
from testops.snapshots.objects.folder import FolderLatch, FolderShelf
from testops.snapshots.store.service import SnapshotStore
from testops.telemetry.clock import SystemClock
root = Path(sys.argv[1])
latch = FolderLatch(root, pause=time.sleep, told=print)
store = SnapshotStore(FolderShelf(root), latch, SystemClock())
for path in sys.argv[2:]:
    store.capture(Path(path), holder=HOLDER, who="ada")
"""


def test_many_processes_that_capture_the_same_bundles_keep_each_once(tmp_path: Path) -> None:
    bundles = [
        Recipe(seeds=tuple(range(n, n + 4))).write(tmp_path / f"{n}.tar.gz") for n in range(4)
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CAPTURE, str(tmp_path / "store"), *map(str, order)],
            cwd=Path(__file__).parents[4],
        )
        for order in (bundles, bundles[::-1], bundles[2:] + bundles[:2])
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    store = folder_store(tmp_path / "store")
    assert len(store.list()) == 4
    checked = check_store(store)
    assert (checked.damages, checked.unreferenced_objects) == ([], 0)


def test_a_capture_killed_at_any_moment_leaves_a_whole_store(tmp_path: Path) -> None:
    """Kill -9 before each thing it does to the disk; what is kept is whole, the rest is waste."""
    bundle = Recipe(seeds=(1, 2)).write(tmp_path / "bundle.tar.gz")
    killed = 0
    while killed < 200:
        root = tmp_path / f"store-{killed}"
        store = folder_store(root)
        if not killed_at(killed, partial(captured, store, bundle)):
            break
        killed += 1
        assert check_store(store).damages == []
        for shown in store.list():
            store.materialise(shown.record.identity, tmp_path / "back.tar.gz")
        captured(store, bundle)
        assert check_store(store).damages == []
        assert store.shelf.tidy() >= 0
        assert not list(root.rglob("*.testops-tmp"))
    assert 20 < killed < 200, "the places to kill at were not found, or never ended"
