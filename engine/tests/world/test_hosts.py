"""Each host has clocks, signals and a process of its own, and they fail as a machine's do."""

from collections.abc import Callable
from typing import Any

import pytest

from toron.search.outcome import Execution

Execute = Callable[..., Execution]


@pytest.fixture
def outputs(execute_program: Execute) -> Callable[[str], dict[str, Any]]:
    def run(kernel: str) -> dict[str, Any]:
        outcome = execute_program("hosts", kernel).outcome
        assert outcome.failure is None
        assert execute_program("hosts", kernel).outcome == outcome
        return outcome.outputs

    return run


def test_a_jump_moves_the_wall_clock_and_only_on_request_the_monotonic_one(outputs: Any) -> None:
    found = outputs("clocks_that_jump")
    wall = [pair[0] for pair in found["seen"]]
    mono = [pair[1] for pair in found["seen"]]
    assert wall[:4] == pytest.approx([0, 1, 2 - 3600, 2.5 - 3600 + 10], abs=0.01)
    assert mono[:4] == pytest.approx([0, 1, 2, 12.5], abs=0.01)
    assert found["true"] == pytest.approx(4.5, abs=0.01)


def test_timers_follow_the_clock_of_their_host_from_the_moment_it_drifts(outputs: Any) -> None:
    woken = outputs("a_clock_that_drifts")["woken"]
    assert woken == pytest.approx([0.9, 1.7, 2.5, 3.3], abs=0.01)


def test_a_host_may_live_in_another_day(outputs: Any) -> None:
    assert outputs("a_date_of_its_own") == {"db": "2026-02-10", "main": "2026-01-01"}


def test_a_paused_host_does_nothing_and_is_late_when_it_goes_on(outputs: Any) -> None:
    assert outputs("a_pause")["seen"] == [0, 1, 2, 13, 14]


def test_a_paused_host_still_takes_bytes_and_answers_when_it_goes_on(outputs: Any) -> None:
    found = outputs("a_peer_of_a_paused_host")
    assert found == {"timed out": True, "line": "hello\n", "waited": 5}


def test_a_killed_process_closes_its_connections_and_runs_no_finally(outputs: Any) -> None:
    found = outputs("a_kill")
    assert found["end"] == ""
    assert found["cleaned"] == []
    assert found["up"] is False
    assert found["refused"] in ("ConnectionRefusedError", "TimeoutError")


def test_sigterm_is_graceful_for_who_listens_and_the_end_for_who_does_not(outputs: Any) -> None:
    assert outputs("a_graceful_stop") == {
        "good": True,
        "bad": False,
        "events": ["stopping", "stopped"],
        "up": [False, False],
    }


def test_a_signal_reaches_the_handler_of_its_host_only(outputs: Any) -> None:
    assert outputs("handlers_by_host") == {"seen": [["b", 10]], "own": True}


def test_sigint_cancels_what_was_spawned(outputs: Any) -> None:
    assert outputs("an_interrupt") == {"events": ["cancelled"]}


def test_an_alarm_rings_in_virtual_time(outputs: Any) -> None:
    assert outputs("an_alarm") == {"seen": [5]}
