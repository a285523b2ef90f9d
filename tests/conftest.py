"""What many tests share: a real PostgreSQL, and a database of either kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.postgres import NoPostgres, Postgres, running_postgres, skip_or_fail


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
    """A database as the newest code wants it, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/testops.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.fresh_database()
    yield url
    server.drop(url)
