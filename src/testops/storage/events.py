"""The event log of every run, appended in the transaction of what it reports.

`append` raises the number in the run's own row. That row stays locked until the transaction ends,
so numbers are given in the order of the commits: a reader that has seen 7 never finds a 6 later,
and there is no gap. (A sequence or a serial column promises neither.)
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from testops.domain.event import LogHead, NewEvent, StoredEvent, delivery_of
from testops.domain.execution import Fenced
from testops.domain.run import TERMINAL
from testops.storage.database import Database, Moment, column_text
from testops.storage.tables import run, run_event

CHANNEL = "testops_run"
BODY_BYTES_MAX = 64_000
# Of an event that is too large. No event of ours has so many facts, or such names.
_FACTS_MAX, _NAME_MAX, _TEXT_MAX = 20, 40, 2000


class EventStore:
    """`sse_gateway.ports.EventLog` by SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self, run_id: str) -> LogHead | None:
        """How far the log goes; None when there is no such run."""
        columns = (run.c.first_seq, run.c.last_seq, run.c.state)
        with self._database.read() as connection:
            row = connection.execute(sa.select(*columns).where(run.c.run_id == run_id)).first()
        if row is None:
            return None
        return LogHead(row.first_seq, row.last_seq, row.state in TERMINAL)

    def workspace_of(self, run_id: str) -> str | None:
        """Whose run it is; None when there is no such run."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(run.c.workspace).where(run.c.run_id == run_id))
            return found.scalar_one_or_none()

    def read(self, run_id: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """At most `limit` events that follow number `after`, in their order."""
        wanted = (
            sa.select(run_event.c.seq, run_event.c.type, run_event.c.key, run_event.c.body)
            .where(run_event.c.run_id == run_id, run_event.c.seq > after)
            .order_by(run_event.c.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        return [
            StoredEvent(row.seq, row.type, delivery_of(row.type), row.key, row.body.encode())
            for row in rows
        ]


def append(
    connection: sa.Connection,
    database: Database,
    run_id: str,
    events: Sequence[NewEvent],
    *,
    fence: int | None = None,
) -> Moment:
    """Append `events` to the log of `run_id` in this transaction; when they happened.

    With a `fence`, only while it is the run's own and the run goes on; else `Fenced`.
    """
    raised = (
        sa.update(run)
        .where(run.c.run_id == run_id)
        .values(last_seq=run.c.last_seq + len(events))
        .returning(run.c.last_seq, run.c.attempt, database.now_ms.label("now_ms"))
    )
    if fence is not None:
        raised = raised.where(run.c.fence == fence, run.c.state == "running")
    row = connection.execute(raised).first()
    if row is None:
        raise Fenced(run_id)
    moment = Moment(row.now_ms)
    first = row.last_seq - len(events) + 1
    rows = [
        {
            "run_id": run_id,
            "seq": seq,
            "attempt": row.attempt,
            "type": event.type.value,
            "key": column_text(event.key),
            "body": _body(event, seq, run_id, row.attempt, moment),
            "at_ms": moment.ms,
        }
        for seq, event in enumerate(events, start=first)
    ]
    if rows:
        connection.execute(sa.insert(run_event), rows)
    if not database.is_sqlite:
        # Only wakes readers: the table is the truth, so a lost one costs no event.
        connection.execute(sa.select(sa.func.pg_notify(CHANNEL, run_id)))
    return moment


def _body(event: NewEvent, seq: int, run_id: str, attempt: int, moment: Moment) -> str:
    head = {
        "seq": seq,
        "type": event.type.value,
        "run_id": run_id,
        "attempt": attempt,
        "at": moment.text,
    }
    # What a stage tells comes from its process: no fact may say which event this is.
    facts = {name: value for name, value in event.facts.items() if name not in head}
    body = _line({**head, **facts})
    if len(body) <= BODY_BYTES_MAX:
        return body
    # A viewer's memory is bounded by events, so an event is bounded too; the report has it all.
    return _line({**head, **_shortened(facts), "truncated": True})


def _shortened(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts whose size is known to be small, and the beginning of every text."""
    small: dict[str, Any] = {}
    named = ((name, value) for name, value in facts.items() if len(name) <= _NAME_MAX)
    for name, value in itertools.islice(named, _FACTS_MAX):
        if isinstance(value, str):
            small[name] = value[:_TEXT_MAX]
        elif value is None or isinstance(value, bool | float) or _is_short_number(value):
            small[name] = value
    return small


def _is_short_number(value: object) -> bool:
    return isinstance(value, int) and value.bit_length() <= 64


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
