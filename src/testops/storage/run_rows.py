"""Rows of runs as values, and the two moves that more than one store makes: taking and ending.

Whoever executes a run has taken it and holds its *fence*. Each write of an execution names that
fence in the transaction that appends its event, so one that was taken over (its machine slept, its
network was cut) can record nothing any more, however late it wakes up.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from testops.domain.event import EventType, NewEvent
from testops.domain.execution import Ending, Taken
from testops.domain.run import Build, RunState
from testops.domain.run_view import RunView, StageView, gate_shown, state_of_stage
from testops.domain.seeds import Seeds
from testops.domain.verdict import ExitCode, Verdict
from testops.storage.database import Database, Moment, column_text
from testops.storage.events import append
from testops.storage.tables import attempt, run, stage_execution, stage_result, turn

OPEN = ("queued", "running")


def view_of_run(database: Database, connection: sa.Connection, run_id: str) -> RunView | None:
    """The run with the stages and gates of its newest attempt; None when there is no such run."""
    row = connection.execute(sa.select(run).where(run.c.run_id == run_id)).first()
    if row is None:
        return None
    here = (run_id, row.attempt)
    results = {
        result.stage: result
        for result in connection.execute(
            sa.select(stage_result).where(
                sa.tuple_(stage_result.c.run_id, stage_result.c.attempt) == sa.tuple_(*here)
            )
        )
    }
    counted = (
        sa.select(stage_execution.c.stage, sa.func.count())
        .where(stage_execution.c.run_id == run_id, stage_execution.c.attempt == row.attempt)
        .group_by(stage_execution.c.stage)
    )
    begun: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
    stages = []
    gates: list[Mapping[str, Any]] = []
    for name in json.loads(row.question)["stages"]:
        result = results.get(name)
        report = None if result is None else json.loads(result.report)
        executions = begun.get(name, 0)
        state = state_of_stage(executions=executions, run_state=RunState(row.state))
        stages.append(StageView(name, state, executions, report))
        gates += [] if result is None else json.loads(result.gates)
    return view_of(row, stages, gates)


def view_of(
    row: Any, stages: Sequence[StageView] = (), gates: Sequence[Mapping[str, Any]] = ()
) -> RunView:
    """The row of a run as a value."""
    build = json.loads(row.build)
    return RunView(
        run_id=row.run_id,
        workspace=row.workspace,
        state=RunState(row.state),
        verdict=None if row.verdict is None else Verdict(row.verdict),
        attempt=row.attempt,
        suite=row.suite,
        suite_shown=row.suite_shown,
        profile=row.profile,
        seeds=Seeds(int(row.sim_seed), int(row.chaos_seed)),
        question=json.loads(row.question),
        build=Build(**build),
        engine_version=row.engine_version,
        reproduce=row.reproduce,
        labels=json.loads(row.labels),
        priority=row.priority,
        exit_code=None if row.exit_code is None else ExitCode(row.exit_code),
        reason=row.reason,
        bundle=row.bundle,
        bundle_identity=row.bundle_identity,
        last_seq=row.last_seq,
        pinned=bool(row.pinned),
        created_by=row.created_by,
        created_at=row.created_at,
        queued_at=row.queued_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        cancel_requested_by=row.cancel_requested_by,
        deadline_ms=row.deadline_ms,
        stages=stages,
        gates=gates,
        judgement={} if row.judgement is None else json.loads(row.judgement),
    )


def take_run(
    database: Database, connection: sa.Connection, run_id: str, number: int | None, executor_id: str
) -> Taken | None:
    """Begin to execute attempt `number` (None: the newest); None when it has ended or is older.

    Whoever held it before can record nothing from now on.
    """
    moment = database.moment(connection)
    taking = (
        sa.update(run)
        .where(run.c.run_id == run_id, run.c.state.in_(OPEN))
        .values(
            fence=run.c.fence + 1,
            executor_id=executor_id,
            state=RunState.RUNNING.value,
            started_at=sa.func.coalesce(run.c.started_at, moment.text),
        )
        .returning(run.c.fence, run.c.attempt, run.c.priority, run.c.turn)
    )
    if number is not None:
        taking = taking.where(run.c.attempt == number)
    row = connection.execute(taking).first()
    if row is None:
        return None
    _start(database, connection, run_id, row.attempt, moment)
    _time_passes(database, connection, row.priority, row.turn)
    view = view_of_run(database, connection, run_id)
    assert view is not None
    recorded = frozenset(stage.name for stage in view.stages if stage.report is not None)
    return Taken(view, row.fence, recorded)


def _start(
    database: Database, connection: sa.Connection, run_id: str, number: int, moment: Moment
) -> None:
    """Tell `run.started`, the first time that the attempt is taken."""
    begun = connection.execute(
        sa.update(attempt)
        .where(
            attempt.c.run_id == run_id,
            attempt.c.attempt == number,
            attempt.c.state == RunState.QUEUED.value,
        )
        .values(state=RunState.RUNNING.value, started_at=moment.text)
    )
    if begun.rowcount == 0:
        return
    view = view_of_run(database, connection, run_id)
    assert view is not None
    facts = {
        "suite": view.suite,
        "profile": view.profile,
        "seeds": view.seeds.to_json(),
        "stages": [stage.name for stage in view.stages],
    }
    append(connection, database, run_id, [NewEvent(EventType.RUN_STARTED, facts)])


def _time_passes(database: Database, connection: sa.Connection, priority: int, place: int) -> None:
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    connection.execute(
        insert(turn)
        .values(priority=priority, suite="", last_turn=place)
        .on_conflict_do_update(
            index_elements=[turn.c.priority, turn.c.suite],
            set_={"last_turn": place},
            where=turn.c.last_turn < place,
        )
    )


def end_attempt(
    database: Database, connection: sa.Connection, run_id: str, ending: Ending, *, fence: int | None
) -> None:
    """End the newest attempt, with its event; under a `fence` only while that is the run's own."""
    facts = {
        "state": ending.state.value,
        "verdict": ending.verdict.value,
        "exit_code": int(ending.exit_code),
        "reason": ending.reason,
        "bundle_identity": ending.bundle_identity,
    }
    events = [
        NewEvent(EventType.GATE_EVALUATED, {"gate": gate_shown(gate)})
        for gate in (ending.judgement or {}).get("gates", ())
    ]
    events.append(NewEvent(EventType.RUN_FINISHED, facts))
    moment = append(connection, database, run_id, events, fence=fence)
    ended = {
        "state": ending.state.value,
        "verdict": ending.verdict.value,
        "exit_code": int(ending.exit_code),
        "reason": column_text(ending.reason),
        "finished_at": moment.text,
    }
    number = connection.execute(
        sa.update(run)
        .where(run.c.run_id == run_id)
        .values(
            **ended,
            bundle=_maybe_text(ending.bundle),
            bundle_identity=ending.bundle_identity,
            judgement=None if ending.judgement is None else text_of(ending.judgement),
        )
        .returning(run.c.attempt)
    ).scalar_one()
    connection.execute(
        sa.update(attempt)
        .where(attempt.c.run_id == run_id, attempt.c.attempt == number)
        .values(**ended)
    )


def _maybe_text(text: str | None) -> str | None:
    return None if text is None else column_text(text)


def text_of(value: Any) -> str:
    """JSON as it is kept in a column."""
    said = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return column_text(said)
