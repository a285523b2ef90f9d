"""Named policies by SQL: every version is kept, the newest is the one that is meant."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from testops.domain.policy import Policy
from testops.domain.scoring import KeptPolicy
from testops.storage.database import Database
from testops.storage.gate_tables import policy
from testops.storage.run_rows import text_of

_REMOVED = ""


class PolicyStore:
    """The policies, as the API changes them and as runs take them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def called(self, name: str) -> Policy | None:
        """The newest version of `name`, for a run; None where there is none, or it was removed."""
        kept = self.get(name)
        return None if kept is None else Policy.model_validate(kept.definition)

    def get(self, name: str, version: int | None = None) -> KeptPolicy | None:
        """That version, or the newest; None where it is not there or is a removal."""
        wanted = sa.select(policy).where(policy.c.name == name)
        if version is not None:
            wanted = wanted.where(policy.c.version == version)
        with self._database.read() as connection:
            row = connection.execute(wanted.order_by(policy.c.version.desc()).limit(1)).first()
        return None if row is None or row.definition is None else _view(row)

    def all(self) -> Sequence[KeptPolicy]:
        """The newest version of each, by name."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(policy).where(_is_newest())).all()
        kept = [_view(row) for row in rows if row.definition is not None]
        return sorted(kept, key=lambda one: one.name)

    def versions(self, name: str) -> Sequence[KeptPolicy]:
        """Every version of it that is no removal, the newest first."""
        wanted = (
            sa.select(policy)
            .where(policy.c.name == name, policy.c.definition.is_not(None))
            .order_by(policy.c.version.desc())
        )
        with self._database.read() as connection:
            return [_view(row) for row in connection.execute(wanted)]

    def put(
        self,
        name: str,
        definition: Policy,
        digest_of: Callable[[Policy], str],
        *,
        base: int | None,
        by: str,
    ) -> KeptPolicy | None:
        """The next version, based on the version `base` (None: there was none).

        None when the newest is not `base`: somebody was faster.
        """
        with self._database.write() as connection:
            newest = self._newest(connection, name)
            exists = newest is not None and newest.definition is not None
            if (newest.version if exists else None) != base:
                return None
            version = 1 if newest is None else newest.version + 1
            counted = definition.model_copy(update={"version": version})
            spelled = counted.model_dump(mode="json", by_alias=True)
            row = self._insert(connection, name, version, text_of(spelled), digest_of(counted), by)
            return None if row is None else _view(row)

    def remove(self, name: str, *, base: int | None, by: str) -> bool:
        """Whether it was there (and of version `base`, where one is given); its versions stay."""
        with self._database.write() as connection:
            newest = self._newest(connection, name)
            if newest is None or newest.definition is None or base not in (None, newest.version):
                return False
            version = newest.version + 1
            return self._insert(connection, name, version, None, _REMOVED, by) is not None

    def _newest(self, connection: sa.Connection, name: str) -> Any:
        wanted = sa.select(policy).where(policy.c.name == name)
        return connection.execute(wanted.order_by(policy.c.version.desc()).limit(1)).first()

    def _insert(
        self,
        connection: sa.Connection,
        name: str,
        version: int,
        definition: str | None,
        digest: str,
        by: str,
    ) -> Any:
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        put = (
            insert(policy)
            .values(
                name=name,
                version=version,
                definition=definition,
                digest=digest,
                created_by=by,
                created_at=self._database.moment(connection).text,
            )
            # Two who base on one version: the key lets one of them in.
            .on_conflict_do_nothing()
            .returning(*policy.c)
        )
        return connection.execute(put).first()


def _is_newest() -> sa.ColumnElement[bool]:
    newer = policy.alias("newer")
    later = sa.select(sa.literal(1)).where(
        newer.c.name == policy.c.name, newer.c.version > policy.c.version
    )
    return ~later.exists()


def _view(row: Any) -> KeptPolicy:
    return KeptPolicy(
        name=row.name,
        version=row.version,
        digest=row.digest,
        definition=json.loads(row.definition),
        created_by=row.created_by,
        created_at=row.created_at,
    )
