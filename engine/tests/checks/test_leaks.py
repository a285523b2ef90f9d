"""What a kernel leaves behind is a failure when that is forbidden, and only then."""

from collections.abc import Callable
from typing import Any

import pytest

from toron.search.outcome import Execution, Outcome


@pytest.fixture
def outcome_of(execute_program: Callable[..., Execution]) -> Callable[[str], Outcome]:
    return lambda kernel: execute_program("judged", kernel).outcome


def leak_of(outcome: Outcome) -> tuple[str, str]:
    assert outcome.failure is not None
    assert outcome.failure.kind == "leaked_task"
    assert outcome.verdict == "fail"
    return outcome.failure.message, outcome.failure.where


def test_a_task_that_nobody_waits_for_is_leaked(outcome_of: Any) -> None:
    message, where = leak_of(outcome_of("leaves_a_task"))
    assert message == "task#2 World.sleep on main is still pending, and nobody waits for it"
    assert where


def test_a_plain_kernel_may_leave_a_task(outcome_of: Any) -> None:
    assert outcome_of("leaves_a_task_and_may").verdict == "pass"


def test_a_kernel_can_forbid_it_by_itself(outcome_of: Any) -> None:
    assert "still pending" in leak_of(outcome_of("forbids_it_by_itself"))[0]


@pytest.mark.parametrize(
    "kernel", ["cancels_what_it_started", "ends_one_step_before_its_task", "a_daemon_goes_on"]
)
def test_what_is_about_to_end_or_is_a_daemon_is_no_leak(outcome_of: Any, kernel: str) -> None:
    outcome = outcome_of(kernel)
    assert (outcome.verdict, outcome.failure) == ("pass", None)


def test_a_coroutine_that_nobody_awaited_is_leaked_where_it_was_made(outcome_of: Any) -> None:
    message, where = leak_of(outcome_of("forgets_to_await"))
    assert message == "coroutine sleep was never awaited"
    other = outcome_of("leaves_a_task").failure
    assert other.cause.startswith("leaked_task task# ")
    assert other.cause != outcome_of("forgets_to_await").failure.cause
    assert where.startswith("judged.py:") or "programs/judged.py:" in where
    assert where.endswith("in forgets_to_await")


def test_a_task_that_was_destroyed_while_it_waited_is_leaked(outcome_of: Any) -> None:
    message, where = leak_of(outcome_of("loses_a_task"))
    assert "waits_for_nobody was destroyed while it was pending: nobody held it" in message
    assert where.endswith("in loses_a_task.<locals>.waits_for_nobody")


def test_a_host_that_has_ended_leaves_nothing_running(outcome_of: Any) -> None:
    message, _ = leak_of(outcome_of("a_host_ends_and_leaves_a_task"))
    assert "World.sleep on app is still pending" in message


def test_an_exception_that_nobody_retrieved_stays_an_exception(outcome_of: Any) -> None:
    failure = outcome_of("an_exception_is_worse").failure
    assert failure.kind == "exception"
    assert "KeyError" in failure.message
