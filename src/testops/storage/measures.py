"""What all runs together look like, for the page of metrics, in one short read."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from testops.domain.execution import LEASE_MS
from testops.domain.run import RunState
from testops.storage.database import Database
from testops.storage.tables import attempt, lease, run, stage_execution
from testops.telemetry.metrics import RunFacts, StageFacts


class Measures:
    """The facts by SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> RunFacts:
        """All of them, of one moment."""
        with self._database.read() as connection:
            return RunFacts(
                states=self._counts(connection, run.c.state),
                verdicts=self._counts(connection, run.c.verdict),
                oldest_queued_s=self._oldest_queued_s(connection),
                executors=self._executors(connection),
                takeovers=self._takeovers(connection),
                stages=self._stages(connection),
            )

    def _counts(self, connection: sa.Connection, column: sa.Column[Any]) -> dict[str, int]:
        counted = sa.select(column, sa.func.count()).where(column.is_not(None)).group_by(column)
        return {str(value): int(count) for value, count in connection.execute(counted)}

    def _oldest_queued_s(self, connection: sa.Connection) -> float | None:
        first = sa.select(sa.func.min(run.c.queued_at)).where(run.c.state == RunState.QUEUED.value)
        queued_at = connection.execute(first).scalar()
        if queued_at is None:
            return None
        waited = self._database.now_ms / 1000.0 - self._seconds(sa.literal(queued_at, sa.Text))
        return max(0.0, float(connection.execute(sa.select(waited)).scalar_one()))

    def _executors(self, connection: sa.Connection) -> dict[str, int]:
        good = lease.c.beat_ms >= self._database.now_ms - LEASE_MS
        counted = sa.select(lease.c.kind, sa.func.count()).where(good).group_by(lease.c.kind)
        return {str(kind): int(count) for kind, count in connection.execute(counted)}

    def _takeovers(self, connection: sa.Connection) -> int:
        """Every taking raises the fence; the first one of each attempt is no take-over."""
        takings = connection.execute(sa.select(sa.func.sum(run.c.fence))).scalar() or 0
        first = sa.select(sa.func.count()).where(attempt.c.started_at.is_not(None))
        return max(0, int(takings) - int(connection.execute(first).scalar_one()))

    def _stages(self, connection: sa.Connection) -> list[StageFacts]:
        table = stage_execution.c
        took = self._seconds(table.ended_at) - self._seconds(table.started_at)
        counted = (
            sa.select(table.stage, table.outcome, sa.func.count(), sa.func.sum(took))
            .where(table.outcome.is_not(None))
            .group_by(table.stage, table.outcome)
            .order_by(table.stage, table.outcome)
        )
        return [
            StageFacts(stage, outcome, int(count), float(seconds or 0.0))
            for stage, outcome, count, seconds in connection.execute(counted)
        ]

    def _seconds(self, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[float]:
        """Seconds since 1970 of a moment that is kept as text."""
        if self._database.is_sqlite:
            return (sa.func.julianday(moment, type_=sa.Float) - 2440587.5) * 86400.0
        stamp = sa.cast(moment, sa.DateTime(timezone=True))
        return sa.cast(sa.func.extract("epoch", stamp), sa.Float)


def tell_failures(database: Database, told: Callable[[str], None]) -> None:
    """Call `told` whenever a statement fails for a reason that trying again may cure."""

    def failed(context: sa.engine.ExceptionContext) -> None:
        if context.is_disconnect:
            told("disconnected")
        elif isinstance(context.sqlalchemy_exception, sa.exc.OperationalError):
            locked = "locked" in str(context.original_exception)
            told("locked" if locked else "other")

    sa.event.listen(database.engine, "handle_error", failed)
