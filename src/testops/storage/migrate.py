"""Brings a database to the shape that this code wants, or says why it must not.

Our tables and those of the durable queue (DBOS) are two parts with two histories; both are walked
here, one process at a time. A database that a newer TestOps has shaped is refused, because the old
code would write rows that the new one takes for wrong.
"""

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from testops.domain.errors import BadInput
from testops.storage import access_tables, api_tables, gate_tables, snapshot_tables, tables
from testops.storage.database import Database
from testops.storage.tables import metadata

# Importing them is what puts their tables into `metadata`.
TABLES: Final = (tables, access_tables, api_tables, gate_tables, snapshot_tables)

VERSION_TABLE: Final = "testops_schema"
# The schema of the durable queue on PostgreSQL; on SQLite its tables stand beside ours.
DURABLE_SCHEMA: Final = "dbos"
BASE: Final = "base"
_SCRIPTS = Path(__file__).with_name("migrations")
# Any number that nobody else takes: the first bytes of sha256("testops.migrate").
_LOCK_KEY = 0x3C3EF5CF
_LOCK_LIMIT_S = 120.0
_LOCK_POLL_S = 0.1

# How Alembic reads our tables, here and in the test that compares them with the migrations.
OPTIONS: Final[Mapping[str, Any]] = {
    "target_metadata": metadata,
    "version_table": VERSION_TABLE,
    "compare_type": True,
    "compare_server_default": True,
    # SQLite cannot alter a column: Alembic then makes the table anew.
    "render_as_batch": True,
}


class SchemaState(StrEnum):
    """What a database looks like to this code."""

    # Nothing in it.
    EMPTY = "empty"
    # An older TestOps shaped it, or a migration was interrupted.
    BEHIND = "behind"
    CURRENT = "current"
    # A newer TestOps shaped it.
    AHEAD = "ahead"
    # It has tables, and none of our migrations made them.
    FOREIGN = "foreign"


def revisions() -> list[str]:
    """Every revision that this code knows, oldest first."""
    names = sorted(file.name for file in (_SCRIPTS / "versions").glob("r*.py"))
    found = [re.match(r"r(\d{4})_\w+\.py$", name) for name in names]
    assert all(found), f"a migration has a strange name: {names}"
    return [match.group(1) for match in found if match is not None]


def revision_of(database: Database) -> str | None:
    """The revision that `database` is at; None before the first."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        table = sa.table(VERSION_TABLE, sa.column("version_num", sa.Text))
        return connection.execute(sa.select(table.c.version_num)).scalar()


def state(database: Database) -> SchemaState:
    """What `database` looks like to this code; nothing is changed."""
    with database.read() as connection:
        tables = sa.inspect(connection).get_table_names()
    if VERSION_TABLE not in tables:
        return SchemaState.FOREIGN if tables else SchemaState.EMPTY
    at = revision_of(database)
    if at is None:
        # Taken down to the base, by us: only the empty version table is left.
        return SchemaState.EMPTY if tables == [VERSION_TABLE] else SchemaState.BEHIND
    if at not in revisions():
        return SchemaState.AHEAD
    if at != revisions()[-1] or _durable_is_behind(database):
        return SchemaState.BEHIND
    return SchemaState.CURRENT


def require_current(database: Database) -> None:
    """Nothing when `database` can be used as it is; otherwise `BadInput` that says what to do."""
    found = state(database)
    if found is not SchemaState.CURRENT:
        raise _refusal(database, found)


def migrate(database: Database) -> SchemaState:
    """Bring `database` to the newest shape; what it was before.

    Any number of processes may call it at once: one does it, the others wait and find it done.
    `BadInput` for a database that is ahead of this code or not ours; it is then untouched.
    """
    # The usual start finds everything done, and needs neither the lock nor Alembic.
    before = state(database)
    if before is SchemaState.CURRENT:
        return before
    with _alone(database):
        found = state(database)
        if found in (SchemaState.AHEAD, SchemaState.FOREIGN):
            raise _refusal(database, found)
        if found is not SchemaState.CURRENT:
            upgrade_ours(database)
            _migrate_durable(database)
    return before


def upgrade_ours(database: Database, revision: str = "head") -> None:
    """Our own tables up to `revision`, in one transaction; the caller has the lock."""
    from alembic import command

    with _transaction(database) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take our tables back to `revision`; at `base` nothing is left, the durable queue included.

    What an older shape has no place for is lost.
    """
    known = [BASE, *revisions()]
    if revision not in known:
        raise BadInput(f"there is no revision {revision!r}", fix=f"one of {', '.join(known)}")
    with _alone(database):
        at = revision_of(database)
        if at is None or known.index(revision) > known.index(_known(database, at)):
            shown = at or "no revision"
            raise BadInput(f"the database is at {shown}, which is not above {revision}")
        from alembic import command

        with _transaction(database) as connection:
            if revision == BASE:
                _drop_durable(connection, sqlite=database.is_sqlite)
            command.downgrade(_config(connection), revision)


def _known(database: Database, revision: str) -> str:
    if revision not in revisions():
        raise _refusal(database, SchemaState.AHEAD)
    return revision


def _refusal(database: Database, found: SchemaState) -> BadInput:
    shown = database.engine.url.render_as_string(hide_password=True)
    at, newest = revision_of(database), revisions()[-1]
    match found:
        case SchemaState.AHEAD:
            problem = f"is at revision {at}, and this testops knows only up to {newest}"
            fix = "start the testops that migrated it, or a newer one"
        case SchemaState.FOREIGN:
            problem = "has tables that no testops migration made"
            fix = "give an empty database"
        case _:
            problem = f"is at revision {at or 'none'} and must be migrated to {newest}"
            fix = "run: testops migrate"
    return BadInput(problem, where=f"database {shown}", fix=fix)


def _config(connection: sa.Connection) -> Any:
    from alembic.config import Config

    config = Config()
    # A percent sign in a path would be taken for an interpolation.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextlib.contextmanager
def _transaction(database: Database) -> Iterator[sa.Connection]:
    """One transaction for a whole walk: after a crash the database is where it was."""
    with database.engine.connect() as connection:
        if not database.is_sqlite:
            with connection.begin():
                yield connection
            return
        # Making a table anew drops the old one, which would delete what refers to it; and the
        # switch does nothing inside a transaction.
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.rollback()
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            assert not broken, f"a migration left references to nothing: {broken[:3]}"
            connection.commit()
        finally:
            connection.rollback()
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")


@contextlib.contextmanager
def _alone(database: Database) -> Iterator[None]:
    """The right to migrate, which one process has at a time; it goes with the process.

    On SQLite the write lock of each transaction is that right. On PostgreSQL it is an advisory lock
    which is tried again and again: waiting inside a statement would hold a snapshot, and the
    queue's CREATE INDEX CONCURRENTLY waits for every snapshot.
    """
    if database.is_sqlite:
        yield
        return
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        wait = threading.Event()
        for _ in range(round(_LOCK_LIMIT_S / _LOCK_POLL_S)):
            if connection.execute(sa.select(sa.func.pg_try_advisory_lock(_LOCK_KEY))).scalar_one():
                break
            wait.wait(_LOCK_POLL_S)
        else:
            raise BadInput(
                f"another process has been migrating for {_LOCK_LIMIT_S:.0f} s",
                fix="wait for it, or end its session in the database",
            )
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK_KEY)))


def _migrate_durable(database: Database) -> None:
    from dbos import DBOS

    url = database.engine.url.render_as_string(hide_password=False)
    DBOS.migrate(url, schema=DURABLE_SCHEMA)


def _durable_is_behind(database: Database) -> bool:
    """Whether the queue's tables are older than the installed DBOS; newer ones it works with.

    These names are private; `tests/unit/storage/test_migrate.py` holds their contract.
    """
    from dbos._migration import get_migration_versions, get_sqlite_migration_versions

    if database.is_sqlite:
        at, newest = get_sqlite_migration_versions(database.engine)
    else:
        at, newest = get_migration_versions(database.engine, DURABLE_SCHEMA, True)
    return at < newest


def _drop_durable(connection: sa.Connection, *, sqlite: bool) -> None:
    if not sqlite:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {DURABLE_SCHEMA} CASCADE")
        return
    # `state` has seen that the file is ours, so what is not our table is the queue's.
    for name in sa.inspect(connection).get_table_names():
        if name not in metadata.tables and name != VERSION_TABLE:
            connection.exec_driver_sql(f'DROP TABLE "{name}"')
