"""The tables of what the API keeps beside runs: schedules, and requests that named a key."""

import sqlalchemy as sa

from testops.storage.tables import metadata

schedule = sa.Table(
    "schedule",
    metadata,
    # A hash of workspace and name, so that a name is one schedule.
    sa.Column("schedule_id", sa.Text, primary_key=True),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("cron", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
    # The body of POST /v1/test-runs, in JSON.
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    # None while it is not enabled, or where its times never come.
    sa.Column("next_due_ms", sa.BigInteger),
    sa.Index(None, "next_due_ms"),
    sa.Index(None, "workspace", "name"),
)

# One row for each time that came: the primary key is what makes it fire once.
schedule_firing = sa.Table(
    "schedule_firing",
    metadata,
    sa.Column(
        "schedule_id", sa.ForeignKey("schedule.schedule_id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("due_ms", sa.BigInteger, primary_key=True),
    sa.Column("run_id", sa.Text),
    sa.Column("problem", sa.Text, nullable=False),
    # Times that passed before it while nobody was there to fire them.
    sa.Column("missed", sa.Integer, nullable=False),
    sa.Column("fired_at", sa.Text, nullable=False),
)

idempotency_key = sa.Table(
    "idempotency_key",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    # None while the first request is not done.
    sa.Column("run_id", sa.Text),
    sa.Column("claimed_ms", sa.BigInteger, nullable=False),
    sa.Index(None, "claimed_ms"),
)
