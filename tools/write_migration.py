"""Writes the initial migration anew from the tables: `python tools/write_migration.py`.

Until the first release there is one, `0001`; afterwards a change of a table is a step of its own,
written by hand.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext

from testops.storage.database import open_database
from testops.storage.migrate import OPTIONS

TARGET = Path(__file__).parents[1] / "src/testops/storage/migrations/versions/r0001_initial.py"
HEAD = '''"""The first shape; written by tools/write_migration.py."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    {up}


def downgrade() -> None:
    """Drop every table."""
    {down}
'''


def main() -> None:
    """Write it."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/empty.db")
        with database.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts=dict(OPTIONS))
            wanted = produce_migrations(context, OPTIONS["target_metadata"])
        database.close()
    assert wanted.upgrade_ops is not None
    assert wanted.downgrade_ops is not None
    up = render_python_code(wanted.upgrade_ops, render_as_batch=False)
    down = render_python_code(wanted.downgrade_ops, render_as_batch=False)
    lines = [line.replace("# ### ", "# ") for line in (up, down)]
    TARGET.write_text(HEAD.format(up=_body(lines[0]), down=_body(lines[1])))
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", TARGET], check=True)


def _body(code: str) -> str:
    kept = [line for line in code.splitlines() if not line.lstrip().startswith("# ")]
    return "\n".join(kept).strip()


if __name__ == "__main__":
    main()
