"""A row in every table, made up from the columns, so that a new table is filled as well."""

from typing import Any

import sqlalchemy as sa

from testops.storage.tables import metadata


def fill(connection: sa.Connection) -> set[str]:
    """Insert one row into every table, parents first; the names of the tables."""
    for table in metadata.sorted_tables:
        connection.execute(table.insert().values(row_of(table)))
    return {table.name for table in metadata.sorted_tables}


def row_of(table: sa.Table, **given: Any) -> dict[str, Any]:
    """A row that the columns accept; its keys agree with those of `row_of` its parent."""
    made = {column.name: _value(column) for column in table.columns}
    return made | given


def _value(column: sa.Column[Any]) -> Any:
    # The same value for one type everywhere, so that a foreign key finds its row.
    match column.type:
        case sa.Boolean():
            return False
        case sa.Integer():
            return 1
        case sa.Float():
            return 1.0
        case sa.LargeBinary():
            return b"1"
        case sa.Text() | sa.String():
            return "1"
        case other:
            raise AssertionError(f"{column}: say here what a value of {other!r} is")
