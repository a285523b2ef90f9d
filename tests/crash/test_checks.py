"""The sweep finds what it looks for: each promise, broken on purpose in the tables."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.crash.processes import System
from tests.crash.streams import Viewer
from tests.crash.sweep import Case, Outcome, Sweep, cases_of
from tests.crash.workload import STAGES
from tests.support.rows import row_of

from testops.storage.database import Database, open_database
from testops.storage.tables import run, run_event, stage_result

RUN = "7f3a000000000000"
EVENTS = ["run.queued", "run.started", *["stage.finished"] * 3, "run.finished"]


@pytest.fixture
def sweep(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Sweep]:
    """A sweep over a database with one run that went well; no process runs."""
    url = f"sqlite:///{tmp_path}/testops.db"
    (tmp_path / "testops.db").write_bytes(migrated_sqlite.read_bytes())
    made = Sweep(System("sqlite", tmp_path, tmp_path, url), seed=1)
    with made._database.write() as connection:
        facts = {"state": "finished", "verdict": "pass", "attempt": 1, "last_seq": len(EVENTS)}
        connection.execute(run.insert().values(row_of(run, run_id=RUN, **facts)))
        stages = iter(STAGES)
        for seq, kind in enumerate(EVENTS, start=1):
            body = {"seq": seq, "run_id": RUN, "type": kind}
            if kind == "stage.finished":
                body["stage"] = next(stages)
            event = row_of(run_event, run_id=RUN, seq=seq, type=kind, at_ms=seq * 1000)
            connection.execute(run_event.insert().values(event | {"body": json.dumps(body)}))
        for stage in STAGES:
            row = row_of(stage_result, run_id=RUN, stage=stage)
            connection.execute(stage_result.insert().values(row))
    yield made
    made.close()


def problems(sweep: Sweep) -> str:
    outcome = Outcome(Case("sqlite", "runner", 1), run_id=RUN)
    sweep._look(outcome)
    return "\n".join(outcome.problems)


def test_a_run_that_went_well_has_no_problem(sweep: Sweep) -> None:
    assert problems(sweep) == ""


def _a_gap(connection: sa.Connection) -> None:
    connection.execute(run_event.delete().where(run_event.c.seq == 4))


def _a_silence(connection: sa.Connection) -> None:
    late = run_event.c.seq == len(EVENTS)
    connection.execute(sa.update(run_event).where(late).values(at_ms=100_000))


def _a_lost_result(connection: sa.Connection) -> None:
    connection.execute(stage_result.delete().where(stage_result.c.stage == "unit"))


def _a_second_end(connection: sa.Connection) -> None:
    body = {"seq": 4, "run_id": RUN, "type": "run.finished"}
    changed = sa.update(run_event).where(run_event.c.seq == 4)
    connection.execute(changed.values(type="run.finished", body=json.dumps(body)))


def _a_body_of_another(connection: sa.Connection) -> None:
    body = {"seq": 9, "run_id": RUN, "type": "run.started"}
    changed = sa.update(run_event).where(run_event.c.seq == 2)
    connection.execute(changed.values(body=json.dumps(body)))


def _an_error(connection: sa.Connection) -> None:
    connection.execute(sa.update(run).values(state="errored", verdict="inconclusive"))


def _a_second_attempt(connection: sa.Connection) -> None:
    connection.execute(sa.update(run).values(attempt=2))


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_a_gap, "its events are numbered [1, 2, 3, 5, 6], the newest is 6"),
        (_a_silence, "nothing happened for 95.0 s"),
        (_a_lost_result, "its results are"),
        (_a_second_end, "run.finished is in its log 2 times"),
        (_a_body_of_another, "event 2 says"),
        (_an_error, "it ended errored, inconclusive"),
        (_a_second_attempt, "attempt 2"),
    ],
)
def test_a_broken_promise_is_found(
    sweep: Sweep, breaks: Callable[[sa.Connection], None], said: str
) -> None:
    database: Database = open_database(sweep.system.database_url)
    with database.write() as connection:
        breaks(connection)
    database.close()
    assert said in problems(sweep)


@pytest.mark.parametrize("change", ["lost", "twice", "other bytes", "other order"])
def test_a_viewer_that_saw_something_else_is_found(sweep: Sweep, change: str) -> None:
    outcome = Outcome(Case("sqlite", "runner", 1), run_id=RUN)
    kept = sweep._look(outcome)
    frames: list[Any] = list(kept)
    match change:
        case "lost":
            del frames[2]
        case "twice":
            frames.insert(2, frames[2])
        case "other bytes":
            frames[2] = (frames[2][0], frames[2][1] + b" ")
        case _:
            frames[2], frames[3] = frames[3], frames[2]
    viewer = Viewer(sweep.system, RUN, frames=list(kept))
    sweep._compare(kept, viewer, outcome, "a viewer")
    assert outcome.problems == []
    viewer.frames = frames
    sweep._compare(kept, viewer, outcome, "a viewer")
    assert len(outcome.problems) == 1


def test_every_victim_is_killed_at_every_event() -> None:
    cases = cases_of("postgres", 24)
    assert len(cases) == len(set(cases)) == 24 * 4
    assert {case.at for case in cases} == set(range(1, 25))
