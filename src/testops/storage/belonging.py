"""Whose data folder this is. Removing what no row names belongs to those who ask here first.

A project that moved from SQLite to PostgreSQL, or a variable that names another database, brings a
database and a folder together that know nothing of each other: to each, everything of the other
looks like something that nobody needs.
"""

import os
from pathlib import Path

import sqlalchemy as sa

from testops.runner.files import write_new
from testops.storage.database import Database

MARK = "belongs-to"


def claim(database: Database, data: Path) -> bool:
    """Whether the folder `data` is of `database`; from now on, where it was nobody's."""
    own = _name_of(database, data)
    write_new(data / MARK, f"{own}\n".encode())
    return _mark_of(data) == own


def belongs(database: Database, data: Path) -> bool:
    """Whether the folder `data` is of `database`; a folder of nobody is not."""
    return _mark_of(data) == _name_of(database, data)


def _mark_of(data: Path) -> str | None:
    try:
        return (data / MARK).read_text("utf-8").strip()
    except FileNotFoundError:
        return None


def _name_of(database: Database, data: Path) -> str:
    if database.is_sqlite:
        # Seen from the folder, which usually holds it: both may move together.
        file = Path(str(database.engine.url.database)).resolve()
        return f"sqlite {os.path.relpath(file, data.resolve())}"
    wanted = sa.text("SELECT system_identifier::text, current_database() FROM pg_control_system()")
    with database.read() as connection:
        cluster, name = connection.execute(wanted).one()
    return f"postgresql {cluster} {name}"
