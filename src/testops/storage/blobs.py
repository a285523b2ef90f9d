"""Contents by their digest: files of the data folder, rows where runners share no disk, or S3.

Each keeps one row for each content, because retention asks the database what nothing refers to. A
`put` makes that row young again, so what is being stored is never what is being removed.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from testops.domain.errors import BadInput, StoreUnavailable
from testops.runner.files import not_writable, write_parts_aside
from testops.snapshots.objects.s3 import S3Shelf, address_of
from testops.storage.database import Database
from testops.storage.tables import blob

# A row is read and written whole; what is larger belongs on a disk.
ROW_BYTES_MAX = 256 << 20
_CHUNK = 1 << 20
# Of a row: each part is a statement.
_PART = 16 * _CHUNK
STORE_VARIABLE = "TESTOPS_ARTIFACT_STORE"
# Well below what retention leaves alone after it was stored.
_YOUNG_MS = 1_800_000
_PUT_TURNS = 3


class BlobStore(Protocol):
    """Contents by their digest."""

    def put(self, path: Path) -> str:
        """Keep the content of `path`; its sha256."""
        ...

    def fetch(self, sha256: str, target: Path) -> None:
        """Put the content at `target`, whole or not at all; it is what its digest says."""
        ...

    def read(self, sha256: str, *, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset` on; `FileNotFoundError` when it is not kept."""
        ...


def blobs_of(database: Database, data: Path, shelf: S3Shelf | None = None) -> BlobStore:
    """Where this platform keeps contents: with SQLite there is one machine, and so one disk.

    With a `shelf` they are there, and what was kept before can still be read.
    """
    near: BlobStore = (
        FolderBlobs(data / "blobs", database) if database.is_sqlite else RowBlobs(database)
    )
    return near if shelf is None else ObjectBlobs(shelf, database, before=near)


def artifact_shelf(environment: Mapping[str, str]) -> S3Shelf | None:
    """The object store that `TESTOPS_ARTIFACT_STORE` names; BadInput when it names none."""
    asked = environment.get(STORE_VARIABLE, "")
    if not asked:
        return None
    address = address_of(asked, where=STORE_VARIABLE)
    return S3Shelf(address, environment, where=STORE_VARIABLE)


def object_name(sha256: str) -> str:
    """Where a content lies in an object store."""
    return f"artifacts/{sha256[:2]}/{sha256}"


def remove_objects(shelf: S3Shelf, digests: Sequence[str]) -> None:
    """Remove contents. Inside the transaction that removes their rows: see `ObjectBlobs.put`."""
    shelf.remove_all([object_name(sha256) for sha256 in digests])


class FolderBlobs:
    """Contents as files, each with a row that says since when."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._database = database

    def put(self, path: Path) -> str:
        sha256 = _digest_of(path)
        target = self._place(sha256)
        # Synced before the row says that it is there; the transaction is short, whatever its size.
        aside = None if target.is_file() else _aside(target, path, sha256)
        try:
            with self._database.write() as connection:
                _renew(connection, self._database, sha256, path.stat().st_size, None)
                # Retention removes the file in the transaction that removes the row, so what is
                # there now stays. What went between our look and now is made again.
                if aside is None and not target.is_file():
                    aside = _aside(target, path, sha256)
                if aside is not None:
                    aside.replace(target)
        finally:
            if aside is not None:
                aside.unlink(missing_ok=True)
        return sha256

    def fetch(self, sha256: str, target: Path) -> None:
        with self._place(sha256).open("rb") as file:
            _believed_aside(sha256, target, _parts_of(file)).replace(target)

    def read(self, sha256: str, *, offset: int, length: int) -> bytes:
        with self._place(sha256).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def _place(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256


class RowBlobs:
    """Contents in the database, for runners that share nothing else."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, path: Path) -> str:
        if (size := path.stat().st_size) > ROW_BYTES_MAX:
            raise BadInput(
                f"has {size} bytes, more than the {ROW_BYTES_MAX} that the database keeps",
                where=path.name,
                fix="record less, or fewer seeds in one run",
            )
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        with self._database.write() as connection:
            _renew(connection, self._database, sha256, len(content), content)
        return sha256

    def fetch(self, sha256: str, target: Path) -> None:
        # Before anything is written: it may not be kept.
        first = self.read(sha256, offset=0, length=_PART)
        parts = itertools.chain([first], self._parts(sha256, offset=len(first)))
        _believed_aside(sha256, target, parts).replace(target)

    def _parts(self, sha256: str, *, offset: int) -> Iterator[bytes]:
        while part := self.read(sha256, offset=offset, length=_PART):
            yield part
            offset += len(part)

    def read(self, sha256: str, *, offset: int, length: int) -> bytes:
        # Positions of SQL begin at 1.
        part = sa.func.substr(blob.c.content, offset + 1, length, type_=sa.LargeBinary())
        wanted = sa.select(part).where(blob.c.sha256 == sha256, blob.c.content.is_not(None))
        with self._database.read() as connection:
            found = connection.execute(wanted).first()
        if found is None:
            raise FileNotFoundError(f"no content {sha256} is kept")
        # SQLite says NULL for a part of nothing.
        return bytes(found[0] or b"")


class ObjectBlobs:
    """Contents in an object store; `before` has what was kept there earlier."""

    def __init__(self, shelf: S3Shelf, database: Database, *, before: BlobStore) -> None:
        self._shelf = shelf
        self._database = database
        self._before = before

    def put(self, path: Path) -> str:
        sha256, size = _digest_of(path), path.stat().st_size
        for _ in range(_PUT_TURNS):
            # The row first, so that no content is ever without one. Retention removes the object
            # in the transaction that removes the row: once ours is written it either was done, and
            # we see the gap, or it comes when the row is young, and leaves both alone.
            with self._database.write() as connection:
                _renew(connection, self._database, sha256, size, None)
                began = self._database.moment(connection)
            there = self._shelf.entry(object_name(sha256))
            if there is None or there.size != size:
                self._shelf.write_file(object_name(sha256), path)
            with self._database.read() as connection:
                if self._database.moment(connection).ms - began.ms < _YOUNG_MS:
                    return sha256
        raise StoreUnavailable(
            f"the object store {self._shelf.shown()} takes half an hour for {size} bytes; "
            "mend it, then run again"
        )

    def fetch(self, sha256: str, target: Path) -> None:
        parts = self._shelf.parts(object_name(sha256))
        if parts is None:
            self._before.fetch(sha256, target)
        else:
            _believed_aside(sha256, target, parts).replace(target)

    def read(self, sha256: str, *, offset: int, length: int) -> bytes:
        part = self._shelf.read_part(object_name(sha256), offset=offset, length=length)
        return self._before.read(sha256, offset=offset, length=length) if part is None else part


def _renew(
    connection: sa.Connection, database: Database, sha256: str, size: int, content: bytes | None
) -> None:
    """The row of a content, made or young again; it waits for a retention that removes it."""
    values = {"sha256": sha256, "size": size, "content": content, "created_ms": database.now_ms}
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    made = insert(blob).values(**values)
    connection.execute(
        made.on_conflict_do_update(
            index_elements=[blob.c.sha256], set_={"created_ms": database.now_ms}
        )
    )


def _digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise not_writable(path, error) from error


def _aside(target: Path, source: Path, sha256: str) -> Path:
    """A copy of `source` beside `target`, which need not fit into memory."""
    with source.open("rb") as file:
        return _believed_aside(sha256, target, _parts_of(file))


def _parts_of(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK), b"")


def _believed_aside(sha256: str, target: Path, parts: Iterable[bytes]) -> Path:
    """`parts` on the disk beside `target`; an error when they are not what the digest says."""
    digest = hashlib.sha256()

    def counted() -> Iterator[bytes]:
        for part in parts:
            digest.update(part)
            yield part

    aside = write_parts_aside(target, counted())
    if digest.hexdigest() != sha256:
        aside.unlink(missing_ok=True)
        raise OSError(f"the content {sha256} is damaged where it is kept")
    return aside
