"""Signs of life of executors. By the database's clock only: the machines' clocks need not agree."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from testops.domain.execution import LEASE_MS, Executor, Lease
from testops.storage.database import Database
from testops.storage.tables import lease


class LeaseStore:
    """The leases by SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, executor: Executor) -> None:
        """Say that `executor` lives."""
        now = self._database.now_ms
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        facts = {
            "kind": executor.kind,
            "host": executor.host,
            "pid": executor.pid,
            "cores": executor.cores,
            "version": executor.version,
        }
        # SQLite's one runner has the same id after each start: another process, maybe of a newer
        # version.
        is_new = sa.or_(lease.c.pid != executor.pid, lease.c.host != executor.host)
        begun = sa.case((is_new, now), else_=lease.c.started_ms)
        said = (
            insert(lease)
            .values(executor_id=executor.executor_id, started_ms=now, beat_ms=now, **facts)
            .on_conflict_do_update(
                index_elements=[lease.c.executor_id],
                set_={"beat_ms": now, "started_ms": begun, **facts},
            )
        )
        with self._database.write() as connection:
            connection.execute(said)

    def leave(self, executor_id: str) -> None:
        """Say that an executor goes: its runs may be taken over at once."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(lease).where(lease.c.executor_id == executor_id).values(beat_ms=0)
            )

    def forget(self, executor_id: str) -> None:
        """Remove the lease of a dead executor whose runs are in other hands."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(lease).where(
                    lease.c.executor_id == executor_id,
                    lease.c.beat_ms < self._database.now_ms - LEASE_MS,
                )
            )

    def all(self) -> Sequence[Lease]:
        """Every lease, the oldest executor first."""
        silent = (self._database.now_ms - lease.c.beat_ms).label("silent_ms")
        wanted = sa.select(lease, silent).order_by(lease.c.started_ms, lease.c.executor_id)
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        return [
            Lease(
                Executor(row.executor_id, row.kind, row.host, row.pid, row.cores, row.version),
                row.started_ms,
                row.silent_ms,
            )
            for row in rows
        ]
