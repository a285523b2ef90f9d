"""Keys, sessions and login links in SQL: `access.ports.AccessStore`.

Whatever is changed here is changed in one transaction with the audit row that says so. Locks are
taken in the order key, link, session, audit head, so two changes never wait for each other.
"""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from testops.access.audit import Entry, Signer
from testops.access.ports import Ending
from testops.access.records import Holder, KeyRecord, LinkRecord, SessionRecord
from testops.domain.access import Role
from testops.storage.access_tables import api_key, login_link, session
from testops.storage.audit import AuditTable
from testops.storage.database import Database


class AccessTables(AuditTable):
    """Everything about access in one database."""

    def __init__(self, database: Database, signer: Signer) -> None:
        super().__init__(database, signer)
        self._insert = sqlite_insert if database.is_sqlite else postgres_insert

    # --- keys -----------------------------------------------------------------------------------

    def key(self, key_id: str) -> KeyRecord | None:
        with self._database.read() as connection:
            found = connection.execute(sa.select(api_key).where(api_key.c.key_id == key_id)).first()
        return None if found is None else _key(found)

    def all_keys(self) -> Sequence[KeyRecord]:
        query = sa.select(api_key).order_by(api_key.c.created_ms, api_key.c.key_id)
        with self._database.read() as connection:
            return [_key(found) for found in connection.execute(query)]

    def add_key(self, record: KeyRecord, entry: Entry) -> bool:
        with self._database.write() as connection:
            if not self._add_key(connection, record):
                return False
            self.append(entry, connection)
        return True

    def replace_key(self, key_id: str, *, old_until_ms: int, by: KeyRecord, entry: Entry) -> bool:
        usable = sa.and_(
            api_key.c.key_id == key_id,
            api_key.c.revoked_ms.is_(None),
            api_key.c.replaced_by.is_(None),
            sa.or_(api_key.c.expires_ms.is_(None), api_key.c.expires_ms > by.created_ms),
        )
        changed = {"replaced_by": by.key_id, "expires_ms": old_until_ms}
        with self._database.write() as connection:
            if connection.execute(sa.update(api_key).where(usable).values(changed)).rowcount != 1:
                return False
            added = self._add_key(connection, by)
            assert added, f"the id {by.key_id} was drawn before"
            _end_what_came_of(connection, key_id, old_until_ms)
            self.append(entry, connection)
        return True

    def revoke_key(self, key_id: str, ending: Ending, entry: Entry) -> bool:
        there = sa.and_(api_key.c.key_id == key_id, api_key.c.revoked_ms.is_(None))
        changed = {"revoked_ms": ending.at_ms, "revoked_by": ending.by}
        with self._database.write() as connection:
            if connection.execute(sa.update(api_key).where(there).values(changed)).rowcount != 1:
                return False
            _end_what_came_of(connection, key_id, ending.at_ms)
            self.append(entry, connection)
        return True

    def restore_key(self, key_id: str, entry: Entry) -> bool:
        there = sa.and_(api_key.c.key_id == key_id, api_key.c.revoked_ms.is_not(None))
        changed = {"revoked_ms": None, "revoked_by": None}
        with self._database.write() as connection:
            if connection.execute(sa.update(api_key).where(there).values(changed)).rowcount != 1:
                return False
            self.append(entry, connection)
        return True

    def touch_key(self, key_id: str, *, at_ms: int, unless_since_ms: int) -> None:
        stale = sa.or_(api_key.c.last_used_ms.is_(None), api_key.c.last_used_ms <= unless_since_ms)
        with self._database.write() as connection:
            connection.execute(
                sa.update(api_key)
                .where(api_key.c.key_id == key_id, stale)
                .values(last_used_ms=at_ms)
            )

    def _add_key(self, connection: sa.Connection, record: KeyRecord) -> bool:
        values = {
            "key_id": record.key_id,
            "digest": record.digest,
            **_holder_values(record.holder),
            "origin": record.origin,
            "created_by": record.created_by,
            "created_ms": record.created_ms,
            "expires_ms": record.expires_ms,
            "replaces": record.replaces,
        }
        added = self._insert(api_key).values(values).on_conflict_do_nothing()
        return connection.execute(added.returning(api_key.c.key_id)).first() is not None

    # --- sessions and links ---------------------------------------------------------------------

    def session(self, digest: str) -> SessionRecord | None:
        return self._session(session.c.digest == digest)

    def session_by_id(self, session_id: str) -> SessionRecord | None:
        return self._session(session.c.session_id == session_id)

    def add_session(self, record: SessionRecord, entry: Entry) -> None:
        with self._database.write() as connection:
            connection.execute(sa.insert(session).values(_session_values(record)))
            self.append(entry, connection)

    def close_session(self, session_id: str, ending: Ending, entry: Entry) -> bool:
        there = sa.and_(session.c.session_id == session_id, session.c.revoked_ms.is_(None))
        changed = {"revoked_ms": ending.at_ms, "revoked_by": ending.by}
        with self._database.write() as connection:
            if connection.execute(sa.update(session).where(there).values(changed)).rowcount != 1:
                return False
            self.append(entry, connection)
        return True

    def add_link(self, record: LinkRecord, entry: Entry) -> None:
        values = {
            "link_id": record.link_id,
            "digest": record.digest,
            **_holder_values(record.holder),
            "key_id": record.key_id,
            "created_ms": record.created_ms,
            "expires_ms": record.expires_ms,
            "session_until_ms": record.session_until_ms,
        }
        with self._database.write() as connection:
            connection.execute(sa.insert(login_link).values(values))
            self.append(entry, connection)

    def link(self, digest: str) -> LinkRecord | None:
        query = sa.select(login_link).where(login_link.c.digest == digest)
        with self._database.read() as connection:
            found = connection.execute(query).first()
        return None if found is None else _link(found)

    def redeem_link(
        self, link_id: str, *, now_ms: int, session: SessionRecord, entry: Entry
    ) -> bool:
        unused = sa.and_(
            login_link.c.link_id == link_id,
            login_link.c.used_ms.is_(None),
            login_link.c.expires_ms > now_ms,
        )
        used = sa.update(login_link).where(unused).values(used_ms=now_ms)
        with self._database.write() as connection:
            # A key that was revoked a moment ago may have made this link a moment later.
            if session.key_id is not None and not _usable(connection, session.key_id, now_ms):
                return False
            if connection.execute(used).rowcount != 1:
                return False
            connection.execute(sa.insert(_SESSION).values(_session_values(session)))
            self.append(entry, connection)
        return True

    def forget_ended(self, *, before_ms: int) -> int:
        return forget_ended(self._database, before_ms=before_ms)

    def _session(self, wanted: sa.ColumnElement[bool]) -> SessionRecord | None:
        with self._database.read() as connection:
            found = connection.execute(sa.select(session).where(wanted)).first()
        return None if found is None else _session_record(found)


def forget_ended(database: Database, *, before_ms: int) -> int:
    """Delete sessions and links that ended before that; how many. Their audit rows stay."""
    ended = sa.or_(session.c.expires_ms < before_ms, session.c.revoked_ms < before_ms)
    with database.write() as connection:
        links = sa.delete(login_link).where(login_link.c.expires_ms < before_ms)
        return (
            connection.execute(links).rowcount
            + connection.execute(sa.delete(session).where(ended)).rowcount
        )


# `redeem_link` takes a session, as its port says.
_SESSION = session


def _usable(connection: sa.Connection, key_id: str, now_ms: int) -> bool:
    """Whether the key still opens doors; it cannot be revoked before this transaction ends."""
    query = (
        sa.select(api_key.c.key_id)
        .where(
            api_key.c.key_id == key_id,
            api_key.c.revoked_ms.is_(None),
            sa.or_(api_key.c.expires_ms.is_(None), api_key.c.expires_ms > now_ms),
        )
        .with_for_update(read=True)
    )
    return connection.execute(query).first() is not None


def _end_what_came_of(connection: sa.Connection, key_id: str, until_ms: int) -> None:
    """Links and sessions of a key last no longer than the key does."""
    for table in (login_link, session):
        connection.execute(
            sa.update(table)
            .where(table.c.key_id == key_id, table.c.expires_ms > until_ms)
            .values(expires_ms=until_ms)
        )


def _holder_values(holder: Holder) -> dict[str, Any]:
    workspaces = holder.workspaces
    return {
        "name": holder.name,
        "role": holder.role.value,
        "workspaces": None if workspaces is None else json.dumps(sorted(workspaces)),
    }


def _holder(found: sa.Row[Any]) -> Holder:
    workspaces = found.workspaces
    return Holder(
        found.name,
        Role(found.role),
        None if workspaces is None else frozenset(json.loads(workspaces)),
    )


def _session_values(record: SessionRecord) -> dict[str, Any]:
    return {
        "session_id": record.session_id,
        "digest": record.digest,
        "kind": record.kind,
        **_holder_values(record.holder),
        "key_id": record.key_id,
        "created_ms": record.created_ms,
        "expires_ms": record.expires_ms,
    }


def _key(found: sa.Row[Any]) -> KeyRecord:
    return KeyRecord(
        key_id=found.key_id,
        digest=found.digest,
        holder=_holder(found),
        origin=found.origin,
        created_by=found.created_by,
        created_ms=found.created_ms,
        expires_ms=found.expires_ms,
        last_used_ms=found.last_used_ms,
        revoked_ms=found.revoked_ms,
        revoked_by=found.revoked_by,
        replaces=found.replaces,
        replaced_by=found.replaced_by,
    )


def _session_record(found: sa.Row[Any]) -> SessionRecord:
    return SessionRecord(
        session_id=found.session_id,
        digest=found.digest,
        kind=found.kind,
        holder=_holder(found),
        key_id=found.key_id,
        created_ms=found.created_ms,
        expires_ms=found.expires_ms,
        revoked_ms=found.revoked_ms,
    )


def _link(found: sa.Row[Any]) -> LinkRecord:
    return LinkRecord(
        link_id=found.link_id,
        digest=found.digest,
        holder=_holder(found),
        key_id=found.key_id,
        created_ms=found.created_ms,
        expires_ms=found.expires_ms,
        session_until_ms=found.session_until_ms,
        used_ms=found.used_ms,
    )
