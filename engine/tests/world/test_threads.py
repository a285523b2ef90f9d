"""Threads live in the world: under a baton, in virtual time, on their host, alike for one seed."""

from collections.abc import Callable
from typing import Any

import pytest

from toron.search.outcome import Execution

Execute = Callable[..., Execution]

RESULTS: dict[str, Any] = {
    "jobs_of_the_default_executor": [0, 1, 2, 3, 4],
    "a_worker_with_a_queue": [[0, 1, 2, 3, 4, 5], False],
    "a_job_that_waits_for_the_loop": "from the loop",
    "a_loop_in_a_thread": "HELLO\n",
    "waits_that_time_out": [[False, False, True, False], 5.0],
    "a_timer_and_a_barrier": [["a", "bb"], 3],
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kernel", RESULTS)
def test_a_program_with_threads_does_what_it_does_on_a_real_machine(
    kernel: str, seed: int, execute_program: Execute
) -> None:
    outcome = execute_program("threads", kernel, seed).outcome
    assert outcome.failure is None
    assert outcome.outputs["result"] == RESULTS[kernel]


def test_one_seed_is_one_order_of_threads_and_seeds_differ(execute_program: Execute) -> None:
    outcomes = [execute_program("threads", "a_pool_that_logs", s).outcome for s in (1, 1, 2, 3, 4)]
    assert outcomes[0] == outcomes[1]
    assert len({outcome.trace_digest for outcome in outcomes}) == 4
    assert {tuple(sorted(outcome.outputs["result"])) for outcome in outcomes} == {
        tuple(f"job {n}" for n in range(9))
    }


def test_a_race_between_threads_is_found_and_replayed(execute_program: Execute) -> None:
    totals = {s: execute_program("threads", "a_lost_update", s).outcome for s in range(12)}
    found = {outcome.outputs["result"] for outcome in totals.values()}
    assert 9 in found
    assert found - {9}
    for seed, outcome in totals.items():
        assert execute_program("threads", "a_lost_update", seed).outcome == outcome


def test_threads_that_wait_for_each_other_are_a_deadlock_that_names_both(
    execute_program: Execute,
) -> None:
    failure = execute_program("threads", "two_locks_in_opposite_order").outcome.failure
    assert failure is not None
    assert failure.kind == "deadlock"
    assert "one waits for a lock held by thread#2" in failure.message
    assert "other waits for a lock held by thread#1" in failure.message


def test_an_exception_that_ends_a_thread_fails_the_run(execute_program: Execute) -> None:
    failure = execute_program("threads", "an_exception_in_a_thread").outcome.failure
    assert failure is not None
    assert failure.kind == "exception"
    assert "RuntimeError: nobody looks" in failure.message
    assert failure.where.endswith("in an_exception_in_a_thread.<locals>.fail")


def test_names_and_idents_of_threads_are_the_same_in_each_run(execute_program: Execute) -> None:
    outcomes = [execute_program("threads", "names_and_idents", 5).outcome for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    seen, is_main, same = outcomes[0].outputs["result"]
    assert (is_main, same) == (True, True)
    assert all(ident == again == native for _, ident, again, native in seen)


def test_the_threads_of_a_host_end_with_its_power_and_start_again(
    execute_program: Execute,
) -> None:
    outcome = execute_program("threads", "a_host_that_loses_power").outcome
    assert outcome.failure is None
    assert outcome.outputs["done"] == 5


def test_a_lock_held_by_a_host_that_lost_power_is_free(execute_program: Execute) -> None:
    outcome = execute_program("threads", "a_lock_that_the_dead_held").outcome
    assert outcome.outputs["free"] is True


def test_a_fault_that_begins_while_a_thread_has_the_baton_is_not_of_its_host(
    execute_program: Execute,
) -> None:
    outcome = execute_program("threads", "a_host_that_is_paused_in_a_thread").outcome
    assert outcome.failure is None
    assert outcome.outputs["longest"] > 0.02


def test_a_property_that_breaks_while_a_thread_has_the_baton_ends_the_run(
    execute_program: Execute,
) -> None:
    outcome = execute_program("threads", "a_property_that_expires_in_a_thread").outcome
    assert outcome.failure is not None
    assert outcome.failure.kind == "property"
    assert outcome.failure.virtual_ns < 1_100_000_000


def test_what_dies_with_its_thread_is_gone_before_another_goes_on(execute_program: Execute) -> None:
    """The real thread destroys it after its last line, when the baton must still be its own."""
    outcome = execute_program("threads", "what_dies_with_its_thread").outcome
    assert outcome.failure is None
    log = outcome.outputs["result"]
    assert [line for line in log if line.startswith("after")] == [
        f"after thread {number}" for number in range(3)
    ]
    for number in range(3):
        assert log.index(f"after thread {number}") == 3 * number + 2
    assert sorted(log[:2]) == ["a thread-local is gone", "an argument is gone"]
