"""What is due happens in the order of time, and of request where times are equal."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from toron.core.agenda import Agenda


def append(target: list[int], value: int) -> Callable[[], None]:
    return lambda: target.append(value)


@given(st.lists(st.integers(0, 5), max_size=40))
def test_actions_happen_by_time_and_equal_times_in_order_of_request(times: list[int]) -> None:
    agenda, done = Agenda(), list[int]()
    for number, at_ns in enumerate(times):
        agenda.at(at_ns, append(done, number))
    assert agenda.run_due(5) == bool(times)
    assert done == sorted(range(len(times)), key=lambda number: (times[number], number))


def test_what_is_not_yet_due_waits() -> None:
    agenda, done = Agenda(), list[int]()
    agenda.at(10, append(done, 1))
    assert not agenda.run_due(9)
    assert agenda.next_ns() == 10
    assert agenda.run_due(10)
    assert done == [1]
    assert agenda.next_ns() is None


def test_an_action_may_ask_for_another_that_is_due_at_once() -> None:
    agenda, done = Agenda(), list[int]()
    agenda.at(1, lambda: agenda.at(1, append(done, 7)))
    agenda.run_due(1)
    assert done == [7]


def test_actions_that_cannot_wake_the_program_do_not_keep_it_alive() -> None:
    agenda, done = Agenda(), list[int]()
    agenda.at(5, append(done, 5), wakes=False)
    assert agenda.next_ns() is None
    agenda.at(9, append(done, 9))
    assert agenda.next_ns() == 5
    assert agenda.first_ns() == 5
    agenda.run_due(5)
    assert (done, agenda.next_ns()) == ([5], 9)
