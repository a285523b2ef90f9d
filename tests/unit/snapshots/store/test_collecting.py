"""A collection frees what nobody refers to, and nothing of what anybody does: whatever happens."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.support.s3 import S3Server
from tests.unit.snapshots.building import Recipe
from tests.unit.snapshots.store.killing import killed_at
from tests.unit.snapshots.store.shelving import (
    HeldClock,
    Place,
    folder_place,
    pause,
    s3_place,
)

from testops.domain.errors import BadInput
from testops.snapshots import approve, read_bundle, unpack_bundle
from testops.snapshots.objects.leases import LeaseLatch
from testops.snapshots.store.checking import check_store
from testops.snapshots.store.collecting import Collected, Wanted, collect
from testops.snapshots.store.opening import open_store
from testops.snapshots.store.references import bundle_references, record_references
from testops.snapshots.store.service import Holder, SnapshotStore
from testops.telemetry.clock import SystemClock

MINE, OTHER = Holder("mine", "/mine"), Holder("other", "/other on another machine")
DAY = timedelta(days=1)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return folder_place(tmp_path / "store")
    return s3_place(request.getfixturevalue("s3_server"), request.getfixturevalue("s3_bucket"))


@pytest.fixture
def store(place: Place) -> SnapshotStore:
    return SnapshotStore(place.shelf, place.latch("test"), SystemClock())


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    """The folder `snapshots/` of a project."""
    folder = tmp_path / "project" / "snapshots"
    folder.mkdir(parents=True)
    return folder


def kept(store: SnapshotStore, tmp_path: Path, seed: int, *, holder: Holder = MINE) -> str:
    """A bundle in the store, and nowhere else."""
    path = Recipe(seeds=(seed,), outputs={"seed": seed}).write(tmp_path / "aside.tar.gz")
    identity = store.capture(path, holder=holder, who="ada").record.identity
    path.unlink()
    return identity


def collected(
    store: SnapshotStore,
    snapshots: Path,
    *,
    in_days: float = 2,
    lapse: timedelta | None = None,
    dry_run: bool = False,
) -> Collected:
    """What a collection does `in_days` from now, with a grace of one day."""
    now = datetime.now(UTC) + in_days * DAY
    return collect(
        store,
        Wanted(MINE, now, DAY, lapse=lapse, dry_run=dry_run),
        records=lambda: record_references(snapshots),
        bundles=lambda: bundle_references(snapshots),
    )


def identities(store: SnapshotStore) -> list[str]:
    return [shown.record.identity for shown in store.list()]


def test_what_nothing_refers_to_is_removed_and_its_bytes_counted(
    store: SnapshotStore, snapshots: Path, tmp_path: Path
) -> None:
    identity = kept(store, tmp_path, 1)
    size = sum(content.size for content in store.objects.list())
    done = collected(store, snapshots)
    assert (done.removed, done.released) == ([identity], [identity])
    assert (done.objects_removed, done.bytes_freed) == (2, size)
    assert list(store.shelf.entries("")) == []


def test_a_dry_run_says_the_same_and_removes_nothing(
    store: SnapshotStore, snapshots: Path, tmp_path: Path
) -> None:
    kept(store, tmp_path, 1)
    before = list(store.shelf.entries(""))
    dry = collected(store, snapshots, dry_run=True)
    assert [entry for entry in store.shelf.entries("") if "latch/" not in entry.name] == before
    real = collected(store, snapshots)
    assert {**dry.to_json(), "dry_run": False} == real.to_json()
    assert real.bytes_freed > 0


def test_what_is_young_stays(store: SnapshotStore, snapshots: Path, tmp_path: Path) -> None:
    identity = kept(store, tmp_path, 1)
    done = collected(store, snapshots, in_days=0.9)
    assert done.removed == []
    assert "within the grace" in done.kept[0].reasons[0]
    assert identities(store) == [identity]


def test_files_that_a_kept_bundle_shares_stay(
    store: SnapshotStore, snapshots: Path, tmp_path: Path
) -> None:
    """Both have the executions of seed 1 in common."""
    going = Recipe(seeds=(1, 2)).write(tmp_path / "going.tar.gz")
    staying = Recipe(seeds=(1, 3)).write(snapshots / "run-0000000000000000.tar.gz")
    for path in (going, staying):
        store.capture(path, holder=MINE, who="ada")
    done = collected(store, snapshots)
    assert done.removed == [read_bundle(going).identity]
    assert done.objects_removed == 2
    assert check_store(store).damages == []
    store.materialise(read_bundle(staying).identity, tmp_path / "back.tar.gz")


def write_json(path: Path, body: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))


REFERENCES: Mapping[str, Callable[[SnapshotStore, Path, str], object]] = {
    "a pin": lambda store, _, identity: store.pin(identity, who="a", why="b", token="1"),
    "a run record": lambda _, snapshots, identity: write_json(
        snapshots / "runs" / "0123" / "attempt-1.json", {"bundle_identity": identity}
    ),
    "a review of it": lambda _, snapshots, identity: write_json(
        snapshots / "reviews" / "0123.json", {"target": identity, "base": None}
    ),
    "a review on top of it": lambda _, snapshots, identity: write_json(
        snapshots / "reviews" / "0123.json", {"target": "0" * 64, "base": identity}
    ),
    "a baseline": lambda _, snapshots, identity: write_json(
        snapshots / "golden" / "s" / "p" / "x.json", {"identity": identity, "history": []}
    ),
    "the history of a baseline": lambda _, snapshots, identity: write_json(
        snapshots / "golden" / "s" / "p" / "x.json",
        {"identity": "0" * 64, "history": [{"identity": identity}]},
    ),
    "a field of a later version": lambda _, snapshots, identity: write_json(
        snapshots / "reviews" / "0123.json", {"later": [{"urn": f"sha256:{identity}"}]}
    ),
}


@pytest.mark.parametrize("what", list(REFERENCES))
def test_whatever_refers_to_a_bundle_keeps_it(snapshots: Path, tmp_path: Path, what: str) -> None:
    place = folder_place(tmp_path / "store")
    store = SnapshotStore(place.shelf, place.latch("test"), SystemClock())
    identity, going = kept(store, tmp_path, 1), kept(store, tmp_path, 2)
    REFERENCES[what](store, snapshots, identity)
    done = collected(store, snapshots)
    assert done.removed == [going]
    assert [bundle.identity for bundle in done.kept] == [identity]
    assert check_store(store).damages == []


@pytest.mark.parametrize("where", ["run-0123456789abcdef.tar.gz", "dev", "golden/s/p/x.tar.gz"])
def test_a_bundle_that_lies_in_the_project_keeps_itself(
    snapshots: Path, tmp_path: Path, where: str
) -> None:
    place = folder_place(tmp_path / "store")
    store = SnapshotStore(place.shelf, place.latch("test"), SystemClock())
    source = Recipe(seeds=(1,)).write(tmp_path / "source.tar.gz")
    store.capture(source, holder=MINE, who="ada")
    if where == "dev":
        unpack_bundle(source, snapshots / where)
    else:
        (snapshots / where).parent.mkdir(parents=True, exist_ok=True)
        source.rename(snapshots / where)
    done = collected(store, snapshots)
    assert done.removed == []
    assert where in done.kept[0].reasons[0]


def test_real_approvals_keep_their_bundles_and_those_before(
    snapshots: Path, tmp_path: Path
) -> None:
    store = open_store(snapshots, {}, clock=SystemClock(), token="t", pause=pause, told=print)
    before = []
    for balance in (1, 2):
        path = Recipe(outputs={"balance": balance}).write(tmp_path / "bundle.tar.gz")
        before.append(store.capture(path, holder=MINE, who="ada").record.identity)
        approve(path, snapshots / "golden", who="ada", why="x", at=datetime.now(UTC))
    assert collected(store, snapshots).removed == []
    assert identities(store) == sorted(before)


def test_what_another_project_holds_stays_until_it_lets_go(
    store: SnapshotStore, snapshots: Path, tmp_path: Path
) -> None:
    identity = kept(store, tmp_path, 1)
    assert kept(store, tmp_path, 1, holder=OTHER) == identity
    done = collected(store, snapshots)
    assert (done.released, done.removed) == ([identity], [])
    assert done.kept[0].reasons == ("held by /other on another machine",)


def test_a_project_that_captured_long_ago_holds_no_more_where_that_is_asked(
    store: SnapshotStore, snapshots: Path, tmp_path: Path
) -> None:
    """Build machines capture from a checkout that is gone the next minute, and never collect."""
    identity = kept(store, tmp_path, 1, holder=OTHER)
    pinned = kept(store, tmp_path, 2, holder=OTHER)
    store.pin(pinned, who="ada", why="x", token="1")
    assert collected(store, snapshots, in_days=20, lapse=30 * DAY).removed == []
    assert collected(store, snapshots, in_days=0.5, lapse=0 * DAY).removed == [], "within the grace"
    done = collected(store, snapshots, in_days=31, lapse=30 * DAY)
    assert done.removed == [identity]
    assert [bundle.identity for bundle in done.kept] == [pinned]


def test_a_file_of_no_bundle_goes_once_it_is_old(store: SnapshotStore, snapshots: Path) -> None:
    """A capture that was killed leaves such; of one that goes on, they are young."""
    store.objects.put(b"of no bundle")
    done = collected(store, snapshots, in_days=0.9)
    assert (done.objects_kept, done.objects_removed) == (1, 0)
    done = collected(store, snapshots, in_days=1.1)
    assert (done.objects_removed, done.bytes_freed) == (1, 12)
    assert list(store.objects.list()) == []


def test_an_ended_pin_does_not_hold(store: SnapshotStore, snapshots: Path, tmp_path: Path) -> None:
    identity = kept(store, tmp_path, 1)
    store.pin(identity, who="ada", why="x", token="1")
    assert collected(store, snapshots).removed == []
    store.unpin(identity, who="ada", why="y", token="2")
    assert collected(store, snapshots).removed == [identity]


@pytest.mark.parametrize("name", ["golden/s/p/x.json", "reviews/x.json", "runs/1/attempt-1.json"])
def test_a_record_that_cannot_be_read_stops_the_collection(
    snapshots: Path, tmp_path: Path, name: str
) -> None:
    place = folder_place(tmp_path / "store")
    store = SnapshotStore(place.shelf, place.latch("test"), SystemClock())
    identity = kept(store, tmp_path, 1)
    (snapshots / name).parent.mkdir(parents=True)
    (snapshots / name).write_bytes(b'{"identity": "')
    with pytest.raises(BadInput, match="what it refers to is unknown"):
        collected(store, snapshots)
    assert identities(store) == [identity]


def test_a_bundle_file_that_cannot_be_read_stops_the_collection(
    snapshots: Path, tmp_path: Path
) -> None:
    place = folder_place(tmp_path / "store")
    store = SnapshotStore(place.shelf, place.latch("test"), SystemClock())
    identity = kept(store, tmp_path, 1)
    (snapshots / "run-0123456789abcdef.tar.gz").write_bytes(b"\x1f\x8b torn")
    with pytest.raises(BadInput, match="run-0123456789abcdef"):
        collected(store, snapshots)
    assert identities(store) == [identity]


def test_when_a_kept_bundle_does_not_say_what_it_lists_no_file_is_removed(
    store: SnapshotStore, snapshots: Path, tmp_path: Path
) -> None:
    identity, going = kept(store, tmp_path, 1), kept(store, tmp_path, 2)
    store.pin(identity, who="ada", why="x", token="1")
    manifest = store.show(identity).record.manifest
    store.shelf.write(f"objects/{manifest[:2]}/{manifest}", b"damaged")
    before = list(store.objects.list())
    done = collected(store, snapshots)
    assert done.removed == [going]
    assert (done.objects_removed, done.bytes_freed) == (0, 0)
    assert "testops snapshot verify" in done.problem
    assert len(list(store.objects.list())) == len(before)


def test_a_collection_killed_at_any_moment_leaves_a_whole_store(
    snapshots: Path, tmp_path: Path
) -> None:
    """Kill -9 before each thing it does to the disk; the next one ends the work."""
    killed = 0
    while killed < 100:
        place = folder_place(tmp_path / f"store-{killed}")
        store = SnapshotStore(place.shelf, place.latch("test"), SystemClock())
        pinned, _ = kept(store, tmp_path, 1), kept(store, tmp_path, 2)
        store.pin(pinned, who="ada", why="x", token="1")
        if not killed_at(killed, partial(collected, store, snapshots)):
            break
        killed += 1
        assert check_store(store).damages == []
        assert pinned in identities(store)
        collected(store, snapshots)
        checked = check_store(store)
        assert (checked.damages, checked.bundles, checked.unreferenced_objects) == ([], 1, 0)
    assert 5 < killed < 100, "the places to kill at were not found, or never ended"


# Each captures its own and the common bundles again and again; one collects without any grace.
CAPTURING = """
import os, sys, time
from pathlib import Path
from tests.unit.snapshots.store.test_collecting import MINE
from testops.snapshots.store.opening import open_store
from testops.telemetry.clock import SystemClock
store = open_store(Path("."), os.environ, clock=SystemClock(), token=sys.argv[1],
                   pause=lambda s: time.sleep(s / 20), told=lambda _: None)
for turn in range(int(sys.argv[2])):
    for path in sys.argv[3:]:
        store.capture(Path(path), holder=MINE, who="ada")
"""
COLLECTING = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
from tests.unit.snapshots.store.test_collecting import MINE
from testops.snapshots.store.collecting import Wanted, collect
from testops.snapshots.store.opening import open_store
from testops.telemetry.clock import SystemClock
store = open_store(Path("."), os.environ, clock=SystemClock(), token=sys.argv[1],
                   pause=lambda s: time.sleep(s / 20), told=lambda _: None)
keep = {sys.argv[2]: ["the test"]}
removed = 0
while not Path(sys.argv[3]).exists():
    now = SystemClock().now() + timedelta(seconds=5)
    done = collect(store, Wanted(MINE, now, timedelta()),
                   records=lambda: dict(keep), bundles=lambda: {})
    assert not done.problem, done.problem
    removed += len(done.removed)
print(removed)
"""


def test_collecting_beside_capturing_never_takes_a_file_of_a_kept_bundle(
    place: Place, tmp_path: Path
) -> None:
    """Real processes on one store; what is captured meanwhile is whole, or gone as a whole."""
    paths = [
        str(Recipe(seeds=tuple(range(n, n + 3))).write(tmp_path / f"{n}.tar.gz")) for n in range(4)
    ]
    referred = read_bundle(Path(paths[0])).identity
    turns = "4" if place.environment["TESTOPS_SNAPSHOT_STORE"].startswith("s3:") else "12"
    stop = tmp_path / "stop"

    def start(*arguments: str, told: int | None = None) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-c", *arguments],
            cwd=Path(__file__).parents[4],
            env={**os.environ, **place.environment},
            stdout=told,
        )

    collector = start(COLLECTING, "gc", referred, str(stop), told=subprocess.PIPE)
    capturers = [start(CAPTURING, f"capture-{n}", turns, *paths[n:], *paths[:n]) for n in range(2)]
    store = SnapshotStore(place.shelf, place.latch("test"), SystemClock())
    assert [process.wait(120) for process in capturers] == [0, 0]
    threading.Event().wait(0.2)
    stop.touch()
    said, _ = collector.communicate(timeout=120)
    assert collector.returncode == 0
    assert int(said) > 0, "nothing was ever collected, so nothing was tried"
    assert check_store(store).damages == []
    assert referred in identities(store)
    for identity in identities(store):
        store.materialise(identity, tmp_path / "back.tar.gz")


def test_a_capture_into_s3_that_was_killed_is_tidied_once_its_marker_has_ended(
    s3_server: S3Server, s3_bucket: str, tmp_path: Path, snapshots: Path
) -> None:
    place = s3_place(s3_server, s3_bucket)
    store = SnapshotStore(place.shelf, place.latch("test"), SystemClock())
    whole = kept(store, tmp_path, 1)
    store.pin(whole, who="ada", why="x", token="1")
    large = Recipe(seeds=tuple(range(600))).write(tmp_path / "large.tar.gz")
    capturer = subprocess.Popen(
        [sys.executable, "-c", CAPTURING, "killed", "1", str(large)],
        cwd=Path(__file__).parents[4],
        env={**os.environ, **place.environment},
    )
    while len(list(store.objects.list())) < 20:
        assert capturer.poll() is None, "it was too fast to be killed"
    capturer.kill()
    capturer.wait()
    assert identities(store) == [whole]
    assert check_store(store).damages == []

    in_ten_minutes = HeldClock(datetime.now(UTC) + timedelta(minutes=10))
    latch = LeaseLatch(place.shelf, in_ten_minutes, token="gc", pause=pause, told=print)
    later = SnapshotStore(place.shelf, latch, in_ten_minutes)
    assert collected(later, snapshots).objects_removed >= 18
    checked = check_store(store)
    assert (checked.damages, checked.bundles, checked.unreferenced_objects) == ([], 1, 0)
