from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from tests.support.rows import row_of

from testops.storage.database import Database, open_database
from testops.storage.measures import Measures, tell_failures
from testops.storage.tables import attempt, lease, run, stage_execution


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


def test_an_empty_database_has_nothing_to_tell(database: Database) -> None:
    facts = Measures(database).read()
    assert (facts.states, facts.verdicts, facts.executors, facts.stages) == ({}, {}, {}, [])
    assert facts.oldest_queued_s is None
    assert facts.takeovers == 0


def test_the_facts_are_what_the_rows_say(database: Database) -> None:
    with database.write() as connection:
        now = database.moment(connection)
        for run_id, state, verdict, fence in (
            ("a", "queued", None, 0),
            ("b", "finished", "pass", 1),
            ("c", "finished", "fail", 3),
        ):
            given = {"state": state, "verdict": verdict, "fence": fence, "queued_at": now.text}
            connection.execute(run.insert().values(row_of(run, run_id=run_id, **given)))
            started = now.text if fence else None
            connection.execute(
                attempt.insert().values(row_of(attempt, run_id=run_id, started_at=started))
            )
        for number, outcome, ended in ((1, "lost", ":02.500Z"), (2, "finished", ":01.250Z")):
            given = {"number": number, "outcome": outcome, "stage": "sim", "run_id": "c"}
            start, end = "2026-11-25T16:00:00.000Z", f"2026-11-25T16:00{ended}"
            row = row_of(stage_execution, **given, started_at=start, ended_at=end)
            connection.execute(stage_execution.insert().values(row))
        for executor, beat in (("new", now.ms), ("old", now.ms - 60_000)):
            row = row_of(lease, executor_id=executor, kind="runner", beat_ms=beat)
            connection.execute(lease.insert().values(row))
    facts = Measures(database).read()
    assert facts.states == {"queued": 1, "finished": 2}
    assert facts.verdicts == {"pass": 1, "fail": 1}
    assert facts.executors == {"runner": 1}
    assert facts.takeovers == 2
    assert facts.oldest_queued_s is not None
    assert 0 <= facts.oldest_queued_s < 30
    finished, lost = facts.stages
    assert (finished.stage, finished.outcome, finished.count) == ("sim", "finished", 1)
    assert (lost.outcome, lost.count) == ("lost", 1)
    assert lost.seconds == pytest.approx(2.5, abs=0.01)


def test_a_statement_that_may_be_tried_again_is_told(database: Database) -> None:
    told: list[str] = []
    tell_failures(database, told.append)
    if database.is_sqlite:
        _meet_a_lock(database)
        assert told == ["locked"]
        return
    with pytest.raises(sa.exc.DBAPIError), database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    assert told == ["disconnected"]


def test_a_statement_that_is_wrong_is_not_told(database: Database) -> None:
    told: list[str] = []
    tell_failures(database, told.append)
    with pytest.raises(sa.exc.DBAPIError), database.engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO turn VALUES (1, NULL, 1)")
    assert told == []


def _meet_a_lock(database: Database) -> None:
    with database.write(), database.engine.connect() as second:
        second.exec_driver_sql("PRAGMA busy_timeout=10")
        with pytest.raises(sa.exc.OperationalError):
            second.exec_driver_sql("BEGIN IMMEDIATE")
