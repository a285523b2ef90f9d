"""The tables of the snapshot service: bundles that runs left, what was approved, what is reviewed.

A bundle belongs to a workspace, even where two have left the same behaviour: what somebody may know
of, and what becomes the baseline of whose runs, is decided for each. Its content is a blob.
"""

import sqlalchemy as sa

from testops.storage.tables import metadata

bundle = sa.Table(
    "bundle",
    metadata,
    sa.Column("workspace", sa.Text, primary_key=True),
    sa.Column("identity", sa.Text, primary_key=True),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("engine_version", sa.Text, nullable=False),
    sa.Column("python", sa.Text, nullable=False),
    sa.Column("sim_seed", sa.Text, nullable=False),
    sa.Column("chaos_seed", sa.Text, nullable=False),
    sa.Column("masks_version", sa.Text, nullable=False),
    # Of the packed file.
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("provenance", sa.Text, nullable=False),
    # The body of POST /v1/test-runs that asks for such a run again, in JSON.
    sa.Column("request", sa.Text, nullable=False),
    # Marks in JSON: who, why, at.
    sa.Column("captured", sa.Text),
    sa.Column("pinned", sa.Text),
    # Grows with each mark.
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Index(None, "identity"),
    sa.Index(None, "sha256"),
    sa.Index(None, "created_ms", "identity"),
)

# Which runs left it. A row goes with its run: a bundle that has none, and that nobody holds, is
# what a collection removes.
bundle_run = sa.Table(
    "bundle_run",
    metadata,
    sa.Column("run_id", sa.ForeignKey("run.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Index(None, "workspace", "identity"),
)

# One row for each approval that came into force; nothing is ever changed here. The highest number
# of a key is its baseline, and the primary key is what lets one of two win who approve at once.
baseline = sa.Table(
    "baseline",
    metadata,
    sa.Column("workspace", sa.Text, primary_key=True),
    sa.Column("suite", sa.Text, primary_key=True),
    sa.Column("profile", sa.Text, primary_key=True),
    sa.Column("engine_version", sa.Text, primary_key=True),
    sa.Column("python", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("identity", sa.Text, nullable=False),
    # Who and why, in JSON.
    sa.Column("approvals", sa.Text, nullable=False),
    sa.Column("provenance", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Index(None, "workspace", "identity"),
)

review = sa.Table(
    "review",
    metadata,
    # A hash of what is reviewed against what, so that a change is opened once.
    sa.Column("review_id", sa.Text, primary_key=True),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    # "" where there was no baseline.
    sa.Column("base", sa.Text, nullable=False),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("engine_version", sa.Text, nullable=False),
    sa.Column("python", sa.Text, nullable=False),
    # As `body` says, for whoever looks for open ones.
    sa.Column("state", sa.Text, nullable=False),
    # domain.review.Review in JSON.
    sa.Column("body", sa.Text, nullable=False),
    # regression, nondeterminism or unknown, as the comparison of the run says.
    sa.Column("cause", sa.Text),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Index(None, "workspace", "target"),
    sa.Index(None, "workspace", "base"),
    sa.Index(None, "created_ms", "review_id"),
)
