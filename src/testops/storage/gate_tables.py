"""The tables of what judges runs: the versions of named policies, and waivers."""

import sqlalchemy as sa

from testops.storage.tables import metadata

# A version is never changed: a change, and a removal, is the next one.
policy = sa.Table(
    "policy",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    # In JSON; None in the version that removed it.
    sa.Column("definition", sa.Text),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
)

waiver = sa.Table(
    "waiver",
    metadata,
    sa.Column("waiver_id", sa.Text, primary_key=True),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("gate", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("expires", sa.Text, nullable=False),
    sa.Column("up_to", sa.Float),
    sa.Column("ticket", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    # Withdrawn before it expired; the row stays, because runs were let through by it.
    sa.Column("withdrawn_by", sa.Text),
    sa.Column("withdrawn_at", sa.Text),
    sa.Index(None, "workspace", "suite"),
)
