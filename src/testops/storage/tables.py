"""The tables of the platform. Who may change a row, and when, is said by the store that owns it.

A seed can be 2^64-1, which no SQL integer holds, so seeds are text. Moments are RFC 3339 text in
UTC; where two are compared they are milliseconds by the database's own clock, because the machines'
clocks need not agree.
"""

import sqlalchemy as sa

# Names of their own for constraints, so that a migration can name what it drops on any database.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_RUN = "run.run_id"

run = sa.Table(
    "run",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("suite_shown", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("sim_seed", sa.Text, nullable=False),
    sa.Column("chaos_seed", sa.Text, nullable=False),
    # The question as it was hashed, in JSON.
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("build", sa.Text, nullable=False),
    sa.Column("commit", sa.Text),
    sa.Column("labels", sa.Text, nullable=False),
    sa.Column("engine_version", sa.Text, nullable=False),
    sa.Column("reproduce", sa.Text, nullable=False),
    # 0 goes first, 9 last; `turn` is the place among equals that fairness gave it.
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("exit_code", sa.Integer),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("bundle", sa.Text),
    sa.Column("bundle_identity", sa.Text),
    # Of the newest attempt as a whole, in JSON: score, gates without a stage, idle waivers.
    sa.Column("judgement", sa.Text),
    # The number of the newest event: raised in the transaction that appends one.
    sa.Column("last_seq", sa.Integer, nullable=False),
    # Events before it were removed by retention.
    sa.Column("first_seq", sa.Integer, nullable=False, server_default="1"),
    # Grows whenever an executor takes the run; a write that names an older one is refused.
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("executor_id", sa.Text),
    sa.Column("cancel_requested_by", sa.Text),
    sa.Column("deadline_ms", sa.BigInteger),
    sa.Column("pinned", sa.Boolean, nullable=False),
    sa.Column("traceparent", sa.Text),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("queued_at", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text),
    sa.Column("finished_at", sa.Text),
    sa.Index(None, "created_ms", "run_id"),
    sa.Index(None, "state"),
    sa.Index(None, "suite", "created_ms"),
    sa.Index(None, "workspace", "created_ms"),
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("run_id", sa.ForeignKey(_RUN, ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("exit_code", sa.Integer),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("queued_at", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text),
    sa.Column("finished_at", sa.Text),
)

# One row for each stage of an attempt: the primary key is what makes a result exactly one.
stage_result = sa.Table(
    "stage_result",
    metadata,
    sa.Column("run_id", sa.ForeignKey(_RUN, ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("report", sa.Text, nullable=False),
    sa.Column("gates", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.Text, nullable=False),
)

# One row for each time that somebody began to execute a stage; a killed one never ended.
stage_execution = sa.Table(
    "stage_execution",
    metadata,
    sa.Column("run_id", sa.ForeignKey(_RUN, ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("executor_id", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text, nullable=False),
    sa.Column("ended_at", sa.Text),
    sa.Column("outcome", sa.Text),
    # infrastructure or test, where it failed.
    sa.Column("cause", sa.Text),
)

run_event = sa.Table(
    "run_event",
    metadata,
    sa.Column("run_id", sa.ForeignKey(_RUN, ondelete="CASCADE"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("executor_id", sa.Text, primary_key=True),
    # runner, or foreground: a command line that executes its one run itself.
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("cores", sa.Integer, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("started_ms", sa.BigInteger, nullable=False),
    sa.Column("beat_ms", sa.BigInteger, nullable=False),
)

# How far each suite has come among its equals; the row of the suite "" is the virtual time.
turn = sa.Table(
    "turn",
    metadata,
    sa.Column("priority", sa.Integer, primary_key=True),
    sa.Column("suite", sa.Text, primary_key=True),
    sa.Column("last_turn", sa.Integer, nullable=False),
)

seed_chunk = sa.Table(
    "seed_chunk",
    metadata,
    sa.Column("run_id", sa.ForeignKey(_RUN, ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    # Which of the run's sim seeds, half-open, by position.
    sa.Column("first", sa.Integer, nullable=False),
    sa.Column("end", sa.Integer, nullable=False),
    sa.Column("executor_id", sa.Text),
    sa.Column("sha256", sa.Text),
    sa.Column("problem", sa.Text),
)

artifact = sa.Table(
    "artifact",
    metadata,
    sa.Column("run_id", sa.ForeignKey(_RUN, ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Index(None, "sha256"),
)

workspace = sa.Table(
    "workspace",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    # path: a folder of this machine; archive: the content of that digest.
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("allow_commands", sa.Boolean, nullable=False),
    # How many different people must approve a baseline.
    sa.Column("approvals_required", sa.Integer, nullable=False, server_default="1"),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
)

blob = sa.Table(
    "blob",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    # None where the content is a file beside the database.
    sa.Column("content", sa.LargeBinary),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
)
