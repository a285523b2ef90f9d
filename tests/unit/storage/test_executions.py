"""A stage has one result and a log has no gap, whoever executes, dies, or wakes up late."""

import json
from collections.abc import Iterator

import pytest
from tests.support.platform import ERRORED, GREEN, Stores, at_once, new_run, report

from testops.domain.event import EventType, NewEvent
from testops.domain.execution import (
    AlreadyRecorded,
    Artifact,
    Ending,
    Fenced,
    StageRecord,
    Taken,
)
from testops.domain.run import RunState
from testops.domain.verdict import ExitCode, Verdict
from testops.storage.database import open_database
from testops.storage.events import BODY_BYTES_MAX

RUN = "a" * 16


@pytest.fixture
def stores(database_url: str) -> Iterator[Stores]:
    database = open_database(database_url)
    opened = Stores(database)
    opened.runs.create(new_run())
    yield opened
    database.close()


def taken_by(stores: Stores, executor: str) -> Taken:
    taken = stores.executions.take(RUN, 1, executor)
    assert taken is not None
    return taken


def progress(number: int) -> NewEvent:
    return NewEvent(EventType.STAGE_PROGRESS, {"stage": "lint", "done": number}, "lint")


def test_whoever_was_taken_over_can_record_nothing_any_more(stores: Stores) -> None:
    first = taken_by(stores, "one")
    second = taken_by(stores, "two")
    before = stores.bodies(RUN)

    for late in (
        lambda: stores.executions.tell(first, [progress(1)]),
        lambda: stores.executions.begin_stage(first, "lint", "one"),
        lambda: stores.executions.record(first, report("lint")),
        lambda: stores.executions.finish(first, GREEN),
    ):
        with pytest.raises(Fenced):
            late()

    assert stores.bodies(RUN) == before
    stores.executions.record(second, report("lint"))


def test_a_run_is_started_once_however_often_it_is_taken(stores: Stores) -> None:
    for executor in ("one", "two", "three"):
        taken_by(stores, executor)

    assert stores.types(RUN) == ["run.queued", "run.started"]


def test_who_takes_over_is_told_what_has_a_result(stores: Stores) -> None:
    stores.executions.record(taken_by(stores, "one"), report("lint"))

    assert taken_by(stores, "two").recorded == {"lint"}


def test_a_result_is_recorded_once_although_it_is_written_twice(stores: Stores) -> None:
    taken = taken_by(stores, "one")
    stores.executions.record(taken, report("lint"))
    before = stores.bodies(RUN)

    with pytest.raises(AlreadyRecorded):
        stores.executions.record(taken, report("lint", "fail"))

    assert stores.bodies(RUN) == before
    run = stores.runs.get(RUN)
    assert run is not None
    assert run.stages[0].to_json()["verdict"] == "pass"


def test_an_execution_that_was_lost_is_told_from_one_that_ended(stores: Stores) -> None:
    first = taken_by(stores, "one")
    assert stores.executions.begin_stage(first, "lint", "one") == 1
    second = taken_by(stores, "two")
    assert stores.executions.begin_stage(second, "lint", "two") == 2
    stores.executions.record(second, report("lint"))

    run = stores.runs.get(RUN)
    assert run is not None
    assert run.stages[0].executions == 2


def test_nothing_is_told_of_a_run_that_has_ended(stores: Stores) -> None:
    taken = taken_by(stores, "one")
    stores.executions.finish(taken, GREEN)

    with pytest.raises(Fenced):
        stores.executions.tell(taken, [progress(1)])
    assert stores.executions.take(RUN, 1, "two") is None
    assert stores.executions.abandon(RUN, 1, ERRORED) is False
    assert stores.types(RUN)[-1] == "run.finished"


def test_an_attempt_that_nobody_can_execute_is_ended_for_everybody(stores: Stores) -> None:
    taken = taken_by(stores, "one")

    assert stores.executions.abandon(RUN, 1, ERRORED) is True

    with pytest.raises(Fenced):
        stores.executions.finish(taken, GREEN)
    run = stores.runs.get(RUN)
    assert run is not None
    assert run.state is RunState.ERRORED


def test_a_log_that_many_write_has_no_gap_and_no_repeat(stores: Stores) -> None:
    taken = taken_by(stores, "one")

    def write(thread: int) -> None:
        for number in range(15):
            stores.executions.tell(taken, [progress(thread * 100 + number)] * (1 + number % 3))

    at_once(6, write)

    events = stores.events.read(RUN, after=0, limit=10_000)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [json.loads(event.body)["seq"] for event in events] == [e.seq for e in events]
    head = stores.events.head(RUN)
    assert head is not None
    assert head.last_seq == len(events) == 2 + 6 * 30


def test_a_reader_never_sees_a_later_event_before_an_earlier_one(stores: Stores) -> None:
    taken = taken_by(stores, "one")
    gaps: list[tuple[int, int]] = []

    def work(thread: int) -> None:
        if thread:
            for number in range(25):
                stores.executions.tell(taken, [progress(number)])
            return
        last = 0
        while last < 2 + 3 * 25:
            for event in stores.events.read(RUN, after=last, limit=100):
                if event.seq != last + 1:
                    gaps.append((last, event.seq))
                last = event.seq

    at_once(4, work)

    assert gaps == []


def test_the_effect_and_its_event_are_there_together_or_not_at_all(stores: Stores) -> None:
    taken = taken_by(stores, "one")
    before = stores.bodies(RUN)
    twice = [Artifact("a", "0" * 64, 1, "text/plain")] * 1
    broken = StageRecord("lint", {"name": "lint"}, [], twice)

    with pytest.raises(KeyError):
        stores.executions.record(taken, broken)

    assert stores.bodies(RUN) == before
    assert stores.runs.artifacts(RUN, 1) == []


def test_an_event_that_is_too_large_is_cut_and_says_so(stores: Stores) -> None:
    taken = taken_by(stores, "one")
    facts = {"stage": "lint", "text": "x" * BODY_BYTES_MAX, "finding": {"rule": "y" * 99}}
    stores.executions.tell(taken, [NewEvent(EventType.STAGE_LOG, facts)])

    body = stores.bodies(RUN)[-1]
    assert len(body) < 10_000
    assert json.loads(body)["truncated"] is True
    assert json.loads(body)["text"].startswith("xxx")


def test_a_report_that_is_written_again_replaces_its_artifact(stores: Stores) -> None:
    taken = taken_by(stores, "one")
    first, second = report("lint"), report("sim")
    kept = [Artifact("reports/a.txt", digit * 64, 1, "text/plain") for digit in "12"]
    stores.executions.record(taken, StageRecord("lint", first.report, [], [kept[0]]))
    stores.executions.record(taken, StageRecord("sim", second.report, [], [kept[1]]))

    assert stores.runs.artifacts(RUN, 1) == [kept[1]]


def test_what_an_event_says_is_the_same_bytes_for_every_reader(stores: Stores) -> None:
    taken = taken_by(stores, "one")
    stores.executions.tell(taken, [NewEvent(EventType.STAGE_LOG, {"text": "é\u2028\n\0 \ud83d"})])

    first, second = stores.bodies(RUN), stores.bodies(RUN)
    assert first == second
    assert b"\n" not in first[-1]
    assert json.loads(first[-1])["text"].startswith("é\u2028\n")


def test_an_overdue_run_is_seen_by_its_watcher(stores: Stores) -> None:
    stores.runs.create(new_run("b" * 16, deadline_s=-1))
    stores.executions.take("b" * 16, 1, "one")
    taken_by(stores, "one")

    seen = {one.run_id: one.overdue for one in stores.executions.watch([RUN, "b" * 16])}

    assert seen == {RUN: False, "b" * 16: True}


def test_no_fact_of_a_stage_says_which_event_it_is(stores: Stores) -> None:
    taken = taken_by(stores, "one")
    forged = {"stage": "lint", "seq": 99, "run_id": "b" * 16, "at": "never", "attempt": 7}
    stores.executions.tell(taken, [NewEvent(EventType.STAGE_LOG, forged)])

    body = json.loads(stores.bodies(RUN)[-1])
    assert (body["seq"], body["run_id"], body["attempt"]) == (3, RUN, 1)
    assert body["at"] != "never"


def test_an_event_of_any_shape_is_bounded(stores: Stores) -> None:
    taken = taken_by(stores, "one")
    many = {f"fact {number}": "x" * 100 for number in range(10_000)}
    stores.executions.tell(
        taken,
        [
            NewEvent(EventType.STAGE_LOG, many),
            NewEvent(EventType.STAGE_LOG, {"n" * 100_000: 1, "number": 10**100_000 % 7}),
        ],
    )

    assert max(map(len, stores.bodies(RUN))) <= BODY_BYTES_MAX


def test_what_a_tool_says_is_kept_although_it_is_no_unicode(stores: Stores) -> None:
    odd = "cannot read caf\udce9\0.py"
    taken = taken_by(stores, "one")
    stores.executions.tell(taken, [NewEvent(EventType.STAGE_PROGRESS, {"part": odd}, odd)])
    kept = report("lint")
    stores.executions.record(
        taken,
        StageRecord(
            "lint",
            {**kept.report, "reason": odd},
            kept.gates,
            [Artifact("caf\udce9.txt", "0" * 64, 1, "text/plain")],
        ),
    )
    stores.executions.finish(
        taken, Ending(RunState.ERRORED, Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE, odd)
    )

    run = stores.runs.get(RUN)
    assert run is not None
    assert run.stages[0].to_json()["reason"] == odd
    assert run.reason.startswith("cannot read caf")
