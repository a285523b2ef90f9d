"""A finished attempt as spans: what the tables say of it, whoever executed which part."""

import sqlalchemy as sa

from testops.storage.database import Database
from testops.storage.tables import attempt, run, stage_execution
from testops.telemetry.traces import RunSpan, StageSpan


def span_of(database: Database, run_id: str, number: int) -> RunSpan | None:
    """The spans of attempt `number`; None while it has not ended, or when it never started."""
    with database.read() as connection:
        row = connection.execute(
            sa.select(run.c.suite, run.c.profile, run.c.traceparent, attempt)
            .join(attempt, attempt.c.run_id == run.c.run_id)
            .where(run.c.run_id == run_id, attempt.c.attempt == number)
        ).first()
        executions = connection.execute(
            sa.select(stage_execution)
            .where(
                stage_execution.c.run_id == run_id,
                stage_execution.c.attempt == number,
                stage_execution.c.ended_at.is_not(None),
            )
            .order_by(stage_execution.c.started_at, stage_execution.c.number)
        ).all()
    if row is None or row.started_at is None or row.finished_at is None:
        return None
    return RunSpan(
        run_id=run_id,
        attempt=number,
        suite=row.suite,
        profile=row.profile,
        state=row.state,
        verdict=row.verdict,
        started_at=row.started_at,
        ended_at=row.finished_at,
        stages=[
            StageSpan(
                stage=one.stage,
                number=one.number,
                started_at=one.started_at,
                ended_at=one.ended_at,
                outcome=one.outcome,
                failed=one.cause is not None,
                executor_id=one.executor_id,
            )
            for one in executions
        ],
        traceparent=row.traceparent,
    )
