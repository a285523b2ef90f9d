"""Executing runs: taking one, telling what happens, and keeping what every stage answered once."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from testops.domain.event import EventType, NewEvent
from testops.domain.execution import (
    AlreadyRecorded,
    Artifact,
    Ending,
    StageRecord,
    Taken,
    Watched,
    overdue,
)
from testops.domain.run import RunState
from testops.domain.run_view import gate_shown
from testops.storage.database import Database, column_text
from testops.storage.events import append
from testops.storage.run_rows import OPEN, end_attempt, take_run, text_of, view_of_run
from testops.storage.snapshot_rows import open_review, register
from testops.storage.tables import artifact, run, stage_execution, stage_result


class ExecutionsStore:
    """The writes of those who execute runs, each under the fence of its run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def expire_queued(self) -> list[str]:
        """End the runs whose deadline passed while they waited; which."""
        late = sa.select(run.c.run_id).where(
            run.c.state == RunState.QUEUED.value, run.c.deadline_ms < self._database.now_ms
        )
        with self._database.read() as connection:
            if connection.execute(late.limit(1)).first() is None:
                # Asked every second, and there is hardly ever one: nobody waits for our turn.
                return []
        with self._database.write() as connection:
            # Every runner looks: without the lock two would end the same attempt, and one would end
            # what was taken or begun anew since it looked.
            locked = late.order_by(run.c.run_id).with_for_update(skip_locked=True)
            ids = list(connection.execute(locked).scalars())
            for run_id in ids:
                end_attempt(self._database, connection, run_id, overdue(started=False), fence=None)
        return ids

    def take(self, run_id: str, number: int, executor_id: str) -> Taken | None:
        """Begin to execute attempt `number`; None when it has ended or is not the newest.

        Whoever held it before can record nothing from now on.
        """
        with self._database.write() as connection:
            return take_run(self._database, connection, run_id, number, executor_id)

    def look(self, run_id: str, number: int) -> Taken | None:
        """Attempt `number` while it runs in other hands; nothing may be recorded with this."""
        with self._database.read() as connection:
            view = view_of_run(self._database, connection, run_id)
        if view is None or view.attempt != number or view.state is not RunState.RUNNING:
            return None
        return Taken(view, fence=0, recorded=frozenset())

    def begin_stage(self, taken: Taken, stage: str, executor_id: str) -> int:
        """The how-manieth execution of `stage` now begins; told as `stage.started`."""
        run_id, number = taken.run.run_id, taken.run.attempt
        with self._database.write() as connection:
            begun = sa.select(sa.func.coalesce(sa.func.max(stage_execution.c.number), 0)).where(
                stage_execution.c.run_id == run_id,
                stage_execution.c.attempt == number,
                stage_execution.c.stage == stage,
            )
            # The row lock that this takes is what makes the count below exact.
            event = NewEvent(EventType.STAGE_STARTED, {"stage": stage})
            moment = append(connection, self._database, run_id, [event], fence=taken.fence)
            execution = int(connection.execute(begun).scalar_one()) + 1
            connection.execute(
                sa.update(stage_execution)
                .where(
                    stage_execution.c.run_id == run_id,
                    stage_execution.c.attempt == number,
                    stage_execution.c.stage == stage,
                    stage_execution.c.ended_at.is_(None),
                )
                .values(ended_at=moment.text, outcome="lost", cause="infrastructure")
            )
            connection.execute(
                sa.insert(stage_execution).values(
                    run_id=run_id,
                    attempt=number,
                    stage=stage,
                    number=execution,
                    executor_id=executor_id,
                    started_at=moment.text,
                )
            )
        return execution

    def tell(self, taken: Taken, events: Sequence[NewEvent]) -> None:
        """Append what a stage told while it runs."""
        with self._database.write() as connection:
            append(connection, self._database, taken.run.run_id, events, fence=taken.fence)

    def record(self, taken: Taken, kept: StageRecord) -> None:
        """Keep the one result of a stage, with its events and artifacts; `Fenced` when not ours."""
        run_id, number = taken.run.run_id, taken.run.attempt
        events = [
            NewEvent(EventType.GATE_EVALUATED, {"gate": gate_shown(gate)}) for gate in kept.gates
        ]
        events.append(NewEvent(EventType.STAGE_FINISHED, _told_of(kept.report)))
        with self._database.write() as connection:
            moment = append(connection, self._database, run_id, events, fence=taken.fence)
            known = sa.select(stage_result.c.stage).where(
                stage_result.c.run_id == run_id,
                stage_result.c.attempt == number,
                stage_result.c.stage == kept.stage,
            )
            if connection.execute(known).first() is not None:
                raise AlreadyRecorded(kept.stage)
            connection.execute(
                sa.insert(stage_result).values(
                    run_id=run_id,
                    attempt=number,
                    stage=kept.stage,
                    report=text_of(kept.report),
                    gates=text_of(kept.gates),
                    recorded_at=moment.text,
                )
            )
            connection.execute(
                sa.update(stage_execution)
                .where(
                    stage_execution.c.run_id == run_id,
                    stage_execution.c.attempt == number,
                    stage_execution.c.stage == kept.stage,
                    stage_execution.c.ended_at.is_(None),
                )
                .values(ended_at=moment.text, outcome=str(kept.report["state"]), cause=kept.cause)
            )
            self._keep_artifacts(connection, run_id, number, kept.artifacts)
            self._keep_snapshots(connection, taken, kept)

    def _keep_snapshots(self, connection: sa.Connection, taken: Taken, kept: StageRecord) -> None:
        workspace = taken.run.workspace
        if kept.bundle is not None:
            left_by = (taken.run.run_id, taken.run.attempt)
            register(connection, self._database, kept.bundle, workspace=workspace, left_by=left_by)
        if kept.opened is not None:
            open_review(
                connection,
                self._database,
                kept.opened.review,
                workspace=workspace,
                cause=kept.opened.cause,
            )

    def _keep_artifacts(
        self, connection: sa.Connection, run_id: str, number: int, left: Sequence[Artifact]
    ) -> None:
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        for one in left:
            facts = {"sha256": one.sha256, "size": one.size, "media_type": one.media_type}
            connection.execute(
                insert(artifact)
                .values(run_id=run_id, attempt=number, path=column_text(one.path), **facts)
                # A later stage may write a report again; what is kept is the last.
                .on_conflict_do_update(
                    index_elements=[artifact.c.run_id, artifact.c.attempt, artifact.c.path],
                    set_=facts,
                )
            )

    def finish(self, taken: Taken, ending: Ending) -> None:
        """End the attempt; `Fenced` when it is not ours any more."""
        with self._database.write() as connection:
            end_attempt(self._database, connection, taken.run.run_id, ending, fence=taken.fence)

    def abandon(self, run_id: str, number: int, ending: Ending) -> bool:
        """End an attempt that nobody can execute any more; whether it was still open."""
        with self._database.write() as connection:
            fenced_off = (
                sa.update(run)
                .where(run.c.run_id == run_id, run.c.attempt == number, run.c.state.in_(OPEN))
                .values(fence=run.c.fence + 1)
            )
            if connection.execute(fenced_off).rowcount == 0:
                return False
            end_attempt(self._database, connection, run_id, ending, fence=None)
        return True

    def watch(self, run_ids: Sequence[str]) -> Sequence[Watched]:
        """How the runs of an executor stand: somebody may have cancelled one, or taken it."""
        overdue_now = sa.func.coalesce(run.c.deadline_ms < self._database.now_ms, sa.false())
        wanted = sa.select(
            run.c.run_id, run.c.fence, run.c.state, run.c.cancel_requested_by, overdue_now
        ).where(run.c.run_id.in_(run_ids))
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        return [
            Watched(run_id, fence, RunState(state), by, bool(late))
            for run_id, fence, state, by, late in rows
        ]

    def open_runs(self) -> Sequence[tuple[str, int, str, str | None]]:
        """Every attempt that has not ended: run id, attempt, state, executor."""
        wanted = (
            sa.select(run.c.run_id, run.c.attempt, run.c.state, run.c.executor_id)
            .where(run.c.state.in_(OPEN))
            .order_by(run.c.created_ms, run.c.run_id)
        )
        with self._database.read() as connection:
            return [tuple(row) for row in connection.execute(wanted)]


def _told_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What `stage.finished` says: the report without its findings, which can be long."""
    told = {name: report.get(name) for name in ("state", "verdict", "attempts", "metrics")}
    wall_s = round(sum(one["wall_s"] for one in report.get("attempt_log", ())), 3)
    return {
        "stage": report["name"],
        **told,
        "wall_s": wall_s,
        "findings": len(report.get("findings", ())),
        "reason": report.get("reason", ""),
    }
