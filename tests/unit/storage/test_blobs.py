"""A content is kept under its digest, comes back whole or in parts, and is never taken on trust."""

import hashlib
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.s3 import S3Server

from testops.domain.errors import BadInput, StoreUnavailable
from testops.snapshots.objects.s3 import S3Shelf
from testops.storage.blobs import (
    BlobStore,
    FolderBlobs,
    RowBlobs,
    artifact_shelf,
    blobs_of,
    object_name,
)
from testops.storage.database import Database, open_database
from testops.storage.migrate import migrate
from testops.storage.tables import blob

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture(params=["usual", "rows", "s3"])
def blobs(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> BlobStore:
    match request.param:
        case "usual":
            return blobs_of(database, tmp_path)
        case "rows":
            return RowBlobs(database)
        case _:
            return blobs_of(database, tmp_path, request.getfixturevalue("shelf"))


@pytest.fixture
def shelf(s3_server: S3Server, s3_bucket: str) -> S3Shelf:
    found = artifact_shelf(
        s3_server.environment(TESTOPS_ARTIFACT_STORE=f"s3://{s3_bucket}/platform")
    )
    assert found is not None
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def rows(database: Database) -> list[tuple[str, int]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(blob.c.sha256, blob.c.size))]


def test_one_machine_keeps_files_and_several_keep_rows(database: Database, tmp_path: Path) -> None:
    kind = FolderBlobs if database.is_sqlite else RowBlobs
    assert isinstance(blobs_of(database, tmp_path), kind)


def test_a_content_comes_back_whole(
    blobs: BlobStore, database: Database, file: Path, tmp_path: Path
) -> None:
    assert blobs.put(file) == SHA256
    assert blobs.put(file) == SHA256
    blobs.fetch(SHA256, tmp_path / "deep" / "back")
    assert (tmp_path / "deep" / "back").read_bytes() == CONTENT
    assert rows(database) == [(SHA256, len(CONTENT))]


def test_an_empty_content_is_a_content(blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    sha256 = blobs.put(tmp_path / "empty")
    blobs.fetch(sha256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 10), (255, 3), (10_239, 100), (10_240, 5), (99_999, 5), (7, 0)]
)
def test_a_part_comes_back(blobs: BlobStore, file: Path, offset: int, length: int) -> None:
    blobs.put(file)
    found = blobs.read(SHA256, offset=offset, length=length)
    assert found == CONTENT[offset : offset + length]


def test_a_content_that_is_not_kept_is_not_found(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        blobs.read("0" * 64, offset=0, length=1)
    with pytest.raises(FileNotFoundError):
        blobs.fetch("0" * 64, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_content_that_was_damaged_is_not_fetched(
    database: Database, file: Path, tmp_path: Path
) -> None:
    folder = FolderBlobs(tmp_path / "blobs", database)
    folder.put(file)
    (tmp_path / "blobs" / SHA256[:2] / SHA256).write_bytes(b"other")
    with pytest.raises(OSError, match="damaged"):
        folder.fetch(SHA256, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_is_put_again_is_young_again(blobs: BlobStore, database: Database, file: Path) -> None:
    """Retention removes what is old and refers to nothing; an attempt may just now refer to it."""
    blobs.put(file)
    with database.write() as connection:
        connection.execute(blob.update().values(created_ms=1))
    blobs.put(file)
    with database.read() as connection:
        made_ms = connection.execute(sa.select(blob.c.created_ms)).scalar_one()
    assert made_ms > 1_000_000_000_000


def test_a_file_that_retention_removed_meanwhile_is_made_again(
    database: Database, file: Path, tmp_path: Path
) -> None:
    folder = FolderBlobs(tmp_path / "blobs", database)
    folder.put(file)
    with database.write() as connection:
        connection.execute(blob.delete())
        (tmp_path / "blobs" / SHA256[:2] / SHA256).unlink()
    folder.put(file)
    assert folder.read(SHA256, offset=0, length=4) == CONTENT[:4]


def test_many_may_put_the_same_at_once(blobs: BlobStore, database: Database, file: Path) -> None:
    told: list[str] = []
    threads = [threading.Thread(target=lambda: told.append(blobs.put(file))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [SHA256] * 8
    assert rows(database) == [(SHA256, len(CONTENT))]


def test_a_large_content_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/large.db")
    migrate(database)
    kept = blobs_of(database, tmp_path / "data")
    large = tmp_path / "trace.bin"
    with large.open("wb") as file:
        file.truncate(64 << 20)

    tracemalloc.start()
    try:
        kept.fetch(kept.put(large), tmp_path / "back.bin")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        database.close()

    assert (tmp_path / "back.bin").stat().st_size == 64 << 20
    assert peak < 8 << 20


def test_a_content_in_an_object_store_is_nowhere_else(
    shelf: S3Shelf, database: Database, file: Path, tmp_path: Path
) -> None:
    blobs_of(database, tmp_path / "data", shelf).put(file)
    assert not (tmp_path / "data").exists()
    entry = shelf.entry(object_name(SHA256))
    assert entry is not None
    assert entry.size == len(CONTENT)
    with database.read() as connection:
        kept = sa.select(sa.func.count()).where(blob.c.content.is_not(None))
        assert connection.execute(kept).scalar_one() == 0


def test_what_was_kept_before_there_was_an_object_store_is_still_read(
    shelf: S3Shelf, database: Database, file: Path, tmp_path: Path
) -> None:
    blobs_of(database, tmp_path).put(file)
    now = blobs_of(database, tmp_path, shelf)
    assert now.read(SHA256, offset=5, length=7) == CONTENT[5:12]
    now.fetch(SHA256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_a_content_that_is_damaged_in_the_object_store_never_reaches_its_target(
    shelf: S3Shelf, database: Database, file: Path, tmp_path: Path
) -> None:
    blobs = blobs_of(database, tmp_path, shelf)
    blobs.put(file)
    shelf.write(object_name(SHA256), CONTENT[:-1] + b"?")
    with pytest.raises(OSError, match="damaged"):
        blobs.fetch(SHA256, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_an_object_store_that_is_down_is_unavailable_and_not_lost(
    s3_server: S3Server, database: Database, file: Path, tmp_path: Path
) -> None:
    down = artifact_shelf(
        s3_server.environment(
            TESTOPS_ARTIFACT_STORE="s3://any", AWS_ENDPOINT_URL="http://127.0.0.1:9"
        )
    )
    blobs = blobs_of(database, tmp_path, down)
    with pytest.raises(StoreUnavailable):
        blobs.put(file)
    with pytest.raises(StoreUnavailable):
        blobs.read(SHA256, offset=0, length=1)


def test_an_artifact_store_that_is_no_address_is_refused_at_the_start() -> None:
    assert artifact_shelf({}) is None
    with pytest.raises(BadInput, match="TESTOPS_ARTIFACT_STORE"):
        artifact_shelf({"TESTOPS_ARTIFACT_STORE": "/srv/artifacts"})
