"""Appends to the audit log, inside the transaction of whatever the row reports."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from testops.access.audit import NOTHING, Entry, Head, Row, Signer, link, resumption
from testops.domain.errors import InternalError
from testops.storage.access_tables import audit, audit_head
from testops.storage.database import Database

_HEAD_ID = 1


class AuditTable:
    """`access.ports.AuditStore` in SQL.

    Writers take turns: on PostgreSQL at the lock of the head's row, on SQLite at the database's.
    The lock is held until the transaction ends, so append last in a transaction of your own.
    """

    def __init__(self, database: Database, signer: Signer) -> None:
        self._database = database
        self._signer = signer

    def append(self, entry: Entry, connection: sa.Connection | None = None) -> Row:
        """`entry` in its place; with a `connection`, in the transaction that is open there."""
        if connection is not None:
            return self._append(connection, entry)
        with self._database.write() as own:
            return self._append(own, entry)

    def page(self, *, after: int, limit: int) -> tuple[Sequence[Row], Head | None]:
        query = sa.select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
        with self._database.read() as connection:
            rows = [_row(found) for found in connection.execute(query)]
            return rows, _head(connection, lock=False)

    def rows(self, *, after: int, limit: int) -> Sequence[Row]:
        """The rows behind number `after`, oldest first."""
        return self.page(after=after, limit=limit)[0]

    def head(self) -> Head | None:
        """The newest row's place and hash, signed; None before the first."""
        with self._database.read() as connection:
            return _head(connection, lock=False)

    def newest(self, *, before: int | None, limit: int) -> Sequence[Row]:
        query = sa.select(audit).order_by(audit.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.seq < before)
        with self._database.read() as connection:
            return [_row(found) for found in connection.execute(query)]

    def _append(self, connection: sa.Connection, entry: Entry) -> Row:
        head = _head(connection, lock=True) or self._first_head(connection)
        if not self._signer.trusts(head):
            head = self._add(connection, head, resumption(head, self._signer, at=entry.at))[1]
        return self._add(connection, head, entry)[0]

    def _add(self, connection: sa.Connection, head: Head, entry: Entry) -> tuple[Row, Head]:
        row = link(entry, head)
        new = self._signer.head(row)
        connection.execute(sa.insert(audit).values(_values(row)))
        connection.execute(
            sa.update(audit_head)
            .where(audit_head.c.id == _HEAD_ID)
            .values(seq=new.seq, hash=new.hash, signature=new.signature, signer=new.signer)
        )
        return row, new

    def _first_head(self, connection: sa.Connection) -> Head:
        """The head of an empty log, made by whoever comes first; the others wait and find it."""
        insert = sqlite_insert if self._database.is_sqlite else postgres_insert
        connection.execute(
            insert(audit_head)
            .values(id=_HEAD_ID, seq=0, hash=NOTHING.hash, signature="", signer="")
            .on_conflict_do_nothing()
        )
        head = _head(connection, lock=True)
        assert head is not None, "a head that was just made is there"
        # Asked under the lock: a writer that was first may have committed in between.
        rows = sa.select(audit.c.seq).limit(1)
        if head.seq == 0 and connection.execute(rows).first() is not None:
            raise InternalError("the audit log has rows and no head: see `testops audit verify`")
        return head


def _head(connection: sa.Connection, *, lock: bool) -> Head | None:
    query = sa.select(audit_head).where(audit_head.c.id == _HEAD_ID)
    found = connection.execute(query.with_for_update() if lock else query).first()
    if found is None:
        return None
    return Head(found.seq, found.hash, found.signature, found.signer)


def _values(row: Row) -> dict[str, Any]:
    entry = row.entry
    return {
        "seq": row.seq,
        "at": entry.at,
        "actor_kind": entry.actor_kind,
        "actor_id": entry.actor_id,
        "actor_name": entry.actor_name,
        "action": entry.action,
        "target": entry.target,
        "workspace": entry.workspace,
        "outcome": entry.outcome,
        "client": entry.client,
        "detail": json.dumps(dict(entry.detail), ensure_ascii=False, sort_keys=True),
        "previous": row.previous,
        "hash": row.hash,
    }


def _row(found: sa.Row[Any]) -> Row:
    entry = Entry(
        at=found.at,
        actor_kind=found.actor_kind,
        actor_id=found.actor_id,
        actor_name=found.actor_name,
        action=found.action,
        target=found.target,
        workspace=found.workspace,
        outcome=found.outcome,
        client=found.client,
        detail=_detail(found.detail),
    )
    return Row(found.seq, entry, found.previous, found.hash)


def _detail(text: str) -> dict[str, Any]:
    """What was kept; text that somebody broke is shown as it is, and has not the row's hash."""
    try:
        detail = json.loads(text)
    except ValueError:
        return {"unreadable": text}
    return detail if isinstance(detail, dict) else {"unreadable": text}
