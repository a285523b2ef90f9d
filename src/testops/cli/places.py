"""Where the data directory and the database of a command are."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from testops.domain.errors import StoreUnavailable
from testops.runner.projects import project_around
from testops.storage.database import Database, open_database

# Not their subclasses: an IntegrityError, say, is a bug of ours. A plain DatabaseError is SQLite's
# word for a file that is not a database.
_UNAVAILABLE = (sa.exc.DatabaseError, sa.exc.OperationalError, sa.exc.TimeoutError)


@dataclass(frozen=True, slots=True)
class Places:
    """The data directory, and the address of the database, which may be elsewhere."""

    data: Path
    database_url: str

    @property
    def has_no_file(self) -> bool:
        """Whether the database is a file that is not there; opening it would make it."""
        url = sa.make_url(self.database_url)
        return url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()


def places(folder: Path, environment: Mapping[str, str], *, data: Path | None = None) -> Places:
    """What was asked for, else the environment's, else `.testops/` of the project around us."""
    given = data or environment.get("TESTOPS_DATA")
    root = Path(given) if given else project_around(folder).root / ".testops"
    root = (folder / root).absolute()
    url = environment.get("TESTOPS_DATABASE_URL") or f"sqlite:///{root}/testops.db"
    return Places(root, url)


@contextlib.contextmanager
def opened(at: Places) -> Iterator[Database]:
    """The database, for as long as the block lasts; `StoreUnavailable` if it stops answering."""
    database = open_database(at.database_url)
    try:
        yield database
    except (sa.exc.DatabaseError, sa.exc.TimeoutError) as error:
        if type(error) not in _UNAVAILABLE:
            raise
        shown = database.engine.url.render_as_string(hide_password=True)
        why = (str(getattr(error, "orig", None) or error).splitlines() or [""])[0]
        raise StoreUnavailable(
            f"database {shown} does not answer ({why}); start it, or correct TESTOPS_DATABASE_URL"
        ) from error
    finally:
        database.close()
