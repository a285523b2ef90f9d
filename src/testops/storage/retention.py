"""Removes old runs and everything that was only theirs, and gives the disk back.

A run that is pinned or has not ended is never touched. The order of the steps is what makes a crash
harmless: each leaves either nothing, or something that no row refers to any more, and the next pass
finds such things by looking and not by remembering. So, for a run: its work in the durable queue,
its rows, its folder; then contents that no run refers to; then the pages of the database.

A content is removed only when it was not stored again within `GRACE_MS`: `put` stores first, and
what refers to it is recorded a little later.
"""

import contextlib
import itertools
import logging
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from testops.domain.run import TERMINAL
from testops.snapshots.objects.s3 import S3Shelf
from testops.storage.api_tables import idempotency_key
from testops.storage.belonging import belongs
from testops.storage.blobs import remove_objects
from testops.storage.database import BUSY_TIMEOUT_S, Database, Moment
from testops.storage.snapshot_gc import forget_bundles
from testops.storage.snapshot_tables import bundle
from testops.storage.tables import (
    artifact,
    attempt,
    blob,
    run,
    run_event,
    seed_chunk,
    workspace,
)

log = logging.getLogger("testops.storage.retention")

GRACE_MS = 3_600_000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RUN_ID = re.compile(r"[0-9a-f]{16}")
_BATCH = 100
# How many pages go back in one transaction, so that whoever writes gets a turn in between.
_PAGES = 2000
_BUSY_MS = 2000
_VACUUMED = ("run", "run_event", "artifact", "stage_result", "stage_execution", "blob")

Item = TypeVar("Item")
# Takes attempts, by their ids there, out of the durable queue.
Forget = Callable[[Sequence[str]], None]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept of a workspace's ended runs that nobody pinned; None is no limit."""

    days: float | None = None
    count: int | None = None
    size: int | None = None
    # After so many days only the last event of a run is kept; its result stays.
    event_days: float | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A run that goes, and why."""

    run_id: str
    attempt: int
    workspace: str
    size: int
    why: str


@dataclass(slots=True)
class Freed:
    """What a pass removed, and what the disk says of it."""

    runs: list[Chosen] = field(default_factory=list)
    events: int = 0
    contents: int = 0
    # Bundles that no run is left of, and that nobody holds.
    bundles: int = 0
    folders: int = 0
    # Whether the data folder is of this database; if not, its files were left alone.
    is_own_folder: bool = True
    # On the disk: the database, and what lies in the data folder of this machine.
    bytes_before: int = 0
    bytes_after: int = 0

    @property
    def bytes_freed(self) -> int:
        return self.bytes_before - self.bytes_after


class Retention:
    """Passes over one database, the data folder of this machine, and the object store if any."""

    def __init__(
        self, database: Database, data: Path, forget: Forget, *, shelf: S3Shelf | None = None
    ) -> None:
        self._database = database
        self._data = data
        self._runs = data / "runs"
        self._blobs = data / "blobs"
        self._forget = forget
        self._shelf = shelf

    def choose(self, policy: Policy, *, only: str | None = None) -> Sequence[Chosen]:
        """The runs that `policy` lets go, oldest first; of each workspace, or of `only` one."""
        with self._database.read() as connection:
            now = self._database.moment(connection).ms
            return list(
                itertools.chain.from_iterable(
                    _beyond(rows, policy, now) for rows in _ended_runs(connection, only)
                )
            )

    def collect(self, policy: Policy, *, tell: Tell, only: str | None = None) -> Freed:
        """One pass; `tell` hears of each step. Safe beside running servers, and to be killed."""
        freed = Freed(bytes_before=self.disk_bytes())
        tell("choosing runs")
        for batch in _batches(self.choose(policy, only=only)):
            self._remove_runs(batch, freed, tell)
        if policy.event_days is not None:
            tell("pruning events")
            freed.events = self._prune_events(policy.event_days, only)
        tell("removing chunks")
        self._remove_chunks()
        is_empty = not self._runs.is_dir() and not self._blobs.is_dir()
        freed.is_own_folder = is_empty or belongs(self._database, self._data)
        if freed.is_own_folder:
            tell("removing folders of runs")
            freed.folders = self._sweep_folders()
        else:
            log.warning("%s is not of this database: its files are left alone", self._data)
        tell("removing bundles")
        workspaces = None if only is None else frozenset({only})
        with self._database.write() as connection:
            freed.bundles = len(forget_bundles(connection, self._database, workspaces))
        tell("removing contents")
        freed.contents = self._sweep_rows(tell)
        if freed.is_own_folder:
            freed.contents += self._sweep_files()
        tell("compacting the database")
        self._compact()
        freed.bytes_after = self.disk_bytes()
        return freed

    def disk_bytes(self) -> int:
        """What the database and the data folder's runs and contents take of the disk."""
        if self._database.is_sqlite:
            name = str(self._database.engine.url.database)
            own = sum(_blocks(Path(name + end)) for end in ("", "-wal", "-shm"))
        else:
            with self._database.read() as connection:
                size = sa.select(sa.func.pg_database_size(sa.func.current_database()))
                own = int(connection.execute(size).scalar_one())
        return own + _tree_bytes(self._runs) + _tree_bytes(self._blobs)

    def remove_contents(self, digests: Sequence[str]) -> int:
        """Remove those of `digests` that nothing refers to and that are not young; their bytes."""
        files = self._files() if belongs(self._database, self._data) else {}
        freed = 0
        for batch in _batches(sorted(set(digests))):
            with self._database.write() as connection:
                old = self._database.now_ms - GRACE_MS
                gone = (
                    sa.delete(blob)
                    .where(blob.c.sha256.in_(batch), blob.c.created_ms < old, _unreferenced())
                    .returning(blob.c.sha256, blob.c.size)
                )
                sizes: dict[str, int] = {row.sha256: row.size for row in connection.execute(gone)}
                self._remove_stored(list(sizes), files)
            freed += sum(sizes.values())
        return freed

    def _remove_stored(self, digests: Sequence[str], files: Mapping[str, Path]) -> None:
        """Remove contents whose rows were removed, in the same transaction.

        Before its commit: `put` then waits at the row, and stores the content again.
        """
        for digest in digests:
            if digest in files:
                files[digest].unlink(missing_ok=True)
        if self._shelf is not None:
            remove_objects(self._shelf, digests)

    def _remove_runs(self, batch: Sequence[Chosen], freed: Freed, tell: Tell) -> None:
        tell(f"taking {len(batch)} runs out of the queue")
        self._forget(self._work_of(batch))
        tell(f"removing {len(batch)} runs")
        for one in batch:
            # Asked again: somebody may have pinned it, or begun another attempt.
            gone = sa.delete(run).where(
                run.c.run_id == one.run_id,
                run.c.attempt == one.attempt,
                run.c.state.in_(sorted(TERMINAL)),
                run.c.pinned.is_(False),
            )
            # A key would otherwise answer with a run that is not there.
            keys = sa.delete(idempotency_key).where(idempotency_key.c.run_id == one.run_id)
            with self._database.write() as connection:
                removed = connection.execute(gone).rowcount
                if removed:
                    connection.execute(keys)
            if removed:
                freed.runs.append(one)

    def _work_of(self, batch: Sequence[Chosen]) -> list[str]:
        """The names of a run's attempts and chunks in the durable queue."""
        names = [f"{one.run_id}-{n}" for one in batch for n in range(1, one.attempt + 1)]
        chosen = {one.run_id: one.attempt for one in batch}
        chunks = sa.select(seed_chunk.c.run_id, seed_chunk.c.attempt, seed_chunk.c.number).where(
            seed_chunk.c.run_id.in_(list(chosen))
        )
        with self._database.read() as connection:
            rows = connection.execute(chunks).all()
        # Not those of an attempt that was begun since: it waits for them.
        names += ["-".join(map(str, row)) for row in rows if row.attempt <= chosen[row.run_id]]
        return names

    def _remove_chunks(self) -> None:
        """Remove the parts of simulations that have ended: their bundles say all of it."""
        of_attempt = sa.and_(
            attempt.c.run_id == seed_chunk.c.run_id, attempt.c.attempt == seed_chunk.c.attempt
        )
        with self._database.read() as connection:
            # One of a cancelled run may still be on its way to its end in some runner.
            before = Moment(self._database.moment(connection).ms - GRACE_MS)
            ended = (
                sa.select(seed_chunk.c.run_id, seed_chunk.c.attempt)
                .distinct()
                .join(attempt, of_attempt)
                .where(attempt.c.state.in_(sorted(TERMINAL)), attempt.c.finished_at < before.text)
                .order_by(seed_chunk.c.run_id, seed_chunk.c.attempt)
            )
            found = connection.execute(ended).all()
        for run_id, number in found:
            own = (seed_chunk.c.run_id == run_id, seed_chunk.c.attempt == number)
            with self._database.read() as connection:
                numbers = connection.execute(sa.select(seed_chunk.c.number).where(*own)).scalars()
                names = [f"{run_id}-{number}-{one}" for one in numbers]
            # First out of the queue: without their rows nobody would find them there.
            self._forget(names)
            with self._database.write() as connection:
                connection.execute(sa.delete(seed_chunk).where(*own))

    def _prune_events(self, days: float, only: str | None) -> int:
        """Leave each old run its last event, and say in its row where the log now begins."""
        with self._database.read() as connection:
            oldest = self._database.moment(connection).ms - _ms(days)
            old = sa.select(run.c.run_id).where(
                run.c.state.in_(sorted(TERMINAL)),
                run.c.pinned.is_(False),
                _ended_before(oldest),
                run.c.first_seq < run.c.last_seq,
            )
            if only is not None:
                old = old.where(run.c.workspace == only)
            ids = list(connection.execute(old.order_by(run.c.created_ms)).scalars())
        return sum(self._prune(run_id) for run_id in ids)

    def _prune(self, run_id: str) -> int:
        # In one transaction: a log that begins where its row does not say would have a gap.
        with self._database.write() as connection:
            shortened = (
                sa.update(run)
                .where(run.c.run_id == run_id, run.c.state.in_(sorted(TERMINAL)))
                .values(first_seq=run.c.last_seq)
                .returning(run.c.last_seq)
            )
            first = connection.execute(shortened).scalar_one_or_none()
            if first is None:
                return 0
            gone = sa.delete(run_event).where(run_event.c.run_id == run_id, run_event.c.seq < first)
            return connection.execute(gone).rowcount

    def _sweep_folders(self) -> int:
        """Remove the folders of runs that are in no row, whoever removed the row."""
        if not self._runs.is_dir():
            return 0
        named = [path for path in sorted(self._runs.iterdir()) if _RUN_ID.fullmatch(path.name)]
        removed = 0
        for batch in _batches(named):
            names = [path.name for path in batch]
            with self._database.read() as connection:
                known = sa.select(run.c.run_id).where(run.c.run_id.in_(names))
                kept = set(connection.execute(known).scalars())
            for path in batch:
                if path.name not in kept:
                    shutil.rmtree(path)
                    removed += 1
        return removed

    def _sweep_rows(self, tell: Tell) -> int:
        """Remove the contents that nothing refers to, where they have a row."""
        files = self._files() if belongs(self._database, self._data) else {}
        count = 0
        while True:
            with self._database.write() as connection:
                old = self._database.now_ms - GRACE_MS
                some = sa.select(blob.c.sha256).where(blob.c.created_ms < old, _unreferenced())
                gone = (
                    sa.delete(blob)
                    .where(blob.c.sha256.in_(some.limit(_BATCH)), blob.c.created_ms < old)
                    .returning(blob.c.sha256)
                )
                digests = list(connection.execute(gone).scalars())
                self._remove_stored(digests, files)
                tell(f"removed {len(digests)} contents")
            count += len(digests)
            if len(digests) < _BATCH:
                return count

    def _sweep_files(self) -> int:
        """Remove what lies in the folder of contents and that neither a row nor a run names."""
        files = self._files(all_names=True)
        count = 0
        for batch in _batches(sorted(files)):
            with self._database.write() as connection:
                now = self._database.moment(connection).ms
                kept = _named(connection, batch)
                for name in batch:
                    if name not in kept:
                        count += _remove_if_older(files[name], now - GRACE_MS)
        return count

    def _files(self, *, all_names: bool = False) -> dict[str, Path]:
        """The files of contents by their names, wherever below the folder they lie."""
        if not self._blobs.is_dir():
            return {}
        return {
            path.name: path
            for path in self._blobs.rglob("*")
            if path.is_file() and (all_names or _DIGEST.fullmatch(path.name))
        }

    def _compact(self) -> None:
        if self._database.is_sqlite:
            self._shrink_file()
            return
        with self._database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            for name in _VACUUMED:
                # Not FULL, which locks readers out. What is free at the end goes back to the disk,
                # the rest is used again.
                connection.exec_driver_sql(f"VACUUM (TRUNCATE) {name}")

    def _shrink_file(self) -> None:
        with self._database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            # SQLAlchemy would not step through a statement that returns no rows, and SQLite frees
            # a page for each step.
            raw: Any = connection.connection.driver_connection
            raw.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            try:
                _return_pages(raw)
                # What was freed is in the log beside the file until a checkpoint. A reader of an
                # old moment keeps it there; then the next pass, or its end, does this.
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                log.info("somebody writes for long; the next pass gives the space back")
            finally:
                raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")


def _return_pages(raw: Any) -> None:
    (free,) = raw.execute("PRAGMA freelist_count").fetchone()
    while free:
        raw.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
        before, (free,) = free, raw.execute("PRAGMA freelist_count").fetchone()
        if free >= before:
            # The file was made without auto_vacuum: its free pages are used again, and stay.
            return


# When the newest attempt ended: a run that was asked again is as young as its newest answer.
_ENDED = sa.func.coalesce(run.c.finished_at, run.c.created_at)


def _ended_before(ms: int) -> sa.ColumnElement[bool]:
    return _ENDED.op("<")(Moment(ms).text)


def _ended_runs(connection: sa.Connection, only: str | None) -> Iterator[list[Any]]:
    """The runs that may go, newest first, one workspace after the other."""
    size = (
        sa.select(sa.func.coalesce(sa.func.sum(artifact.c.size), 0))
        .where(artifact.c.run_id == run.c.run_id)
        .scalar_subquery()
    )
    ended = _ENDED.label("ended")
    columns = (run.c.run_id, run.c.attempt, run.c.workspace, ended, size.label("size"))
    wanted = (
        sa.select(*columns)
        .where(run.c.state.in_(sorted(TERMINAL)), run.c.pinned.is_(False))
        .order_by(run.c.workspace, ended.desc(), run.c.run_id)
    )
    if only is not None:
        wanted = wanted.where(run.c.workspace == only)
    found: list[Any] = list(connection.execute(wanted))
    for _name, rows in itertools.groupby(found, lambda row: row.workspace):
        yield list(rows)


def _beyond(rows: Sequence[Any], policy: Policy, now_ms: int) -> list[Chosen]:
    """Those of one workspace's runs, newest first, that are too many, too old or too large."""
    total = 0
    gone = []
    for place, row in enumerate(rows):
        total += int(row.size)
        why = ""
        if policy.count is not None and place >= policy.count:
            why = f"more than {policy.count} runs"
        elif policy.days is not None and row.ended < Moment(now_ms - _ms(policy.days)).text:
            why = f"older than {policy.days:g} days"
        elif policy.size is not None and total > policy.size:
            why = f"beyond {policy.size} bytes"
        if why:
            gone.append(Chosen(row.run_id, row.attempt, row.workspace, int(row.size), why))
    return gone[::-1]


def _unreferenced() -> sa.ColumnElement[bool]:
    # Chunks have no index by digest: asked one by one, each content would read all of them.
    chunks = sa.select(seed_chunk.c.sha256).where(seed_chunk.c.sha256.is_not(None))
    return sa.and_(
        ~sa.exists().where(artifact.c.sha256 == blob.c.sha256),
        blob.c.sha256.not_in(chunks),
        ~sa.exists().where(workspace.c.place == blob.c.sha256),
        ~sa.exists().where(bundle.c.sha256 == blob.c.sha256),
    )


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _ms(days: float) -> int:
    return int(days * 86_400_000)


def _named(connection: sa.Connection, digests: Sequence[str]) -> set[str]:
    """Those of `digests` that have a row, or that something refers to."""
    columns = (
        blob.c.sha256,
        artifact.c.sha256,
        seed_chunk.c.sha256,
        workspace.c.place,
        bundle.c.sha256,
    )
    found: set[str] = set()
    for column in columns:
        found.update(connection.execute(sa.select(column).where(column.in_(digests))).scalars())
    return found


def _remove_if_older(path: Path, moment_ms: int) -> bool:
    """Remove a file unless it was stored again lately; whether it was removed.

    `put` finds the file that is there and sets its time. Aside, where no `put` finds it, its time
    is looked at once more: whoever set it before has it back, whoever comes later stores it anew.
    """
    aside = path.with_name(f"{path.name}.gone")
    try:
        if path.stat().st_mtime * 1000 >= moment_ms:
            return False
        path.rename(aside)
        if aside.stat().st_mtime * 1000 >= moment_ms:
            aside.rename(path)
            return False
        aside.unlink()
    except FileNotFoundError:
        return False
    return True


def _blocks(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_blocks * 512
    return 0


def _tree_bytes(folder: Path) -> int:
    return sum(_blocks(path) for path in folder.rglob("*")) if folder.is_dir() else 0
