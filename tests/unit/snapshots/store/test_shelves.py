"""Each promise of a shelf and of a latch, held against each adapter: a folder, and a real S3."""

import builtins
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.s3 import S3Server
from tests.unit.snapshots.store.shelving import HeldClock, Place, folder_place, s3_place

from testops.domain.errors import BadInput, OutputNotWritable, StoreUnavailable
from testops.snapshots.objects.contents import DamagedObject, Objects
from testops.snapshots.objects.folder import FolderShelf
from testops.snapshots.objects.leases import LeaseLatch
from testops.snapshots.objects.s3 import S3Shelf, address_of

WHERE = "TESTOPS_SNAPSHOT_STORE"


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return folder_place(tmp_path / "store")
    return s3_place(request.getfixturevalue("s3_server"), request.getfixturevalue("s3_bucket"))


def test_what_was_written_is_read_and_the_last_writing_wins(place: Place) -> None:
    place.shelf.write("bundles/a.json", b"first")
    place.shelf.write("bundles/a.json", b"second")
    assert place.shelf.read("bundles/a.json") == b"second"


def test_a_name_that_nobody_wrote_is_none(place: Place) -> None:
    assert place.shelf.read("bundles/a.json") is None
    assert place.shelf.entry("bundles/a.json") is None
    assert list(place.shelf.entries("bundles")) == []


def test_an_entry_says_size_and_age(place: Place) -> None:
    place.shelf.write("a/b", b"12345")
    entry = place.shelf.entry("a/b")
    assert entry is not None
    assert (entry.name, entry.size) == ("a/b", 5)
    assert abs(entry.stored_at - datetime.now(UTC)) < timedelta(seconds=60)


def test_entries_are_sorted_and_only_those_of_the_folder(place: Place) -> None:
    for name in ("objects/bb/2", "objects/aa/1", "objects/aa/0", "objectsnot/x", "other"):
        place.shelf.write(name, b"x")
    found = [entry.name for entry in place.shelf.entries("objects")]
    assert found == ["objects/aa/0", "objects/aa/1", "objects/bb/2"]


def test_more_entries_than_one_answer_of_s3_holds_are_all_listed(
    s3_server: S3Server, s3_bucket: str
) -> None:
    place = s3_place(s3_server, s3_bucket)
    names = [f"many/{number:04}" for number in range(1_010)]
    with ThreadPoolExecutor(place.shelf.parallel) as pool:
        list(pool.map(lambda name: place.shelf.write(name, b""), names))
    assert [entry.name for entry in place.shelf.entries("many")] == names


def test_a_removed_name_is_gone_and_removing_it_again_is_fine(place: Place) -> None:
    place.shelf.write("a", b"x")
    place.shelf.remove("a")
    place.shelf.remove("a")
    assert place.shelf.read("a") is None


def test_a_content_of_many_parts_comes_back_whole(place: Place) -> None:
    content = bytes(range(256)) * 50_000  # 12.8 MB: S3 gets it as a multipart upload
    place.shelf.write("large", content)
    assert place.shelf.read("large") == content


def test_an_empty_content_is_a_content(place: Place) -> None:
    place.shelf.write("empty", b"")
    assert place.shelf.read("empty") == b""


def test_a_content_has_one_name_whoever_puts_it_and_is_new_once(place: Place) -> None:
    objects = Objects(place.shelf)
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda _: objects.put(b"same"), range(16)))
    assert {one.sha256 for one in kept} == {hashlib.sha256(b"same").hexdigest()}
    assert objects.put(b"same").is_new is False
    assert [content.size for content in objects.list()] == [4]
    assert objects.get(kept[0].sha256) == b"same"


def test_a_content_that_became_another_is_never_given_back(place: Place) -> None:
    objects = Objects(place.shelf)
    sha256 = objects.put(b"good").sha256
    place.shelf.write(f"objects/{sha256[:2]}/{sha256}", b"evil")
    with pytest.raises(DamagedObject, match="something else"):
        objects.get(sha256)
    assert objects.put(b"good", rewrite=True).is_new is False
    assert objects.get(sha256) == b"good"


def test_a_content_that_was_cut_off_is_written_again_by_the_next_put(place: Place) -> None:
    objects = Objects(place.shelf)
    sha256 = objects.put(b"good").sha256
    place.shelf.write(f"objects/{sha256[:2]}/{sha256}", b"goo")
    assert objects.put(b"good").is_new
    assert objects.get(sha256) == b"good"


def test_a_content_that_is_missing_is_named(place: Place) -> None:
    with pytest.raises(DamagedObject, match=r"0{64}: is missing"):
        Objects(place.shelf).get("0" * 64)
    assert not Objects(place.shelf).has("0" * 64)


def test_two_may_add_at_once(place: Place) -> None:
    with place.latch("a").shared(), place.latch("b").shared():
        pass


@pytest.mark.parametrize(("first", "second"), [("shared", "exclusive"), ("exclusive", "shared")])
def test_who_removes_and_who_adds_wait_for_each_other(
    place: Place, first: str, second: str
) -> None:
    entered = threading.Event()

    def enter() -> None:
        with getattr(place.latch("b"), second)():
            entered.set()

    with getattr(place.latch("a"), first)():
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.4)
    waiting.join(20)
    assert entered.is_set()


def test_of_many_who_remove_one_is_inside_at_a_time(place: Place) -> None:
    inside: list[str] = []
    most: list[int] = []

    def enter(token: str) -> None:
        with place.latch(token).exclusive():
            inside.append(token)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.remove(token)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, "abcd"))
    assert most == [1, 1, 1, 1]


def test_adding_and_removing_are_never_inside_together(place: Place) -> None:
    """Whoever looks between its own marker and the work must see the other one's."""
    inside = {"shared": 0, "exclusive": 0}
    lock, clashes = threading.Lock(), []

    def enter(job: tuple[str, str]) -> None:
        token, kind = job
        with getattr(place.latch(token), kind)():
            with lock:
                inside[kind] += 1
                clashes.append(inside["shared"] and inside["exclusive"])
            threading.Event().wait(0.01)
            with lock:
                inside[kind] -= 1

    jobs = [(f"{n:02}", "exclusive" if n % 3 == 0 else "shared") for n in range(8)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(enter, jobs))
    assert len(clashes) == 8
    assert not any(clashes)


# --- the folder ---------------------------------------------------------------------------------

KILLED_WRITER = """
import os, sys
from pathlib import Path
from testops.snapshots.objects.folder import FolderShelf
(Path(sys.argv[1]) / "objects" / "aa").mkdir(parents=True)
os.fsync = lambda _: os.kill(os.getpid(), 9)
FolderShelf(Path(sys.argv[1])).write("objects/aa/1", b"half" * 1000)
"""


def test_a_writer_killed_before_its_sync_leaves_no_name_and_its_remains_are_tidied(
    tmp_path: Path,
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(tmp_path)], check=False)
    assert done.returncode == -9
    shelf = FolderShelf(tmp_path)
    assert list(shelf.entries("objects")) == []
    assert len(list((tmp_path / "objects" / "aa").iterdir())) == 1
    assert shelf.tidy() == 4000
    assert list((tmp_path / "objects" / "aa").iterdir()) == []


def test_a_new_folder_is_synced_into_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could take the folder, and with it what was synced inside."""
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    FolderShelf(tmp_path / "store").write("objects/aa/1", b"x")
    assert synced[:3] == [".", "store", "store/objects"]
    assert synced[3].startswith("store/objects/aa/.1.")
    assert synced[4:] == ["store/objects/aa"]


def test_the_lock_of_a_killed_process_is_nobodys(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom pathlib import Path\n"
            "from testops.snapshots.objects.folder import FolderLatch\n"
            "with FolderLatch(Path(sys.argv[1]), pause=time.sleep, told=print).exclusive():\n"
            "    print('in', flush=True); time.sleep(60)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"in\n"
    holder.kill()
    holder.communicate()
    with folder_place(tmp_path).latch("a").exclusive():
        pass


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritable, match="file/store"):
        FolderShelf(tmp_path / "file" / "store").write("a", b"x")


# --- S3 -----------------------------------------------------------------------------------------


def shelf_at(server: S3Server, address: str, **changes: str) -> S3Shelf:
    return S3Shelf(address_of(address, where=WHERE), server.environment(**changes), where=WHERE)


CALLS: dict[str, Callable[[S3Shelf], Any]] = {
    "write": lambda shelf: shelf.write("a", b"x"),
    "read": lambda shelf: shelf.read("a"),
    "list": lambda shelf: list(shelf.entries("a")),
    "remove": lambda shelf: shelf.remove("a"),
    "entry": lambda shelf: shelf.entry("a"),
}


@pytest.mark.parametrize("call", list(CALLS))
def test_a_wrong_secret_is_bad_input_that_names_the_variables(
    s3_server: S3Server, s3_bucket: str, call: str
) -> None:
    shelf = shelf_at(s3_server, f"s3://{s3_bucket}", AWS_SECRET_ACCESS_KEY="guessed")
    with pytest.raises(BadInput, match=r"refuses us .* AWS_SECRET_ACCESS_KEY") as caught:
        CALLS[call](shelf)
    assert "guessed" not in str(caught.value)


@pytest.mark.parametrize("call", ["write", "read", "list"])
def test_a_bucket_that_is_not_there_is_bad_input(s3_server: S3Server, call: str) -> None:
    with pytest.raises(BadInput, match="s3://nobody-made-it/x: there is no such bucket"):
        CALLS[call](shelf_at(s3_server, "s3://nobody-made-it/x"))


@pytest.mark.parametrize("call", ["write", "list"])
def test_a_server_that_does_not_answer_is_unavailable(s3_server: S3Server, call: str) -> None:
    shelf = shelf_at(s3_server, "s3://any/x", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match="does not answer as it should"):
        CALLS[call](shelf)


def test_two_prefixes_of_one_bucket_do_not_see_each_other(
    s3_server: S3Server, s3_bucket: str
) -> None:
    one, other = (shelf_at(s3_server, f"s3://{s3_bucket}/{name}") for name in ("one", "one-more"))
    one.write("a", b"1")
    assert list(other.entries("")) == []
    assert other.read("a") is None


@pytest.mark.parametrize(
    "text", ["s3://", "s3://B", "s3://bucket//x", "s3://bucket/../x", "s3://bucket/a b", "s3:/b"]
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not s3://BUCKET/PREFIX"):
        address_of(text, where=WHERE)


def test_without_the_client_the_fix_is_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "obstore":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadInput, match=r"pip install 'ryuzen-testops\[s3\]'"):
        S3Shelf(address_of("s3://bucket", where=WHERE), {}, where=WHERE)


# --- leases: time is an argument, so a folder serves as the shelf --------------------------------


@dataclass(frozen=True)
class Leased:
    """Latches of one shelf by one held clock, and what they told."""

    shelf: FolderShelf
    clock: HeldClock
    told: list[str]

    def latch(self, token: str) -> LeaseLatch:
        return LeaseLatch(
            self.shelf, self.clock, token=token, pause=self.clock.pass_s, told=self.told.append
        )


@pytest.fixture
def leased(tmp_path: Path) -> Leased:
    return Leased(FolderShelf(tmp_path), HeldClock(), [])


def test_a_lease_of_a_killed_process_is_waited_for_until_its_end(leased: Leased) -> None:
    shelf, clock, latch = leased.shelf, leased.clock, leased.latch
    abandoned = latch("a").exclusive()
    abandoned.__enter__()
    began = clock.now()
    with latch("b").shared():
        waited = clock.now() - began
    assert timedelta(minutes=5) < waited < timedelta(minutes=7)
    assert list(shelf.entries("latch")) == []
    [said] = leased.told
    assert "killed there less than six minutes ago; waiting for it" in said


def test_a_holder_that_works_keeps_its_lease_and_others_out(leased: Leased) -> None:
    shelf, clock, latch = leased.shelf, leased.clock, leased.latch
    with latch("a").exclusive() as hold:
        for _ in range(30):
            clock.pass_s(59)
            hold.require()
        # While this one waits nobody renews the other's lease, so its clock stands.
        impatient = LeaseLatch(
            shelf, HeldClock(clock.now()), token="b", pause=lambda _s: None, told=lambda _: None
        ).shared()
        with pytest.raises(StoreUnavailable, match="in use for 900 s"):
            impatient.__enter__()


def test_a_holder_that_slept_through_its_lease_does_not_go_on(leased: Leased) -> None:
    clock, latch = leased.clock, leased.latch
    with latch("a").exclusive() as hold:
        clock.pass_s(4 * 60 + 1)
        with pytest.raises(StoreUnavailable, match="too slowly"):
            hold.require()


def test_who_removes_gives_way_to_who_adds(leased: Leased) -> None:
    shelf, latch = leased.shelf, leased.latch
    with latch("a").shared():
        names: list[list[str]] = []

        def look(_s: float) -> None:
            names.append([entry.name for entry in shelf.entries("latch")])
            raise KeyboardInterrupt

        clock = HeldClock()
        with pytest.raises(KeyboardInterrupt):
            LeaseLatch(shelf, clock, token="b", pause=look, told=print).exclusive().__enter__()
    assert names == [["latch/shared/a"]]
