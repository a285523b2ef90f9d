"""What `testops migrate` says of the shape of the database; changing it is `storage.migrate`."""

from collections.abc import Callable

from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode
from testops.storage.database import Database
from testops.storage.migrate import SchemaState, downgrade, migrate, revision_of, state

Echo = Callable[[str], None]


def check(database: Database, *, echo: Echo) -> ExitCode:
    """Say what the database looks like; `HOLDS` when nothing needs to be done, otherwise 1."""
    found = state(database)
    echo(f"{_shown(database)}: {found} (revision {revision_of(database) or 'none'})")
    return ExitCode.HOLDS if found is SchemaState.CURRENT else ExitCode.FAILED


def up(database: Database, *, echo: Echo) -> ExitCode:
    """Bring it to the newest shape, and say what was done."""
    before = migrate(database)
    done = "was current" if before is SchemaState.CURRENT else f"migrated, it was {before}"
    echo(f"{_shown(database)}: {done} (revision {revision_of(database)})")
    return ExitCode.HOLDS


def down(database: Database, revision: str, *, sure: bool, echo: Echo) -> ExitCode:
    """Take it back to `revision`, when the person is sure."""
    if not sure:
        raise BadInput(
            f"going down to {revision} deletes what that shape has no place for",
            fix="make a copy of the database, and give --yes",
        )
    downgrade(database, revision)
    echo(f"{_shown(database)}: taken down to {revision}")
    return ExitCode.HOLDS


def _shown(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=True)
