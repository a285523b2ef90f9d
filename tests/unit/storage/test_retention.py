import hashlib
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.rows import row_of
from tests.support.s3 import S3Server

from testops.snapshots.objects.ports import Entry
from testops.snapshots.objects.s3 import S3Shelf
from testops.storage.api_tables import idempotency_key
from testops.storage.belonging import belongs, claim
from testops.storage.blobs import ObjectBlobs, RowBlobs, artifact_shelf, blobs_of
from testops.storage.database import Database, Moment, open_database
from testops.storage.durable import Submitter
from testops.storage.events import EventStore
from testops.storage.retention import GRACE_MS, Freed, Policy, Retention
from testops.storage.tables import artifact, attempt, blob, run, run_event, seed_chunk, workspace

DAY_MS = 86_400_000
OLD = 2 * GRACE_MS


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


class Store:
    """Runs as a server leaves them: rows, folders, contents."""

    def __init__(self, database: Database, data: Path) -> None:
        self.database = database
        self.data = data
        self.forgotten: list[str] = []
        data.mkdir(exist_ok=True)
        claim(database, data)
        self.retention = Retention(database, data, self.forgotten.extend)

    def leave(self, number: int, *, days: float = 0.0, size: int = 1000, **given: object) -> str:
        """A run that ended `days` ago, with one artifact of its own."""
        run_id = f"{number:016x}"
        content = os.urandom(16) + bytes([number % 256]) * size
        digest = self.put(content, age_ms=OLD + int(days * DAY_MS))
        facts = {"run_id": run_id, "state": "finished", "workspace": "w", "last_seq": 3}
        with self.database.write() as connection:
            now = self.database.moment(connection).ms
            facts["created_ms"] = now - int(days * DAY_MS) - number
            facts["finished_at"] = Moment(now - int(days * DAY_MS) - number).text
            connection.execute(run.insert().values(row_of(run, **facts) | given))
            connection.execute(attempt.insert().values(row_of(attempt, run_id=run_id)))
            for seq in (1, 2, 3):
                body = "x" * 500
                event = row_of(run_event, run_id=run_id, seq=seq, type="stage.log", body=body)
                connection.execute(run_event.insert().values(event))
            left = row_of(artifact, run_id=run_id, sha256=digest, size=len(content))
            connection.execute(artifact.insert().values(left))
        folder = self.data / "runs" / run_id / "1"
        folder.mkdir(parents=True)
        (folder / "bundle").write_bytes(content)
        return run_id

    def put(self, content: bytes, *, age_ms: int) -> str:
        digest = hashlib.sha256(content).hexdigest()
        with self.database.write() as connection:
            made = self.database.moment(connection).ms - age_ms
            kept = None if self.database.is_sqlite else content
            row = {"sha256": digest, "size": len(content), "content": kept, "created_ms": made}
            connection.execute(blob.insert().values(row))
        if self.database.is_sqlite:
            file = self.data / "blobs" / digest[:2] / digest
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return digest

    def collect(self, **limits: object) -> Freed:
        return self.retention.collect(Policy(**limits), tell=lambda _: None)  # type: ignore[arg-type]

    def runs(self) -> list[str]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(run.c.run_id).order_by("run_id")).scalars())

    def count(self, table: sa.Table) -> int:
        with self.database.read() as connection:
            counted = sa.select(sa.func.count()).select_from(table)
            return int(connection.execute(counted).scalar_one())

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.data / "blobs").rglob("*") if path.is_file())

    def is_whole(self) -> bool:
        """Nothing refers to what is not there, and nothing lies there that nobody refers to."""
        with self.database.read() as connection:
            named = set(connection.execute(sa.select(artifact.c.sha256)).scalars())
            kept = set(connection.execute(sa.select(blob.c.sha256)).scalars())
        runs, folders = self.runs(), sorted(path.name for path in (self.data / "runs").iterdir())
        on_disk = set(self.files()) if self.database.is_sqlite else kept
        return named == kept == on_disk and runs == folders


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Store:
    return Store(database, tmp_path / "data")


def test_old_runs_go_with_all_that_was_only_theirs(store: Store) -> None:
    old, young = store.leave(1, days=40), store.leave(2, days=3)
    freed = store.collect(days=30)
    assert [one.run_id for one in freed.runs] == [old]
    assert freed.runs[0].why == "older than 30 days"
    assert store.runs() == [young]
    assert store.forgotten == [f"{old}-1"]
    assert (freed.folders, freed.contents) == (1, 1)
    assert store.count(run_event) == 3
    assert store.is_whole()


def test_the_newest_of_each_workspace_are_kept(store: Store) -> None:
    for number in range(1, 6):
        store.leave(number, days=number)
    other = store.leave(9, days=99, workspace="other")
    freed = store.collect(count=2)
    assert [one.run_id[-1] for one in freed.runs] == ["5", "4", "3"]
    assert other in store.runs()
    assert store.is_whole()


def test_the_oldest_go_until_the_rest_fits(store: Store) -> None:
    for number in range(1, 5):
        store.leave(number, days=number, size=10_000)
    store.collect(size=25_000)
    assert [run_id[-1] for run_id in store.runs()] == ["1", "2"]


def test_pinned_and_open_runs_are_kept(store: Store) -> None:
    store.leave(1, days=99, pinned=True)
    store.leave(2, days=99, state="running")
    store.leave(3, days=99, state="queued")
    freed = store.collect(days=1, count=0, size=0, event_days=1)
    assert (freed.runs, freed.events) == ([], 0)
    assert len(store.runs()) == 3
    assert store.is_whole()


def test_one_workspace_can_be_asked_for(store: Store) -> None:
    store.leave(1, days=9)
    store.leave(2, days=9, workspace="other")
    chosen = store.retention.choose(Policy(days=1), only="other")
    assert [one.workspace for one in chosen] == ["other"]


def test_a_run_that_was_pinned_or_begun_anew_since_it_was_chosen_is_kept(store: Store) -> None:
    pinned, begun = store.leave(1, days=9), store.leave(2, days=9)

    def meanwhile(said: str) -> None:
        if said.startswith("removing 2 runs"):
            with store.database.write() as connection:
                where = run.c.run_id == pinned
                connection.execute(sa.update(run).where(where).values(pinned=True))
                where = run.c.run_id == begun
                connection.execute(sa.update(run).where(where).values(attempt=2, state="queued"))

    freed = store.retention.collect(Policy(days=1), tell=meanwhile)
    assert freed.runs == []
    assert store.runs() == [pinned, begun]


def test_a_content_that_two_runs_share_stays_while_one_needs_it(store: Store) -> None:
    first, second = store.leave(1, days=9), store.leave(2, days=1)
    with store.database.write() as connection:
        shared = sa.select(artifact.c.sha256).where(artifact.c.run_id == first)
        digest = connection.execute(shared).scalar_one()
        row = row_of(artifact, run_id=second, path="shared", sha256=digest)
        connection.execute(artifact.insert().values(row))
    assert store.collect(days=5).contents == 0
    assert store.collect(count=0).contents == 2
    assert store.is_whole()


def test_contents_of_chunks_and_archives_are_referred_to_as_well(store: Store) -> None:
    run_id = store.leave(1)
    chunk, archive = store.put(b"chunk", age_ms=OLD), store.put(b"archive", age_ms=OLD)
    with store.database.write() as connection:
        row = row_of(seed_chunk, run_id=run_id, sha256=chunk)
        connection.execute(seed_chunk.insert().values(row))
        row = row_of(workspace, kind="archive", place=archive)
        connection.execute(workspace.insert().values(row))
    assert store.collect().contents == 0
    freed = store.collect(count=0)
    assert freed.contents == 2
    assert f"{run_id}-1-1" in store.forgotten


def test_a_content_that_was_just_stored_is_not_taken_from_whoever_will_name_it(
    store: Store,
) -> None:
    young, old = store.put(b"young", age_ms=0), store.put(b"old", age_ms=OLD)
    assert store.collect().contents == 1
    with store.database.read() as connection:
        assert list(connection.execute(sa.select(blob.c.sha256)).scalars()) == [young]
    assert old not in store.files()


def test_what_a_killed_put_left_is_removed_when_it_is_old(store: Store) -> None:
    folder = store.data / "blobs" / "ab"
    folder.mkdir(parents=True)
    for name in ("ab" + "0" * 62, "ab12.part"):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (1, 1))
    (folder / ("ab" + "1" * 62)).write_bytes(b"just now")
    assert store.collect().contents == 2
    assert store.files() == ["ab" + "1" * 62]


@pytest.mark.parametrize("with_row", [True, False])
def test_a_real_content_stays_while_a_run_names_it(
    store: Store, tmp_path: Path, with_row: bool
) -> None:
    """Without a row as well: what a run names is never garbage."""
    run_id = store.leave(1)
    blobs = blobs_of(store.database, store.data)
    (tmp_path / "report").write_bytes(b"report")
    digest = blobs.put(tmp_path / "report")
    here = artifact.c.path == "report"
    with store.database.write() as connection:
        row = row_of(artifact, run_id=run_id, path="report", sha256=digest)
        connection.execute(artifact.insert().values(row))
        if not with_row and store.database.is_sqlite:
            connection.execute(blob.delete().where(blob.c.sha256 == digest))
    _make_old(store, digest)
    assert store.collect().contents == 0
    assert blobs.read(digest, offset=0, length=9) == b"report"
    with store.database.write() as connection:
        connection.execute(artifact.delete().where(here))
    # Stored again a moment ago: somebody is about to name it.
    assert blobs.put(tmp_path / "report") == digest
    assert store.collect().contents == 0
    _make_old(store, digest)
    assert store.collect().contents == 1
    with pytest.raises(FileNotFoundError):
        blobs.read(digest, offset=0, length=9)


def _make_old(store: Store, digest: str) -> None:
    with store.database.write() as connection:
        older = sa.update(blob).where(blob.c.sha256 == digest).values(created_ms=1)
        connection.execute(older)
    if store.database.is_sqlite:
        os.utime(store.data / "blobs" / digest[:2] / digest, (1, 1))


def test_a_key_of_a_removed_run_goes_with_it(store: Store) -> None:
    run_id = store.leave(1, days=9)
    with store.database.write() as connection:
        row = row_of(idempotency_key, run_id=run_id)
        connection.execute(idempotency_key.insert().values(row))
    store.collect(days=1)
    assert store.count(idempotency_key) == 0


def test_pruned_events_leave_the_end_and_the_log_says_where_it_begins(store: Store) -> None:
    old, young = store.leave(1, days=9), store.leave(2, days=1)
    assert store.collect(event_days=5).events == 2
    events = EventStore(store.database)
    head = events.head(old)
    assert head is not None
    assert (head.first_seq, head.last_seq, head.ended) == (3, 3, True)
    assert [one.seq for one in events.read(old, after=0, limit=9)] == [3]
    assert [one.seq for one in events.read(young, after=0, limit=9)] == [1, 2, 3]
    assert store.collect(event_days=5).events == 0


def test_the_disk_really_gets_smaller(store: Store) -> None:
    for number in range(1, 61):
        store.leave(number, days=9, size=100_000)
        with store.database.write() as connection:
            rows = [
                row_of(run_event, run_id=f"{number:016x}", seq=seq, body=os.urandom(1000).hex())
                for seq in range(4, 60)
            ]
            connection.execute(run_event.insert(), rows)
    before = store.retention.disk_bytes()
    freed = store.collect(days=1)
    after = store.retention.disk_bytes()
    print(f"{before} bytes before, {after} after, {freed.bytes_freed} freed")
    assert (freed.bytes_before, freed.bytes_after) == (before, after)
    assert store.runs() == []
    # 60 runs of 100 kB twice (folder and content) and of 110 kB of events.
    assert before > 15_000_000
    # What is left on PostgreSQL is the 8 MB of an empty database.
    assert freed.bytes_freed > 12_000_000
    if store.database.is_sqlite:
        url = store.database.engine.url.database
        assert url is not None
        assert Path(url).stat().st_size < 2_000_000
        looked = sqlite3.connect(url)
        assert looked.execute("PRAGMA freelist_count").fetchone() == (0,)
        assert looked.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        looked.close()


def test_a_pass_needs_no_moment_without_readers(store: Store) -> None:
    """A reader of an old moment must not make the pass fail; the next one frees the rest."""
    store.leave(1, days=9, size=100_000)
    with store.database.read() as reader:
        reader.execute(sa.select(sa.func.count()).select_from(run)).scalar_one()
        assert len(store.collect(days=1).runs) == 1
        left = reader.execute(sa.select(sa.func.count()).select_from(run)).scalar_one()
        assert left == 1
    assert store.collect(days=1).runs == []
    assert store.is_whole()


def _collect_until(url: str, data: Path, steps: int) -> None:
    seen = 0

    def tell(_said: str) -> None:
        nonlocal seen
        seen += 1
        if seen == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    database = open_database(url)
    Retention(database, data, lambda _ids: None).collect(Policy(days=1, event_days=1), tell=tell)
    database.close()


def test_killed_at_any_step_the_next_pass_leaves_nothing_dangling(
    store: Store, database_url: str
) -> None:
    """SIGKILL at the first step, then at the second, and so on, until a pass comes through."""
    kept = store.leave(200, days=0.1)
    start = multiprocessing.get_context("fork")
    for steps in range(1, 50):
        for number in range(1, 4):
            if f"{number:016x}" not in store.runs():
                _forget_folder(store.data / "runs" / f"{number:016x}")
                store.leave(number, days=9)
        # The child opens its own: a connection must not be shared over a fork.
        store.database.engine.dispose()
        child = start.Process(target=_collect_until, args=(database_url, store.data, steps))
        child.start()
        child.join(60)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        _every_reference_holds(store)
        store.collect(days=1)
        assert store.runs() == [kept]
        assert store.is_whole(), f"after a kill at step {steps}"
    assert steps > 6


def _forget_folder(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _every_reference_holds(store: Store) -> None:
    with store.database.read() as connection:
        named = set(connection.execute(sa.select(artifact.c.sha256)).scalars())
        kept = set(connection.execute(sa.select(blob.c.sha256)).scalars())
    assert named <= kept
    if store.database.is_sqlite:
        assert named <= set(store.files())


def test_the_durable_queue_forgets_a_run_so_that_it_can_be_asked_anew(database: Database) -> None:
    """DBOS takes one name once: a run removed here and kept there could never be queued again."""
    from testops.domain.execution import Submission

    submitter = Submitter(database)
    submission = Submission("7f3a000000000000", 1, 1)
    for _ in range(2):
        with database.write() as connection:
            submitter.submit(connection, submission)
        assert _statuses(submitter) == [("7f3a000000000000-1", "ENQUEUED")]
        submitter.forget(["7f3a000000000000-1", "unknown-1"])
        assert _statuses(submitter) == []


def _statuses(submitter: Submitter) -> list[tuple[str, str]]:
    return [(one.workflow_id, one.status) for one in submitter._client.list_workflows()]


def test_a_run_that_was_asked_again_is_as_young_as_its_newest_answer(store: Store) -> None:
    asked_again, old = store.leave(1, days=40), store.leave(2, days=40)
    with store.database.write() as connection:
        now = store.database.moment(connection).text
        where = run.c.run_id == asked_again
        connection.execute(sa.update(run).where(where).values(finished_at=now))

    freed = store.collect(days=30, event_days=30)

    assert [one.run_id for one in freed.runs] == [old]
    assert freed.events == 0


def test_the_chunks_of_an_attempt_that_was_begun_since_stay_in_the_queue(store: Store) -> None:
    run_id = store.leave(1, days=9)

    def meanwhile(said: str) -> None:
        if said.startswith("taking 1 runs out"):
            with store.database.write() as connection:
                where = run.c.run_id == run_id
                connection.execute(sa.update(run).where(where).values(attempt=2, state="running"))
                for number in (1, 2):
                    row = row_of(seed_chunk, run_id=run_id, attempt=number, number=0)
                    connection.execute(seed_chunk.insert().values(row))

    store.retention.collect(Policy(days=1), tell=meanwhile)

    assert f"{run_id}-1-0" in store.forgotten
    assert f"{run_id}-2-0" not in store.forgotten


def test_the_folder_of_another_database_is_left_alone(
    store: Store, tmp_path: Path, migrated_sqlite: Path
) -> None:
    store.leave(1)
    (tmp_path / "other.db").write_bytes(migrated_sqlite.read_bytes())
    other = open_database(f"sqlite:///{tmp_path}/other.db")
    assert not claim(other, store.data)

    freed = Retention(other, store.data, lambda _: None).collect(Policy(), tell=lambda _: None)
    other.close()

    assert (freed.is_own_folder, freed.folders, freed.contents) == (False, 0, 0)
    assert store.is_whole()


def test_a_folder_and_its_database_may_move_together(tmp_path: Path, migrated_sqlite: Path) -> None:
    first, then = tmp_path / "first", tmp_path / "then"
    first.mkdir()
    (first / "testops.db").write_bytes(migrated_sqlite.read_bytes())
    database = open_database(f"sqlite:///{first}/testops.db")
    assert claim(database, first)
    database.close()
    first.rename(then)

    moved = open_database(f"sqlite:///{then}/testops.db")
    assert belongs(moved, then)
    moved.close()


def test_the_chunks_of_an_ended_attempt_go_and_those_of_an_open_one_stay(store: Store) -> None:
    run_id = store.leave(1)
    ended, begun = store.put(b"ended", age_ms=OLD), store.put(b"begun", age_ms=OLD)
    with store.database.write() as connection:
        connection.execute(sa.update(attempt).values(state="finished"))
        connection.execute(
            attempt.insert().values(row_of(attempt, run_id=run_id, attempt=2, state="running"))
        )
        for number, digest in ((1, ended), (2, begun)):
            row = row_of(seed_chunk, run_id=run_id, attempt=number, number=0, sha256=digest)
            connection.execute(seed_chunk.insert().values(row))

    assert store.collect().contents == 1

    assert store.forgotten == [f"{run_id}-1-0"]
    with store.database.read() as connection:
        assert list(connection.execute(sa.select(seed_chunk.c.sha256)).scalars()) == [begun]


@pytest.fixture
def shelf(s3_server: S3Server, s3_bucket: str) -> S3Shelf:
    address = {"TESTOPS_ARTIFACT_STORE": f"s3://{s3_bucket}/platform"}
    found = artifact_shelf(s3_server.environment(**address))
    assert found is not None
    return found


def kept_in_s3(store: Store, shelf: S3Shelf, tmp_path: Path, content: bytes) -> str:
    """A content in the object store that nothing refers to, stored long ago."""
    file = tmp_path / "content"
    file.write_bytes(content)
    digest = ObjectBlobs(shelf, store.database, before=RowBlobs(store.database)).put(file)
    with store.database.write() as connection:
        connection.execute(sa.update(blob).values(created_ms=blob.c.created_ms - OLD))
    return digest


def names_in(shelf: S3Shelf) -> list[str]:
    return [entry.name.rpartition("/")[2] for entry in shelf.entries("artifacts")]


def test_contents_in_an_object_store_go_with_their_rows(
    store: Store, shelf: S3Shelf, tmp_path: Path
) -> None:
    gone = kept_in_s3(store, shelf, tmp_path, b"nobody's")
    kept = kept_in_s3(store, shelf, tmp_path, b"somebody's")
    run_id = store.leave(1)
    with store.database.write() as connection:
        left = row_of(artifact, run_id=run_id, path="other", sha256=kept, size=10)
        connection.execute(artifact.insert().values(left))
    retention = Retention(store.database, store.data, lambda _: None, shelf=shelf)
    assert retention.collect(Policy(), tell=lambda _: None).contents == 1
    assert gone not in names_in(shelf)
    assert names_in(shelf) == [kept]


def test_a_content_that_is_stored_again_while_it_is_removed_is_there_afterwards(
    store: Store, shelf: S3Shelf, tmp_path: Path
) -> None:
    """Retention comes before the row of the second `put`, and between that row and its look."""
    retention = Retention(store.database, store.data, lambda _: None, shelf=shelf)
    digest = kept_in_s3(store, shelf, tmp_path, b"wanted again")
    put = ObjectBlobs(shelf, store.database, before=RowBlobs(store.database)).put
    retention.collect(Policy(), tell=lambda _: None)
    assert put(tmp_path / "content") == digest
    assert names_in(shelf) == [digest]

    kept_in_s3(store, shelf, tmp_path, b"wanted again")
    look = shelf.entry

    def collect_then_look(name: str) -> Entry | None:
        retention.collect(Policy(), tell=lambda _: None)
        return look(name)

    shelf.entry = collect_then_look  # type: ignore[method-assign]
    put(tmp_path / "content")
    assert names_in(shelf) == [digest]
    assert store.count(blob) == 1
