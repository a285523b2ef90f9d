"""One run for one question, its place in the queue, and how lists of runs are read."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.platform import ERRORED, GREEN, Stores, at_once, new_run

from testops.domain.execution import Executor, Fenced
from testops.domain.run import RunState
from testops.domain.run_view import RunFilter
from testops.domain.seeds import SEED_COUNT
from testops.domain.verdict import Verdict
from testops.storage.database import open_database
from testops.storage.runs import TURNS_MAX


@pytest.fixture
def stores(database_url: str) -> Iterator[Stores]:
    database = open_database(database_url)
    yield Stores(database)
    database.close()


def test_a_question_that_is_asked_twice_is_one_run(stores: Stores) -> None:
    first = stores.runs.create(new_run())
    again = stores.runs.create(new_run())

    assert (first.outcome, again.outcome) == ("created", "existing")
    assert len(stores.submitted) == 1
    assert stores.types("a" * 16) == ["run.queued"]


def test_a_question_that_many_ask_at_once_is_one_run(stores: Stores) -> None:
    outcomes: list[str] = []
    at_once(12, lambda _: outcomes.append(stores.runs.create(new_run()).outcome))

    assert sorted(outcomes) == ["created"] + ["existing"] * 11
    assert len(stores.submitted) == 1


def test_seeds_up_to_the_largest_come_back_as_they_were(stores: Stores) -> None:
    run = stores.runs.create(new_run()).run

    assert run.seeds.sim == SEED_COUNT - 1
    assert run.to_json()["seeds"] == {"sim": SEED_COUNT - 1, "chaos": 7}


@pytest.mark.parametrize("state", [RunState.CANCELLED, RunState.ERRORED])
def test_a_run_without_an_answer_gets_another_attempt(stores: Stores, state: RunState) -> None:
    stores.runs.create(new_run())
    if state is RunState.CANCELLED:
        stores.runs.request_cancel("a" * 16, "bob")
    else:
        stores.executions.abandon("a" * 16, 1, ERRORED)

    again = stores.runs.create(new_run())

    assert again.outcome == "attempt"
    assert (again.run.attempt, again.run.state, again.run.verdict) == (2, RunState.QUEUED, None)
    assert [one.attempt for one in stores.submitted] == [1, 2]
    assert stores.types("a" * 16) == ["run.queued", "run.finished", "run.queued"]
    assert [one["state"] for one in stores.runs.attempts("a" * 16)] == [state.value, "queued"]


def test_a_run_with_an_answer_is_that_answer(stores: Stores) -> None:
    stores.runs.create(new_run())
    taken = stores.executions.take("a" * 16, 1, "one")
    assert taken is not None
    stores.executions.finish(taken, GREEN)

    again = stores.runs.create(new_run())

    assert again.outcome == "existing"
    assert (again.run.state, again.run.verdict) == (RunState.FINISHED, Verdict.PASS)


def test_a_queued_run_that_is_cancelled_ends_at_once(stores: Stores) -> None:
    stores.runs.create(new_run())

    ended = stores.runs.request_cancel("a" * 16, "bob")

    assert ended is not None
    assert (ended.state, ended.verdict) == (RunState.CANCELLED, Verdict.INCONCLUSIVE)
    assert ended.reason == "cancelled by bob"
    assert stores.executions.take("a" * 16, 1, "one") is None


def test_cancelling_a_running_run_leaves_its_end_to_the_executor(stores: Stores) -> None:
    stores.runs.create(new_run())
    stores.executions.take("a" * 16, 1, "one")

    asked = stores.runs.request_cancel("a" * 16, "bob")

    assert asked is not None
    assert asked.state is RunState.RUNNING
    (watched,) = stores.executions.watch(["a" * 16])
    assert watched.cancel_requested_by == "bob"


def test_a_better_priority_ranks_before_any_number_of_others(stores: Stores) -> None:
    for number in range(5):
        stores.runs.create(new_run(f"{number:016x}", priority=5))
    stores.runs.create(new_run("b" * 16, priority=0))

    assert min(stores.submitted, key=lambda one: one.rank).run_id == "b" * 16
    assert all(0 < one.rank < 10 * TURNS_MAX < 2**31 for one in stores.submitted)


def test_the_first_run_of_a_suite_does_not_wait_for_ten_of_another(stores: Stores) -> None:
    for number in range(10):
        stores.runs.create(new_run(f"{number:016x}", suite="many"))
    stores.runs.create(new_run("b" * 16, suite="few"))
    stores.runs.create(new_run("c" * 16, suite="few"))

    order = [one.run_id for one in sorted(stores.submitted, key=lambda one: one.rank)]

    assert order.index("b" * 16) <= 1
    assert order.index("c" * 16) <= 3


def test_a_suite_that_slept_does_not_own_the_queue_afterwards(stores: Stores) -> None:
    for number in range(10):
        stores.runs.create(new_run(f"{number:016x}", suite="busy"))
        stores.executions.take(f"{number:016x}", 1, "one")
    stores.runs.create(new_run("e" * 16, suite="busy"))
    for name in "bcd":
        stores.runs.create(new_run(name * 16, suite="sleeper"))

    waiting = [one for one in stores.submitted if one.run_id[0] in "bcde"]
    order = [one.run_id[0] for one in sorted(waiting, key=lambda one: one.rank)]

    assert order.index("e") <= 1


def test_a_run_whose_deadline_passes_in_the_queue_ends_inconclusive(stores: Stores) -> None:
    stores.runs.create(new_run("b" * 16, deadline_s=-1))
    stores.runs.create(new_run("c" * 16, deadline_s=600))

    assert stores.executions.expire_queued() == ["b" * 16]

    late = stores.runs.get("b" * 16)
    assert late is not None
    assert (late.state, late.verdict) == (RunState.ERRORED, Verdict.INCONCLUSIVE)
    assert "deadline" in late.reason


def test_pages_go_on_where_they_stopped_while_runs_arrive(stores: Stores) -> None:
    for number in range(7):
        stores.runs.create(new_run(f"{number:016x}"))

    first = stores.runs.list(RunFilter(), limit=3)
    stores.runs.create(new_run("f" * 16))
    seen = [run.run_id for run in first.runs]
    following = first.following
    while following is not None:
        page = stores.runs.list(RunFilter(), after=following, limit=3)
        seen += [run.run_id for run in page.runs]
        following = page.following

    assert sorted(seen) == [f"{number:016x}" for number in range(7)]
    assert len(set(seen)) == 7


def test_a_list_shows_what_its_filter_lets_through(stores: Stores) -> None:
    stores.runs.create(new_run("b" * 16, suite="one"))
    stores.runs.create(new_run("c" * 16, suite="two"))
    stores.runs.request_cancel("c" * 16, "bob")

    def shown(**wanted: object) -> list[str]:
        page = stores.runs.list(RunFilter(**wanted))  # type: ignore[arg-type]
        return [run.run_id[0] for run in page.runs]

    assert shown(suite="one") == ["b"]
    assert shown(state="cancelled") == ["c"]
    assert shown(verdict="inconclusive") == ["c"]
    assert shown(commit="c" * 40) in (["b", "c"], ["c", "b"])
    assert shown(workspaces=frozenset({"other"})) == []
    assert shown(label=("team", "a'b\"c")) == []


def test_a_label_is_found_whatever_stands_in_it(stores: Stores) -> None:
    from dataclasses import replace

    labels = {"team": "a'b\"c%_", 'odd".name': "x"}
    stores.runs.create(replace(new_run(), labels=labels))

    for name, value in labels.items():
        found = stores.runs.list(RunFilter(label=(name, value)))
        assert [run.run_id for run in found.runs] == ["a" * 16], name


def test_a_command_line_takes_no_run_from_whoever_executes_it(stores: Stores) -> None:
    stores.leases.beat(Executor("server", "runner", "host", 1, 2, "v"))
    stores.runs.create(new_run())
    taken = stores.executions.take("a" * 16, 1, "server")
    assert taken is not None

    assert stores.runs.create_foreground(new_run(), "cli") is None

    stores.executions.finish(taken, GREEN)
    own = stores.runs.create_foreground(new_run(), "cli")
    assert own is not None
    assert (own.run.attempt, own.run.state) == (2, RunState.RUNNING)
    assert stores.types("a" * 16)[-2:] == ["run.queued", "run.started"]


def test_a_deadline_that_several_runners_see_pass_ends_its_run_once(database_url: str) -> None:
    databases = [open_database(database_url) for _ in range(6)]
    many = [Stores(database) for database in databases]
    names = [f"{number:016x}" for number in range(30)]
    for name in names:
        many[0].runs.create(new_run(name, deadline_s=-1))

    def look(number: int) -> None:
        many[number].executions.expire_queued()

    try:
        at_once(len(many), look)
        told = [many[0].types(name) for name in names]
    finally:
        for database in databases:
            database.close()

    assert told == [["run.queued", "run.finished"]] * len(names)


def test_a_run_that_a_killed_command_line_left_ends_when_it_is_asked_for_again(
    stores: Stores,
) -> None:
    first = stores.runs.create_foreground(new_run(), "killed")
    assert first is not None

    second = stores.runs.create_foreground(new_run(), "cli")

    assert second is not None
    assert (second.run.attempt, second.run.state) == (2, RunState.RUNNING)
    states = [one["state"] for one in stores.runs.attempts("a" * 16)]
    assert states == ["errored", "running"]
    with pytest.raises(Fenced):
        stores.executions.finish(first, GREEN)


def test_a_list_does_not_read_the_seeds_of_its_runs(stores: Stores) -> None:
    many = {"stages": ["sim"], "sim_seeds": list(range(200_000))}
    for number in range(10):
        stores.runs.create(replace(new_run(f"{number:016x}"), question=many))

    tracemalloc.start()
    try:
        page = stores.runs.list(RunFilter())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(page.runs) == 10
    assert peak < 2_000_000
