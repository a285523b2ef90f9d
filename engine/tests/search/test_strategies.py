"""Each strategy finds what it is made for, says how far it looked, and invents nothing."""

from pathlib import Path

import pytest

import toron
import toron.search.explore
import toron.search.references
from toron.core.choices import STALL_NS_MAX
from toron.errors import BadKernel
from toron.search.explore import Exploration
from toron.search.references import KernelRef
from toron.search.strategies import EXPLORED, STRATEGIES

PROGRAM = Path(__file__).parent.parent / "programs" / "searched.py"


def explored(kernel: str, strategy: str, runs: int, *, beyond: bool = False) -> Exploration:
    reference = KernelRef(PROGRAM, kernel)
    return toron.explore(reference, seeds=range(runs), strategy=strategy, beyond=beyond)


def replays(exploration: Exploration) -> bool:
    """Whether the first failure comes again from its token, byte for byte."""
    outcome = exploration.failures[0].outcome
    return not toron.replay(outcome.token).differs_from(outcome)


def legality_of(exploration: Exploration) -> str:
    failure = exploration.failures[0].outcome.failure
    assert failure is not None
    return failure.legality or ""


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_no_strategy_takes_a_correct_program_for_a_livelock(strategy: str) -> None:
    assert explored("waits_politely", strategy, 8).failing_seeds == []


def test_a_coincidence_is_found_that_exact_timers_never_have() -> None:
    assert explored("deadline_beside_result", "random", 30).failing_seeds == []
    found = explored("deadline_beside_result", "portfolio", 60)
    assert found.failing_seeds
    assert replays(found)


def test_a_stall_makes_timers_late_and_not_by_much() -> None:
    for seed in range(12):
        outcome = toron.run(
            KernelRef(PROGRAM, "measures_its_sleeps"), seed=seed, strategy="coincidence"
        )
        assert outcome.verdict == "pass", outcome.failure
        # One stall in the way to the timer, and one between it and the step that it wakes.
        assert outcome.outputs["result"] < 2.5 * STALL_NS_MAX / 1e9


def test_bytes_that_are_ready_are_not_slept_through() -> None:
    for seed in range(12):
        outcome = toron.run(
            KernelRef(PROGRAM, "answers_at_once"), seed=seed, strategy="coincidence"
        )
        assert outcome.verdict == "pass", outcome.failure
        assert outcome.virtual_ns < 1_000_000_000


def test_every_schedule_of_a_small_program_is_tried_and_the_bound_is_told() -> None:
    nothing = explored("any_order_will_do", "delay", 100)
    assert nothing.failing_seeds == []
    assert nothing.bound == f"no run is left: all {nothing.seeds_run} schedules were tried"
    assert 4 <= nothing.seeds_run < 100


def test_two_deviations_are_found_after_all_runs_with_one() -> None:
    found = explored("third_comes_first", "delay", 100)
    assert found.failing_seeds
    token = toron.search.references.Token.decode(found.failures[0].outcome.token)
    assert token.tape is not None
    assert len(token.tape) == 2
    assert replays(found)


def test_a_search_that_runs_out_of_runs_says_what_is_left() -> None:
    part = explored("any_order_will_do", "delay", 3)
    assert part.bound is not None
    assert part.bound.startswith("all runs with at most 0 deviations were tried")


@pytest.mark.parametrize("kernel", ["lock_lost_to_a_timeout", "lock_lost_to_a_cancellation"])
def test_a_cancellation_is_tried_at_every_await(kernel: str) -> None:
    assert explored(kernel, "random", 10).failing_seeds == []
    found = explored(kernel, "cancellation", 60)
    assert [cluster.outcome.failure.kind for cluster in found.failures if cluster.outcome.failure]
    assert found.failures[0].outcome.failure is not None
    assert found.failures[0].outcome.failure.kind == "deadlock"
    assert replays(found)


def test_tasks_that_nobody_cancels_are_left_alone_unless_asked() -> None:
    for kernel in ("never_cancelled", "never_cancelled_before_the_end"):
        shy = explored(kernel, "cancellation", 60)
        assert shy.failing_seeds == []
        assert shy.bound is not None
        assert "(--beyond)" in shy.bound
        bold = explored(kernel, "cancellation", 60, beyond=True)
        assert bold.failing_seeds
        assert replays(bold)
        assert legality_of(bold).startswith("beyond: the search cancelled")


def test_a_cancellation_at_a_moment_of_the_search_is_not_called_legal() -> None:
    found = explored("lock_lost_to_a_cancellation", "cancellation", 60)
    assert legality_of(found).startswith("beyond: the search cancelled careless#1 there")
    assert "which the program does at another moment" in legality_of(found)


def test_a_guard_that_is_due_after_the_end_never_expires() -> None:
    shy = explored("guarded_by_a_minute", "cancellation", 60)
    assert shy.failing_seeds == []
    assert explored("guarded_by_a_minute", "cancellation", 60, beyond=True).failing_seeds


def test_the_deadline_of_a_task_that_was_just_woken_is_tried() -> None:
    found = explored("woken_and_gone", "cancellation", 60)
    assert found.failing_seeds
    assert legality_of(found).startswith("legal: ")
    assert replays(found)


def test_a_swarm_varies_the_faults_and_each_run_says_its_chaos_seed() -> None:
    reference = KernelRef(PROGRAM, "under_faults")
    runs = list(
        toron.search.explore.run_many(
            toron.search.explore.Search(reference, range(8), 3, varies_faults=True)
        )
    )
    plans = {str(run.outcome.outputs["plan"]) for run in runs}
    assert len(plans) > 3
    for run in runs:
        alone = toron.run(reference, seed=run.outcome.sim_seed, chaos_seed=run.outcome.chaos_seed)
        assert alone.trace_digest == run.outcome.trace_digest


def test_a_seed_has_the_same_faults_whichever_seed_is_first() -> None:
    reference = KernelRef(PROGRAM, "under_faults")
    search = toron.search.explore.Search(reference, range(4), 3, varies_faults=True)
    among = [run.outcome for run in toron.search.explore.run_many(search)]
    for seed, outcome in enumerate(among):
        search = toron.search.explore.Search(
            reference, range(seed, seed + 1), 3, varies_faults=True
        )
        (alone,) = toron.search.explore.run_many(search)
        assert alone.outcome == outcome


def test_a_seed_is_the_same_run_alone_and_among_others() -> None:
    reference = KernelRef(PROGRAM, "deadline_beside_result")
    among = explored("deadline_beside_result", "portfolio", 40)
    for cluster in among.failures:
        alone = toron.run(reference, seed=cluster.outcome.sim_seed)
        assert not alone.differs_from(cluster.outcome)


@pytest.mark.parametrize("strategy", ["guess", "delay", "cancellation", "swarm", "fork"])
def test_a_single_run_takes_a_strategy_that_needs_no_other_run(strategy: str) -> None:
    with pytest.raises(BadKernel, match="is none of portfolio, random"):
        toron.run(KernelRef(PROGRAM, "any_order_will_do"), seed=1, strategy=strategy)


def test_an_unknown_strategy_lists_those_there_are() -> None:
    with pytest.raises(BadKernel, match=", ".join(EXPLORED)):
        explored("any_order_will_do", "guess", 1)
