"""What was asked: one run for one question, its place in the queue, and how it stands.

Executing it belongs to `executions`.
"""

import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from testops.domain.event import EventType, NewEvent
from testops.domain.execution import LEASE_MS, Artifact, Submission, Taken, cancelled, killed
from testops.domain.run import RunState
from testops.domain.run_view import Created, NewRun, Page, RunFilter, RunView
from testops.storage.database import Database, Moment
from testops.storage.events import append
from testops.storage.run_rows import (
    OPEN,
    end_attempt,
    take_run,
    text_of,
    view_of,
    view_of_run,
)
from testops.storage.tables import artifact, attempt, lease, run, turn

# What an identical question starts anew: it has no answer.
_UNANSWERED = ("cancelled", "errored")
# DBOS orders by one number; a run's place among its equals must not reach the next priority.
TURNS_MAX = 100_000_000


# A question names up to a million seeds: a page of runs would be gigabytes of what no list shows.
_LISTED = (
    *(column for column in run.c if column.name != "question"),
    sa.literal("{}").label("question"),
)

# Puts an attempt into the durable queue within the transaction that created it.
Submit = Callable[[sa.Connection, Submission], None]


class RunsStore:
    """Runs by SQL; `submit` puts a new attempt into the durable queue."""

    def __init__(self, database: Database, submit: Submit) -> None:
        self._database = database
        self._submit = submit

    def create(self, new: NewRun, *, again: bool = False) -> Created:
        """The run that `new` asks for: one for one question, however often and at once it is asked.

        A question whose last attempt was cancelled or errored has no answer, and gets another;
        with `again` one that was answered gets another, too.
        """
        known = None if again else self.get(new.run_id)
        if known is not None and known.state not in _UNANSWERED:
            # Most who ask again only want to know, and need not wait for those who write.
            return Created(known, "existing")
        with self._database.write() as connection:
            return self.create_in(connection, new, again=again)

    def create_in(self, connection: sa.Connection, new: NewRun, *, again: bool = False) -> Created:
        """`create` within a transaction of the caller's."""
        if self._insert(connection, new):
            outcome = "created"
        else:
            reopened = self._reopen(connection, new, always=again)
            outcome = "attempt" if reopened else "existing"
        if outcome != "existing":
            self._enqueue(connection, new)
        view = view_of_run(self._database, connection, new.run_id)
        assert view is not None
        return Created(view, outcome)

    def create_foreground(self, new: NewRun, executor_id: str) -> Taken | None:
        """The next attempt of `new`, already taken by a command line that executes it itself.

        None while somebody who lives executes the same: that one is not taken away. An attempt
        whose executor died, and that no runner ended since, ends here.
        """
        with self._database.write() as connection:
            if self._insert(connection, new) or self._reopen(connection, new, always=True):
                self._append_queued(connection, new)
            elif self._living_holder(connection, new.run_id) is not None:
                return None
            elif self._end_dead(connection, new.run_id):
                self._reopen(connection, new, always=True)
                self._append_queued(connection, new)
            return take_run(self._database, connection, new.run_id, None, executor_id)

    def _end_dead(self, connection: sa.Connection, run_id: str) -> bool:
        """End an attempt that runs in nobody's hands; whether there was one."""
        fenced_off = (
            sa.update(run)
            .where(run.c.run_id == run_id, run.c.state == RunState.RUNNING.value)
            .values(fence=run.c.fence + 1)
        )
        if connection.execute(fenced_off).rowcount == 0:
            return False
        end_attempt(self._database, connection, run_id, killed(), fence=None)
        return True

    def _living_holder(self, connection: sa.Connection, run_id: str) -> str | None:
        alive = lease.c.beat_ms > self._database.now_ms - LEASE_MS
        wanted = (
            sa.select(run.c.executor_id)
            .join(lease, lease.c.executor_id == run.c.executor_id)
            .where(run.c.run_id == run_id, run.c.state.in_(OPEN), alive)
            # Nobody takes it between this look and our own taking.
            .with_for_update(of=run)
        )
        return connection.execute(wanted).scalar_one_or_none()

    def get(self, run_id: str) -> RunView | None:
        """The run with its newest attempt's stages and gates."""
        with self._database.read() as connection:
            return view_of_run(self._database, connection, run_id)

    def attempts(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        """Every attempt of a run, in order."""
        wanted = sa.select(attempt).where(attempt.c.run_id == run_id).order_by(attempt.c.attempt)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(wanted).mappings()]

    def artifacts(self, run_id: str, number: int) -> Sequence[Artifact]:
        """What an attempt left, by path."""
        wanted = (
            sa.select(artifact.c.path, artifact.c.sha256, artifact.c.size, artifact.c.media_type)
            .where(artifact.c.run_id == run_id, artifact.c.attempt == number)
            .order_by(artifact.c.path)
        )
        with self._database.read() as connection:
            return [Artifact(*row) for row in connection.execute(wanted)]

    def list(
        self, wanted: RunFilter, *, after: tuple[int, str] | None = None, limit: int = 50
    ) -> Page:
        """Runs that `wanted` lets through, newest first, without their stages and questions."""
        rows = (
            sa.select(*_LISTED)
            .where(*self._conditions(wanted))
            .order_by(run.c.created_ms.desc(), run.c.run_id.desc())
            .limit(limit + 1)
        )
        if after is not None:
            rows = rows.where(sa.tuple_(run.c.created_ms, run.c.run_id) < sa.tuple_(*after))
        with self._database.read() as connection:
            found = connection.execute(rows).all()
        shown = found[:limit]
        more = len(found) > limit
        following = (shown[-1].created_ms, shown[-1].run_id) if more else None
        return Page([view_of(row) for row in shown], following)

    def pin(self, run_id: str, *, pinned: bool) -> bool:
        """Keep a run from retention, or no longer; whether there is such a run."""
        with self._database.write() as connection:
            done = connection.execute(
                sa.update(run).where(run.c.run_id == run_id).values(pinned=pinned)
            )
        return done.rowcount == 1

    def request_cancel(self, run_id: str, by: str) -> RunView | None:
        """Ask that a run ends: a queued one is cancelled now, a running one by its executor."""
        with self._database.write() as connection:
            asked = (
                sa.update(run)
                .where(run.c.run_id == run_id, run.c.state.in_(OPEN))
                .values(cancel_requested_by=sa.func.coalesce(run.c.cancel_requested_by, by))
                .returning(run.c.state)
            )
            if connection.execute(asked).scalar_one_or_none() == RunState.QUEUED:
                end_attempt(self._database, connection, run_id, cancelled(by), fence=None)
            return view_of_run(self._database, connection, run_id)

    def _insert(self, connection: sa.Connection, new: NewRun) -> bool:
        moment = self._database.moment(connection)
        values = {
            "run_id": new.run_id,
            "workspace": new.workspace,
            "suite": new.suite,
            "suite_shown": new.suite_shown,
            "profile": new.profile,
            "sim_seed": str(new.seeds.sim),
            "chaos_seed": str(new.seeds.chaos),
            "question": text_of(new.question),
            "build": text_of(new.build.to_json()),
            "commit": new.build.commit,
            "labels": text_of(dict(sorted(new.labels.items()))),
            "engine_version": new.engine_version,
            "reproduce": new.reproduce,
            "priority": new.priority,
            "turn": 0,
            "attempt": 1,
            "state": RunState.QUEUED.value,
            "last_seq": 0,
            "fence": 0,
            "deadline_ms": _deadline(new, moment),
            "pinned": new.pinned,
            "traceparent": new.traceparent,
            "created_by": new.created_by,
            "created_ms": moment.ms,
            "created_at": moment.text,
            "queued_at": moment.text,
        }
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        put = insert(run).values(values).on_conflict_do_nothing().returning(run.c.run_id)
        if connection.execute(put).first() is None:
            return False
        self._begin_attempt(connection, new.run_id, 1, moment)
        return True

    def _reopen(self, connection: sa.Connection, new: NewRun, *, always: bool = False) -> bool:
        """Begin the next attempt where the last one gave no answer; whether it was begun."""
        moment = self._database.moment(connection)
        may = run.c.state.not_in(OPEN) if always else run.c.state.in_(_UNANSWERED)
        again = (
            sa.update(run)
            .where(run.c.run_id == new.run_id, may)
            .values(
                attempt=run.c.attempt + 1,
                state=RunState.QUEUED.value,
                verdict=None,
                exit_code=None,
                reason="",
                bundle=None,
                bundle_identity=None,
                judgement=None,
                executor_id=None,
                cancel_requested_by=None,
                priority=new.priority,
                deadline_ms=_deadline(new, moment),
                queued_at=moment.text,
                started_at=None,
                finished_at=None,
            )
            .returning(run.c.attempt)
        )
        number = connection.execute(again).scalar_one_or_none()
        if number is None:
            return False
        self._begin_attempt(connection, new.run_id, number, moment)
        return True

    def _begin_attempt(
        self, connection: sa.Connection, run_id: str, number: int, moment: Moment
    ) -> None:
        connection.execute(
            sa.insert(attempt).values(
                run_id=run_id, attempt=number, state=RunState.QUEUED.value, queued_at=moment.text
            )
        )

    def _append_queued(self, connection: sa.Connection, new: NewRun) -> None:
        facts = {
            "suite": new.suite,
            "profile": new.profile,
            "seeds": new.seeds.to_json(),
            "workspace": new.workspace,
            "priority": new.priority,
        }
        event = NewEvent(EventType.RUN_QUEUED, facts)
        append(connection, self._database, new.run_id, [event])

    def _enqueue(self, connection: sa.Connection, new: NewRun) -> None:
        place = self._next_turn(connection, new.priority, new.suite)
        number = connection.execute(
            sa.update(run)
            .where(run.c.run_id == new.run_id)
            .values(turn=place)
            .returning(run.c.attempt)
        ).scalar_one()
        self._append_queued(connection, new)
        rank = new.priority * TURNS_MAX + min(place, TURNS_MAX - 1)
        self._submit(connection, Submission(new.run_id, number, rank))

    def _next_turn(self, connection: sa.Connection, priority: int, suite: str) -> int:
        """The start tag of start-time fair queueing (Goyal, Vin, Cheng 1996), suites as flows.

        A suite's next run comes one after its last, but never before the virtual time: what was
        started last. So ten runs of one suite do not keep the first of another waiting, and a suite
        that was idle for a week does not then own the queue.
        """
        now = sa.select(turn.c.last_turn).where(turn.c.priority == priority, turn.c.suite == "")
        virtual = connection.execute(now).scalar_one_or_none() or 0
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        raised = (
            insert(turn)
            .values(priority=priority, suite=suite, last_turn=virtual + 1)
            .on_conflict_do_update(
                index_elements=[turn.c.priority, turn.c.suite],
                set_={
                    "last_turn": sa.case(
                        (turn.c.last_turn + 1 > virtual + 1, turn.c.last_turn + 1),
                        else_=virtual + 1,
                    )
                },
            )
            .returning(turn.c.last_turn)
        )
        return int(connection.execute(raised).scalar_one())

    def _conditions(self, wanted: RunFilter) -> builtins.list[sa.ColumnElement[bool]]:
        equal = (
            (run.c.suite, wanted.suite),
            (run.c.profile, wanted.profile),
            (run.c.state, wanted.state),
            (run.c.verdict, wanted.verdict),
            (run.c.commit, wanted.commit),
        )
        conditions = [column == value for column, value in equal if value is not None]
        if wanted.workspaces is not None:
            conditions.append(run.c.workspace.in_(sorted(wanted.workspaces)))
        if wanted.label is not None:
            conditions.append(self._label_is(*wanted.label))
        if wanted.created_from_ms is not None:
            conditions.append(run.c.created_ms >= wanted.created_from_ms)
        if wanted.created_to_ms is not None:
            conditions.append(run.c.created_ms < wanted.created_to_ms)
        return conditions

    def _label_is(self, name: str, value: str) -> sa.ColumnElement[bool]:
        if self._database.is_sqlite:
            # Not json_extract: a path cannot hold every name.
            each = sa.func.json_each(run.c.labels).table_valued("key", "value")
            of_name = sa.select(sa.literal(1)).select_from(each).where(each.c.key == name)
            return of_name.where(each.c.value == value).exists()
        labels = sa.cast(run.c.labels, postgresql.JSONB)
        same: sa.ColumnElement[bool] = labels[name].astext == value
        return same


def _deadline(new: NewRun, moment: Moment) -> int | None:
    return None if new.deadline_s is None else moment.ms + int(new.deadline_s * 1000)
