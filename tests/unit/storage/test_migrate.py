import multiprocessing
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.support import rows

from testops import storage
from testops.domain.errors import BadInput
from testops.storage import migrate as migrate_module
from testops.storage.database import Database, open_database
from testops.storage.migrate import (
    OPTIONS,
    VERSION_TABLE,
    SchemaState,
    downgrade,
    migrate,
    require_current,
    revision_of,
    revisions,
    state,
    upgrade_ours,
)
from testops.storage.tables import metadata


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    database = open_database(empty_database_url)
    yield database
    database.close()


def test_the_migrations_make_exactly_the_tables_of_the_code(empty: Database) -> None:
    upgrade_ours(empty)
    with empty.engine.connect() as connection:
        # An empty default it reads back wrongly from SQLite, whose texts the next test compares.
        options = dict(OPTIONS) | {"compare_server_default": not empty.is_sqlite}
        context = MigrationContext.configure(connection, opts=options)
        difference = compare_metadata(context, metadata)
    assert not difference, "run tools/write_migration.py, or write a migration"


def test_not_even_a_constraint_differs_from_what_the_code_would_create(tmp_path: Path) -> None:
    """Alembic does not compare primary keys and checks; SQLite keeps the text of each table."""
    migrated = open_database(f"sqlite:///{tmp_path}/migrated.db")
    created = open_database(f"sqlite:///{tmp_path}/created.db")
    upgrade_ours(migrated)
    metadata.create_all(created.engine)
    assert _texts(migrated) == _texts(created)
    migrated.close()
    created.close()


def _texts(database: Database) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE tbl_name != ? ORDER BY name"
        return [tuple(row) for row in connection.exec_driver_sql(query, (VERSION_TABLE,))]


def test_every_module_of_tables_is_known_to_the_migrations() -> None:
    modules = {module.name for module in pkgutil.iter_modules(storage.__path__)}
    wanted = {name for name in modules if name.endswith("tables")}
    assert wanted == {module.__name__.rpartition(".")[2] for module in migrate_module.TABLES}


def test_an_empty_database_becomes_current_and_stays_so(empty: Database) -> None:
    assert state(empty) is SchemaState.EMPTY
    assert migrate(empty) is SchemaState.EMPTY
    assert state(empty) is SchemaState.CURRENT
    assert migrate(empty) is SchemaState.CURRENT
    assert revision_of(empty) == revisions()[-1]
    require_current(empty)


def test_the_durable_queue_starts_on_what_migrate_left(database_url: str) -> None:
    from dbos import DBOSClient

    database = open_database(database_url)
    # A client migrates nothing by itself: without its tables this raises.
    client = DBOSClient(system_database_engine=database.engine, application_name="testops")
    assert client.list_workflows() == []
    client.destroy()
    database.close()


def test_down_and_up_again_with_rows_in_every_table(database_url: str) -> None:
    database = open_database(database_url)
    with database.write() as connection:
        filled = rows.fill(connection)
    assert filled == {table.name for table in metadata.sorted_tables}
    downgrade(database, "base")
    assert state(database) is SchemaState.EMPTY
    with database.read() as connection:
        assert sa.inspect(connection).get_table_names() == [VERSION_TABLE]
    assert migrate(database) is SchemaState.EMPTY
    with database.write() as connection:
        assert rows.fill(connection) == filled
    database.close()


def test_a_step_of_the_way_keeps_the_rows(database_url: str) -> None:
    """With one revision there is no step yet; the next one is walked here, both ways, with rows."""
    database = open_database(database_url)
    with database.write() as connection:
        rows.fill(connection)
    for revision in reversed(revisions()[:-1]):
        downgrade(database, revision)
    assert revision_of(database) == revisions()[0]
    migrate(database)
    with database.read() as connection:
        assert connection.execute(sa.select(metadata.tables["run"].c.run_id)).all()
    database.close()


def test_a_database_of_a_newer_testops_is_refused_and_untouched(database_url: str) -> None:
    database = open_database(database_url)
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    assert state(database) is SchemaState.AHEAD
    for refused in (migrate, require_current, lambda one: downgrade(one, "base")):
        with pytest.raises(BadInput, match=r"9999.*newer"):
            refused(database)
    assert revision_of(database) == "9999"
    database.close()


def test_somebody_elses_database_is_refused_and_untouched(empty: Database) -> None:
    with empty.write() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (n int)")
    assert state(empty) is SchemaState.FOREIGN
    with pytest.raises(BadInput, match="no testops migration made"):
        migrate(empty)
    with empty.read() as connection:
        assert sa.inspect(connection).get_table_names() == ["theirs"]


def test_a_password_is_not_in_the_refusal(postgres: Any) -> None:
    database = open_database(postgres.fresh_database())
    with pytest.raises(BadInput) as refusal:
        require_current(database)
    assert "testops migrate" in str(refusal.value)
    assert postgres.password not in str(refusal.value)
    database.close()


def test_a_migration_killed_between_its_two_parts_is_behind_and_goes_on(empty: Database) -> None:
    upgrade_ours(empty)
    assert state(empty) is SchemaState.BEHIND
    with pytest.raises(BadInput, match="testops migrate"):
        require_current(empty)
    migrate(empty)
    assert state(empty) is SchemaState.CURRENT


def test_a_migration_that_fails_in_its_middle_leaves_nothing(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    drop = op.create_index

    def broken(*words: Any, **more: Any) -> None:
        drop(*words, **more)
        raise RuntimeError("planted")

    monkeypatch.setattr(op, "create_index", broken)
    with pytest.raises(RuntimeError, match="planted"):
        migrate(empty)
    assert state(empty) is SchemaState.EMPTY


def _migrate_at(url: str, gate: Any, results: Any) -> None:
    gate.wait(30)
    database = open_database(url)
    try:
        results.put(str(migrate(database)))
    except BaseException as error:
        results.put(repr(error))
        raise


def test_many_processes_that_migrate_at_once_do_it_once(empty_database_url: str) -> None:
    start = multiprocessing.get_context("spawn")
    gate, results = start.Barrier(4), start.Queue()
    processes = [
        start.Process(target=_migrate_at, args=(empty_database_url, gate, results))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    said = [results.get(timeout=90) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0, said
    database = open_database(empty_database_url)
    assert state(database) is SchemaState.CURRENT
    assert set(said) <= set(SchemaState), said
    database.close()


def test_the_private_names_of_dbos_are_what_we_take_them_for(database_url: str) -> None:
    from dbos import _migration

    database = open_database(database_url)
    if database.is_sqlite:
        at, newest = _migration.get_sqlite_migration_versions(database.engine)
    else:
        at, newest = _migration.get_migration_versions(database.engine, "dbos", True)
    assert at == newest > 100
    database.close()


def test_a_revision_that_is_not_or_not_below_is_refused(database_url: str) -> None:
    database = open_database(database_url)
    with pytest.raises(BadInput, match="no revision 'nonsense'"):
        downgrade(database, "nonsense")
    downgrade(database, "base")
    with pytest.raises(BadInput, match="not above"):
        downgrade(database, revisions()[0])
    database.close()
