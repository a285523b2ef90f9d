"""What many tests share: a real PostgreSQL, and a database of either kind."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.postgres import NoPostgres, Postgres, running_postgres, skip_or_fail
from tests.support.s3 import S3Server, running_s3

from testops.storage.database import open_database
from testops.storage.migrate import migrate


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The one PostgreSQL of this session; a test that kills it starts it again."""
    try:
        with running_postgres() as server:
            yield server
    except NoPostgres as why:
        skip_or_fail(why)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/testops.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.fresh_database()
    yield url
    server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that `testops migrate` has prepared, of each kind in turn; a copy, so cheap."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("migrated_sqlite")
        shutil.copyfile(template, tmp_path / "testops.db")
        yield f"sqlite:///{tmp_path}/testops.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.copy_of("migrated", prepare_database)
    yield url
    server.drop(url)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that each test's SQLite database is a copy of; do not write to it."""
    file = tmp_path_factory.mktemp("migrated") / "testops.db"
    prepare_database(f"sqlite:///{file}")
    return file


def prepare_database(url: str) -> None:
    """Migrate, and leave nothing open, so that it can be copied."""
    database = open_database(url)
    migrate(database)
    if database.is_sqlite:
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The one S3 server of this session."""
    with running_s3() as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> str:
    """A new bucket on it."""
    return s3_server.new_bucket()
