"""The tables of access: keys, sessions, login links, and the audit log with its head.

Moments are milliseconds, by the clock of whoever wrote them: what is compared with them, a lifetime
of minutes to years, does not notice how machines' clocks differ. In the audit log they are text,
because there they are hashed and read by people.
"""

import sqlalchemy as sa

from testops.storage.tables import metadata

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    # SHA-256 of the whole key, in hex. The key itself is nowhere.
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    # A JSON array, in order; None is every workspace.
    sa.Column("workspaces", sa.Text),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger),
    sa.Column("last_used_ms", sa.BigInteger),
    sa.Column("revoked_ms", sa.BigInteger),
    sa.Column("revoked_by", sa.Text),
    sa.Column("replaces", sa.Text),
    sa.Column("replaced_by", sa.Text),
)

session = sa.Table(
    "session",
    metadata,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    # session, by a login link; oidc, by the organisation's issuer.
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("workspaces", sa.Text),
    # The key whose login link opened it: it ends with that key.
    sa.Column("key_id", sa.Text),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("revoked_ms", sa.BigInteger),
    sa.Column("revoked_by", sa.Text),
    sa.Index(None, "key_id"),
    sa.Index(None, "expires_ms"),
)

login_link = sa.Table(
    "login_link",
    metadata,
    sa.Column("link_id", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("workspaces", sa.Text),
    sa.Column("key_id", sa.Text),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("session_until_ms", sa.BigInteger),
    sa.Column("used_ms", sa.BigInteger),
    sa.Index(None, "key_id"),
    sa.Index(None, "expires_ms"),
)

# Never updated and never deleted from: each row's hash covers the row before.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("actor_id", sa.Text, nullable=False),
    sa.Column("actor_name", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

# One row: the newest of the log. Whoever appends holds its lock until the end of the transaction.
audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("signer", sa.Text, nullable=False),
)
