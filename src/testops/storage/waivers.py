"""Waivers by SQL. What one does is said by `warroom.waivers`, who may write one by the API."""

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from testops.domain.waiver import Waiver, moment_of
from testops.storage.database import Database
from testops.storage.gate_tables import waiver

LISTED_MAX = 500


class WaiverStore:
    """The waivers of every workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, workspace: str) -> Sequence[Waiver]:
        """Those of a workspace that nobody withdrew, also the expired: a gate says when it was."""
        wanted = (
            sa.select(waiver)
            .where(waiver.c.workspace == workspace, waiver.c.withdrawn_at.is_(None))
            .order_by(waiver.c.expires.desc(), waiver.c.waiver_id)
            .limit(LISTED_MAX)
        )
        with self._database.read() as connection:
            return [_view(row) for row in connection.execute(wanted)]

    def all(self, workspaces: frozenset[str] | None) -> Sequence[Waiver]:
        """The newest, of those workspaces or (None) of all, without those that were withdrawn."""
        wanted = (
            sa.select(waiver)
            .where(waiver.c.withdrawn_at.is_(None))
            .order_by(waiver.c.created_at.desc(), waiver.c.waiver_id)
            .limit(LISTED_MAX)
        )
        if workspaces is not None:
            wanted = wanted.where(waiver.c.workspace.in_(sorted(workspaces)))
        with self._database.read() as connection:
            return [_view(row) for row in connection.execute(wanted)]

    def get(self, waiver_id: str) -> Waiver | None:
        """One that was not withdrawn."""
        wanted = sa.select(waiver).where(
            waiver.c.waiver_id == waiver_id, waiver.c.withdrawn_at.is_(None)
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).first()
        return None if row is None else _view(row)

    def add(self, new: Waiver, *, workspace: str, by: str) -> Waiver:
        """Keep it, in the name of `by`."""
        with self._database.write() as connection:
            moment = self._database.moment(connection)
            count = connection.execute(sa.select(sa.func.count()).select_from(waiver)).scalar_one()
            said = f"{workspace}\0{new.suite}\0{new.gate}\0{moment.text}\0{count}"
            row = connection.execute(
                sa.insert(waiver)
                .values(
                    waiver_id=hashlib.sha256(said.encode()).hexdigest()[:16],
                    workspace=workspace,
                    suite=new.suite,
                    gate=new.gate,
                    owner=new.owner,
                    reason=new.reason,
                    expires=new.expires,
                    up_to=new.up_to,
                    ticket=new.ticket,
                    created_by=by,
                    created_at=moment.text,
                )
                .returning(*waiver.c)
            ).one()
        return _view(row)

    def withdraw(self, waiver_id: str, *, by: str) -> bool:
        """End it now; whether it was there."""
        with self._database.write() as connection:
            moment = self._database.moment(connection)
            done = connection.execute(
                sa.update(waiver)
                .where(waiver.c.waiver_id == waiver_id, waiver.c.withdrawn_at.is_(None))
                .values(withdrawn_by=by, withdrawn_at=moment.text)
            )
        return done.rowcount == 1


def withdraw_of_workspace(connection: sa.Connection, workspace: str, at: str) -> None:
    """End those of a workspace that is removed: another of its name begins without any."""
    connection.execute(
        sa.update(waiver)
        .where(waiver.c.workspace == workspace, waiver.c.withdrawn_at.is_(None))
        .values(withdrawn_by="workspace removed", withdrawn_at=at)
    )


def _view(row: Any) -> Waiver:
    return Waiver(
        suite=row.suite,
        gate=row.gate,
        owner=row.owner,
        reason=row.reason,
        expires_at=moment_of(row.expires),
        up_to=row.up_to,
        ticket=row.ticket,
        waiver_id=row.waiver_id,
        workspace=row.workspace,
        created_by=row.created_by,
        created_at=row.created_at,
    )
