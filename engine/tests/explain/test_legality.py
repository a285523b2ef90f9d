"""A failure is legal when stock asyncio may take that order, and beyond when it keeps another."""

from pathlib import Path
from typing import Any

import pytest

import toron
from toron.search.explain.deviations import deviations_of
from toron.search.explain.explain import Wanted, explain
from toron.search.explain.explanation import Explanation
from toron.search.explain.labels import label_failures
from toron.search.explain.legality import Legality, legality_of, proven
from toron.search.explain.steps import account_of
from toron.search.outcome import Execution
from toron.search.references import KernelRef, Token
from toron.testing import execute

FILE = Path(__file__).parent.parent / "programs" / "explained.py"


def runs_of(kernel: str, strategy: str, count: int, level: str = "digest") -> list[Execution]:
    reference = KernelRef(FILE, kernel)
    return [
        execute(reference, seed=seed, strategy=strategy, level=level, records_tape=True)
        for seed in range(count)
    ]


def failures_of(kernel: str, strategy: str, count: int) -> list[Execution]:
    """The failing ones among so many runs, event by event."""
    failed = [run for run in runs_of(kernel, strategy, count) if run.outcome.verdict == "fail"]
    assert failed
    return [
        execute(
            KernelRef(FILE, kernel),
            seed=run.outcome.sim_seed,
            strategy=strategy,
            level="events",
            records_tape=True,
        )
        for run in failed[:3]
    ]


def explained(run: Execution, witness_runs: int) -> Explanation:
    wanted = Wanted(shrinks=False, reproduces=False, witness_runs=witness_runs)
    return explain(Token.decode(run.outcome.token), wanted)


@pytest.mark.parametrize("kernel", ["in_order", "waiters_in_order"])
def test_what_one_step_puts_on_the_loop_runs_in_that_order(kernel: str) -> None:
    for run in failures_of(kernel, "random", 12):
        label = legality_of(deviations_of(account_of(run)))
        assert label.text.startswith("beyond: stock asyncio always runs ")
        assert "first in, first out" in label.text


def test_two_tasks_that_their_own_timers_woke_have_no_order() -> None:
    for run in failures_of("two_clocks", "portfolio", 24):
        broken = [one for one in deviations_of(account_of(run)) if not one.is_legal]
        # What `gather` started in another order is beyond, the sleeps that end in one tick are not:
        # had the process stood still earlier, the second sleep of either could begin with the other
        assert all(step.ordinal == 1 for one in broken for step in one.steps)


def test_two_hosts_have_no_order() -> None:
    for run in failures_of("on_two_hosts", "random", 24):
        deviations = deviations_of(account_of(run))
        assert deviations
        assert all(one.is_legal for one in deviations)


def test_the_strategy_legal_never_goes_beyond() -> None:
    for kernel in ("lost_turn", "two_clocks", "waiters_in_order"):
        for run in runs_of(kernel, "legal", 5, "events"):
            assert all(one.is_legal for one in deviations_of(account_of(run)))


def test_a_beyond_run_is_legal_when_asyncios_own_order_fails_alike() -> None:
    run = execute(KernelRef(FILE, "always_fails"), seed=0, tape=[], level="events")
    beyond = Legality("beyond: as it is")
    told = proven(run.outcome, beyond, [run])
    assert told.witness is run
    assert told.text == (
        "legal: a run in asyncio's own order fails alike (seed 0); this one is beyond: as it is"
    )
    other = execute(KernelRef(FILE, "ring"), seed=0, tape=[])
    assert not proven(run.outcome, beyond, [other]).is_legal


def test_a_failure_that_asyncio_never_shows_stays_beyond() -> None:
    told = explained(failures_of("in_order", "random", 6)[0], 3)
    assert told.legality.text.startswith("beyond: ")
    assert "runs in asyncio's own order failed so" in told.legality.text
    assert told.outcome.failure is not None
    assert told.outcome.failure.legality == told.legality.text


def test_faults_are_named_by_what_they_do_and_when_they_begin() -> None:
    program = FILE.parent / "searched.py"
    run = execute(KernelRef(program, "under_faults"), seed=1, level="events", records_tape=True)
    (faults,) = [one for one in deviations_of(account_of(run)) if one.kind == "faults"]
    plan = run.outcome.faults
    assert plan
    assert faults.text == f"faults took place: {'; '.join(plan)}"
    assert f"{faults.at_ns / 1e9:.3f}" == plan[0].partition("-")[0]
    assert len(faults.keys) == len(plan)


def test_a_failure_of_asyncios_own_order_needs_no_deviation() -> None:
    run = execute(KernelRef(FILE, "always_fails"), seed=0, tape=[], level="events")
    label = legality_of(deviations_of(account_of(run)))
    assert label.text == "legal: it happens in asyncio's own order, without any deviation"


def cancelled(point: str, value: int, cancels: Any) -> list[bool]:
    run = execute(KernelRef(FILE, "lost_turn"), seed=0, tape=[(point, value)], level="events")
    found = deviations_of(account_of(run), cancels)
    return [one.is_legal for one in found if one.kind in ("cancellation", "timeout")]


def test_a_cancellation_by_the_search_is_beyond_and_a_timeout_is_legal() -> None:
    assert cancelled("cancel patient#1/2", 1, ()) == [False]
    assert cancelled("cancel patient#1/2", 1, {"patient#1"}) == [False]
    assert cancelled("cancel hasty#1/2", 2, ()) == [True]


def test_an_exploration_labels_one_run_of_each_cause() -> None:
    found = toron.explore(KernelRef(FILE, "in_order"), seeds=range(4), strategy="random")
    (cluster,) = found.failures
    failure = cluster.outcome.failure
    assert failure is not None
    assert failure.legality is not None
    assert failure.legality.startswith("beyond: ")
    assert found.to_json()["failures"][0]["failure"]["legality"] == failure.legality
    assert not cluster.outcome.differs_from(toron.replay(cluster.outcome.token))


def test_what_was_explored_is_kept_when_it_can_be_labelled_no_more(tmp_path: Path) -> None:
    found = toron.explore(KernelRef(FILE, "always_fails"), seeds=range(2))
    label_failures(found, KernelRef(tmp_path / "moved_away.py", "always_fails"))
    assert found.failing_seeds == [0, 1]
    failure = found.failures[0].outcome.failure
    assert failure is not None
    assert failure.legality is not None
    assert failure.legality.startswith("unknown: ")
    assert "moved_away.py cannot be imported" in failure.legality


def test_a_long_run_is_not_labelled_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toron.search.explain.labels.STEPS_MAX", 1)
    failure = toron.explore(KernelRef(FILE, "always_fails"), seeds=range(1)).failures[0]
    assert failure.outcome.failure is not None
    assert (failure.outcome.failure.legality or "").startswith("unknown: it has ")
