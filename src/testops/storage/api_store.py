"""What the API keeps beside runs, by SQL: schedules and their firing, and keys of requests."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from testops.domain.errors import BadInput
from testops.domain.idempotency import Claim, Standing
from testops.domain.run_view import Created, NewRun
from testops.domain.schedule import Firing, NewSchedule, Schedule, Timetable
from testops.runner.timetables import latest_due, next_due_ms
from testops.storage.api_tables import idempotency_key, schedule, schedule_firing
from testops.storage.database import Database, Moment
from testops.storage.run_rows import text_of

KEY_LIFETIME_MS = 24 * 3600 * 1000
# A request that holds a key for longer was killed: nothing here takes a minute.
CLAIM_MS_MAX = 60_000


class IdempotencyStore:
    """Keys of requests, for a day."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, owner: str, key: str, fingerprint: str) -> Claim:
        """Who comes first may act, and must `finish` or `release`; others learn how it stands."""
        with self._database.write() as connection:
            now_ms = self._database.moment(connection).ms
            self._forget_old(connection, now_ms)
            insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
            put = (
                insert(idempotency_key)
                .values(owner=owner, key=key, fingerprint=fingerprint, claimed_ms=now_ms)
                .on_conflict_do_nothing()
                .returning(idempotency_key.c.key)
            )
            if connection.execute(put).first() is not None:
                return Claim(Standing.FIRST)
            here = (idempotency_key.c.owner == owner, idempotency_key.c.key == key)
            row = connection.execute(sa.select(idempotency_key).where(*here)).one()
            if row.fingerprint != fingerprint:
                return Claim(Standing.OTHER_BODY)
            if row.run_id is not None:
                return Claim(Standing.DONE, row.run_id)
            return Claim(Standing.IN_FLIGHT)

    def finish(self, owner: str, key: str, run_id: str) -> None:
        """Say what the request made."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(idempotency_key)
                .where(idempotency_key.c.owner == owner, idempotency_key.c.key == key)
                .values(run_id=run_id)
            )

    def release(self, owner: str, key: str) -> None:
        """Say that the request made nothing."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(idempotency_key).where(
                    idempotency_key.c.owner == owner,
                    idempotency_key.c.key == key,
                    idempotency_key.c.run_id.is_(None),
                )
            )

    def _forget_old(self, connection: sa.Connection, now_ms: int) -> None:
        column = idempotency_key.c
        connection.execute(
            sa.delete(idempotency_key).where(
                sa.or_(
                    column.claimed_ms < now_ms - KEY_LIFETIME_MS,
                    sa.and_(column.run_id.is_(None), column.claimed_ms < now_ms - CLAIM_MS_MAX),
                )
            )
        )


class ScheduleStore:
    """The schedules, as the API changes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, workspaces: frozenset[str] | None) -> Sequence[Schedule]:
        """By workspace and name; of those workspaces, or (None) of all."""
        wanted = sa.select(schedule).order_by(schedule.c.workspace, schedule.c.name)
        if workspaces is not None:
            wanted = wanted.where(schedule.c.workspace.in_(sorted(workspaces)))
        with self._database.read() as connection:
            return [_view(connection, row) for row in connection.execute(wanted).all()]

    def get(self, schedule_id: str) -> Schedule | None:
        with self._database.read() as connection:
            return _find(connection, schedule_id)

    def add(self, new: NewSchedule) -> Schedule | None:
        """None when there is one of that name in that workspace."""
        with self._database.write() as connection:
            moment = self._database.moment(connection)
            insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
            put = (
                insert(schedule)
                .values(
                    schedule_id=new.schedule_id,
                    workspace=new.workspace,
                    name=new.name,
                    version=1,
                    created_by=new.created_by,
                    created_at=moment.text,
                    **_wanted(new, moment),
                )
                .on_conflict_do_nothing()
                .returning(schedule.c.schedule_id)
            )
            if connection.execute(put).first() is None:
                return None
            return _find(connection, new.schedule_id)

    def replace(self, new: NewSchedule, *, version: int) -> Schedule | None:
        """None when it is no longer (or never was) of that version."""
        with self._database.write() as connection:
            moment = self._database.moment(connection)
            changed = connection.execute(
                sa.update(schedule)
                .where(
                    schedule.c.schedule_id == new.schedule_id,
                    schedule.c.version == version,
                )
                .values(version=version + 1, **_wanted(new, moment))
            )
            return _find(connection, new.schedule_id) if changed.rowcount else None

    def remove(self, schedule_id: str, *, version: int | None) -> bool:
        """Whether it was there, and (where one is given) of that version."""
        gone = sa.delete(schedule).where(schedule.c.schedule_id == schedule_id)
        if version is not None:
            gone = gone.where(schedule.c.version == version)
        with self._database.write() as connection:
            return connection.execute(gone).rowcount == 1


def _wanted(new: NewSchedule, moment: Moment) -> dict[str, Any]:
    timetable = new.timetable
    return {
        "cron": timetable.cron,
        "time_zone": timetable.time_zone,
        "request": text_of(new.request),
        "enabled": new.enabled,
        "next_due_ms": next_due_ms(timetable, after_ms=moment.ms) if new.enabled else None,
    }


def _find(connection: sa.Connection, schedule_id: str) -> Schedule | None:
    wanted = sa.select(schedule).where(schedule.c.schedule_id == schedule_id)
    row = connection.execute(wanted).first()
    return None if row is None else _view(connection, row)


def _view(connection: sa.Connection, row: Any) -> Schedule:
    last = connection.execute(
        sa.select(schedule_firing)
        .where(schedule_firing.c.schedule_id == row.schedule_id)
        .order_by(schedule_firing.c.due_ms.desc())
        .limit(1)
    ).first()
    due_ms = row.next_due_ms
    return Schedule(
        schedule_id=row.schedule_id,
        workspace=row.workspace,
        name=row.name,
        timetable=Timetable(row.cron, row.time_zone),
        request=json.loads(row.request),
        enabled=bool(row.enabled),
        version=row.version,
        created_by=row.created_by,
        created_at=row.created_at,
        next_due_ms=due_ms,
        next_due_at=None if due_ms is None else Moment(due_ms).text,
        last=None
        if last is None
        else Firing(Moment(last.due_ms).text, last.run_id, last.problem, last.missed),
    )


# The run that a schedule asks for at a due time (its text); `BadInput` when it cannot be one.
PlanDue = Callable[[Schedule, str], NewRun]


class RunCreation(Protocol):
    """Creating a run within somebody's transaction; `RunsStore` does."""

    def create_in(self, connection: sa.Connection, new: NewRun) -> Created: ...


@dataclass(frozen=True, slots=True)
class Fired:
    """A schedule that came due, and what became of it."""

    schedule: Schedule
    firing: Firing


def due_schedules(
    database: Database, runs: RunCreation, plan_due: PlanDue, *, limit: int = 20
) -> Sequence[Fired]:
    """Make the run of every schedule that is due, once, however many runners ask at once.

    Planning reads the project before the transaction begins. The transaction then moves the
    schedule on from the very due time that was planned for, and creates the run: another runner
    finds it moved on, and one that is killed between leaves neither. Times that passed while nobody
    asked make one run together, which says how many there were.
    """
    with database.read() as connection:
        now_ms = database.moment(connection).ms
        rows = connection.execute(
            sa.select(schedule)
            .where(schedule.c.enabled, schedule.c.next_due_ms <= now_ms)
            .order_by(schedule.c.next_due_ms, schedule.c.schedule_id)
            .limit(limit)
        ).all()
        due = [_view(connection, row) for row in rows]
    fired = (_fire(database, runs, plan_due, one, now_ms) for one in due)
    return [one for one in fired if one is not None]


def _fire(
    database: Database, runs: RunCreation, plan_due: PlanDue, due: Schedule, now_ms: int
) -> Fired | None:
    assert due.next_due_ms is not None
    latest_ms, missed = latest_due(due.timetable, due_ms=due.next_due_ms, now_ms=now_ms)
    due_at = Moment(latest_ms).text
    new, problem = None, ""
    try:
        new = plan_due(due, due_at)
    except BadInput as error:
        # It is not asked again before its next time: whoever reads the schedule sees why.
        problem = str(error)
    with database.write() as connection:
        moved = connection.execute(
            sa.update(schedule)
            .where(
                schedule.c.schedule_id == due.schedule_id,
                schedule.c.version == due.version,
                schedule.c.next_due_ms == due.next_due_ms,
                schedule.c.enabled,
            )
            .values(next_due_ms=next_due_ms(due.timetable, after_ms=max(latest_ms, now_ms)))
        )
        if moved.rowcount == 0:
            return None
        firing = Firing(due_at, None if new is None else new.run_id, problem, missed)
        if not _is_first(database, connection, due.schedule_id, latest_ms, firing):
            # The database's clock was set back: that time has been.
            return None
        if new is not None:
            runs.create_in(connection, new)
    return Fired(due, firing)


def _is_first(
    database: Database, connection: sa.Connection, schedule_id: str, due_ms: int, firing: Firing
) -> bool:
    """Write that the schedule fires; whether it is the first time for that due time."""
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    put = (
        insert(schedule_firing)
        .values(
            schedule_id=schedule_id,
            due_ms=due_ms,
            run_id=firing.run_id,
            problem=firing.problem,
            missed=firing.missed,
            fired_at=database.moment(connection).text,
        )
        .on_conflict_do_nothing()
        .returning(schedule_firing.c.due_ms)
    )
    return connection.execute(put).first() is not None
