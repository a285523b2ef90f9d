"""Blocking sockets wait under the baton, in virtual time, on the simulated network."""

from collections.abc import Callable
from typing import Any

import pytest

from toron.search.outcome import Execution

Execute = Callable[..., Execution]

RESULTS: dict[str, Any] = {
    "a_threaded_echo": [100_000, True],
    "files_of_a_socket": ["a\n", "b\n"],
    "a_timeout": ["timed out", 2.5],
    "an_http_server_of_the_standard_library": ["/0", "/1", "/2", "/3", "ConnectionRefusedError"],
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kernel", RESULTS)
def test_blocking_code_in_threads_does_what_it_does_on_a_real_machine(
    kernel: str, seed: int, execute_program: Execute
) -> None:
    outcome = execute_program("blocking", kernel, seed).outcome
    assert outcome.failure is None
    assert outcome.outputs["result"] == RESULTS[kernel]
    assert execute_program("blocking", kernel, seed).outcome == outcome


def test_a_blocking_client_gets_through_when_the_partition_heals(execute_program: Execute) -> None:
    outcome = execute_program("blocking", "a_client_in_a_partition").outcome
    assert outcome.failure is None
    assert outcome.outputs == {"line": "hello\n", "late": True}


def test_a_blocking_call_that_nothing_can_end_is_a_deadlock_at_its_line(
    execute_program: Execute,
) -> None:
    failure = execute_program("blocking", "blocks_the_loop_for_ever").outcome.failure
    assert failure is not None
    assert failure.kind == "deadlock"
    assert "the thread of the event loop is blocked in socket.recv at" in failure.message
    assert failure.where.endswith("in blocks_the_loop_for_ever")
