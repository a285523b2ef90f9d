"""`History` of a workspace by SQL: its ended attempts, with what their stages measured."""

import json
from collections.abc import Sequence

import sqlalchemy as sa

from testops.domain.history import PastRun
from testops.domain.run import RunState
from testops.domain.verdict import Verdict
from testops.runner.history import measured_in
from testops.storage.database import Database
from testops.storage.tables import attempt, run, stage_result


class WorkspaceHistory:
    """The ended attempts of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def runs(
        self, *, suite: str, profile: str | None, verdicts: frozenset[Verdict], limit: int
    ) -> Sequence[PastRun]:
        """The newest `limit` finished attempts of `suite`, newest first; of any profile if None."""
        conditions = [
            run.c.suite == suite,
            attempt.c.state == RunState.FINISHED.value,
            attempt.c.verdict.in_(sorted(verdict.value for verdict in verdicts)),
        ]
        if profile is not None:
            conditions.append(run.c.profile == profile)
        with self._database.read() as connection:
            rows = connection.execute(self._ended(*conditions).limit(limit)).all()
            return [self._past_run(connection, row) for row in rows]

    def attempts(self, run_id: str) -> Sequence[PastRun]:
        """Every ended attempt of that run, the newest first, also one that was cut short."""
        ended = self._ended(run.c.run_id == run_id, attempt.c.verdict.is_not(None))
        with self._database.read() as connection:
            rows = connection.execute(ended).all()
            return [self._past_run(connection, row) for row in rows]

    def _ended(self, *conditions: sa.ColumnElement[bool]) -> sa.Select[tuple[object, ...]]:
        columns = (
            run.c.run_id,
            run.c.suite,
            run.c.profile,
            run.c.commit,
            run.c.engine_version,
            attempt.c.attempt,
            attempt.c.state,
            attempt.c.verdict,
            attempt.c.finished_at,
        )
        return (
            sa.select(*columns)
            .join(attempt, attempt.c.run_id == run.c.run_id)
            .where(
                run.c.workspace == self._workspace, attempt.c.finished_at.is_not(None), *conditions
            )
            .order_by(attempt.c.finished_at.desc(), run.c.run_id, attempt.c.attempt.desc())
        )

    def _past_run(self, connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> PastRun:
        kept = connection.execute(
            sa.select(stage_result.c.report, stage_result.c.gates)
            .where(stage_result.c.run_id == row.run_id, stage_result.c.attempt == row.attempt)
            .order_by(stage_result.c.recorded_at, stage_result.c.stage)
        ).all()
        gates = [gate for one in kept for gate in json.loads(one.gates)]
        return PastRun(
            run_id=row.run_id,
            attempt=row.attempt,
            suite=row.suite,
            profile=row.profile,
            state=RunState(row.state),
            verdict=Verdict(row.verdict),
            finished_at=row.finished_at,
            commit=row.commit,
            engine_version=row.engine_version,
            **measured_in([json.loads(one.report) for one in kept], gates),
        )
