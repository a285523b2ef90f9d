"""select, poll and epoll wait in virtual time for simulated sockets."""

from collections.abc import Callable

from toron.search.outcome import Execution

Execute = Callable[..., Execution]


def test_threads_wait_for_a_socket_in_every_way_that_python_has(execute_program: Execute) -> None:
    for seed in range(3):
        outcome = execute_program("polling", "waits_in_threads", seed).outcome
        assert outcome.failure is None
        both = [[["data", 1]]] * 3
        assert outcome.outputs["result"] == [[1, [1], [1], both], 3]


def test_a_wait_with_a_limit_takes_as_long_in_virtual_time(execute_program: Execute) -> None:
    outcome = execute_program("polling", "times_out").outcome
    assert outcome.outputs["result"] == [[[[], [], []], [], []], 4.0]


def test_a_wait_that_nothing_can_end_is_a_deadlock_at_its_line(execute_program: Execute) -> None:
    failure = execute_program("polling", "blocks_the_loop_for_ever").outcome.failure
    assert failure is not None
    assert failure.kind == "deadlock"
    assert "the thread of the event loop is blocked in select.select()" in failure.message
    assert "in blocks_the_loop_for_ever" in failure.message


def test_an_edge_triggered_descriptor_is_reported_once_for_each_edge(
    execute_program: Execute,
) -> None:
    outcome = execute_program("polling", "is_told_of_an_edge_once").outcome
    assert outcome.outputs["result"] == [1, 0, 0, 1]
