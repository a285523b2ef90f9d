"""The checker agrees with trying every order, on small random histories of every model."""

from collections.abc import Callable, Hashable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toron.checks import models
from toron.checks.history import UNKNOWN, History, Operation
from toron.checks.linearizability import check_linearizable

Spec = Callable[[Any, Operation], list[Any]]
"""All states after an operation, written for the test alone: the plain sequential object."""


def answers(operation: Operation, *right: object) -> bool:
    return operation.result is UNKNOWN or operation.result in right


def register(state: Any, operation: Operation) -> list[Any]:
    if operation.op == "write":
        return [operation.arg]
    if operation.op == "read":
        return [state] if answers(operation, state) else []
    old, new = operation.arg  # type: ignore[misc]
    if not answers(operation, state == old):
        return []
    return [new if state == old else state]


def key_value(state: Any, operation: Operation) -> list[Any]:
    values = dict(state)
    if operation.op == "get":
        return [state] if answers(operation, values.get(operation.arg)) else []
    if operation.op == "delete":
        values.pop(operation.arg, None)
    else:
        key, value = operation.arg  # type: ignore[misc]
        before = (values.get(key) or "") if operation.op == "append" else ""
        values[key] = before + value
    return [frozenset(values.items())]


def queue(state: Any, operation: Operation) -> list[Any]:
    if operation.op == "put":
        return [(*state, operation.arg)]
    if not state:
        return [state] if answers(operation, None) else []
    return [state[1:]] if answers(operation, state[0]) else []


def members(state: Any, operation: Operation) -> list[Any]:
    has = operation.arg in state
    if operation.op == "read":
        return [state] if answers(operation, tuple(sorted(state))) else []
    if operation.op == "contains":
        return [state] if answers(operation, has) else []
    changed = has == (operation.op == "remove")
    if not answers(operation, changed, None):
        return []
    return [state | {operation.arg} if operation.op == "add" else state - {operation.arg}]


def counter(state: Any, operation: Operation) -> list[Any]:
    if operation.op == "read":
        return [state] if answers(operation, state) else []
    after = state + operation.arg
    return [after] if answers(operation, None, after) else []


def lock(state: Any, operation: Operation) -> list[Any]:
    may = state is None if operation.op == "acquire" else state == operation.client
    after = operation.client if operation.op == "acquire" else None
    if not answers(operation, may):
        return []
    return [after if may else state]


def reentrant(state: Any, operation: Operation) -> list[Any]:
    held = list(state)
    mine = not held or held[0] == operation.client
    may = mine if operation.op == "acquire" else bool(held) and mine
    if not answers(operation, may):
        return []
    if may:
        held = [*held, operation.client] if operation.op == "acquire" else held[1:]
    return [tuple(held)]


def semaphore(state: Any, operation: Operation) -> list[Any]:
    may = state > 0 if operation.op == "acquire" else state < 2
    if not answers(operation, may):
        return []
    return [state + (1 if operation.op == "release" else -1) if may else state]


small = st.integers(0, 2)
letter = st.sampled_from(["a", "b"])
truth = st.booleans()
nothing = st.none()


def calls(**of: tuple[Any, Any]) -> Any:
    """Operations by name, each with its arguments and its answers."""
    return st.one_of(*(st.tuples(st.just(name), arg, answer) for name, (arg, answer) in of.items()))


CASES: dict[str, tuple[models.Model, Spec, Any, Any]] = {
    "register": (
        models.Register(0),
        register,
        0,
        calls(read=(nothing, small), write=(small, nothing), cas=(st.tuples(small, small), truth)),
    ),
    "key-value": (
        models.KeyValue(),
        key_value,
        frozenset(),
        calls(
            get=(letter, st.sampled_from([None, "1", "2", "12", "21"])),
            put=(st.tuples(letter, st.sampled_from(["1", "2"])), nothing),
            append=(st.tuples(letter, st.sampled_from(["1", "2"])), nothing),
            delete=(letter, nothing),
        ),
    ),
    "queue": (
        models.Queue(),
        queue,
        (),
        calls(put=(small, nothing), get=(nothing, st.one_of(nothing, small))),
    ),
    "set": (
        models.Set(),
        members,
        frozenset(),
        calls(
            add=(small, st.one_of(nothing, truth)),
            remove=(small, st.one_of(nothing, truth)),
            contains=(small, truth),
            read=(nothing, st.sampled_from([(), (0,), (1,), (0, 1), (0, 2)])),
        ),
    ),
    "set by element": (
        models.Set(),
        members,
        frozenset(),
        calls(
            add=(small, nothing),
            remove=(small, st.one_of(nothing, truth)),
            contains=(small, truth),
        ),
    ),
    "counter": (
        models.Counter(),
        counter,
        0,
        calls(read=(nothing, st.integers(-1, 4)), add=(st.integers(-1, 2), nothing)),
    ),
    "lock": (
        models.Lock(),
        lock,
        None,
        calls(acquire=(nothing, truth), release=(nothing, truth)),
    ),
    "reentrant lock": (
        models.Lock(reentrant=True),
        reentrant,
        (),
        calls(acquire=(nothing, truth), release=(nothing, truth)),
    ),
    "semaphore": (
        models.Semaphore(2),
        semaphore,
        2,
        calls(acquire=(nothing, truth), release=(nothing, truth)),
    ),
}


def any_order(operations: list[Operation], spec: Spec, state: Any) -> bool:
    """Whether some order that respects time is legal, by trying all of them."""
    if all(operation.returned is None for operation in operations):
        return True
    first_return = min(op.returned for op in operations if op.returned is not None)
    for position, operation in enumerate(operations):
        if operation.invoked < first_return:
            rest = operations[:position] + operations[position + 1 :]
            if any(any_order(rest, spec, after) for after in spec(state, operation)):
                return True
    return False


@st.composite
def histories(draw: Any, one_call: Any, operations_max: int) -> History:
    drawn = draw(st.lists(one_call, min_size=1, max_size=operations_max))
    apart = draw(st.sampled_from([0, 1, 2]))  # all at once, or rather one after another
    rows: list[tuple[Hashable, str, Any, Any, float, float | None]] = []
    for number, (op, arg, answer) in enumerate(drawn):
        begin = number * apart + draw(st.integers(0, 2 if apart else 8))
        end = begin + draw(st.integers(0, 3))
        lost = draw(st.integers(0, 4)) == 4
        rows.append((f"c{number % 3}", op, arg, answer, begin, None if lost else end))
    return History.of(rows)


def agree(name: str, history: History) -> bool:
    model, spec, initial, _ = CASES[name]
    judged = check_linearizable(history, model)
    assert judged.verdict in ("pass", "fail")
    assert bool(judged) == any_order(history.operations, spec, initial), judged.explanation
    if not judged:
        assert_the_core_contradicts_itself(judged.core, history, spec, initial)
    return bool(judged)


def assert_the_core_contradicts_itself(
    core: list[Operation], history: History, spec: Spec, initial: Any
) -> None:
    """Whatever subset of the others is added, there is no order."""
    assert core
    invoked = {operation.invoked for operation in core}
    others = [operation for operation in history if operation.invoked not in invoked]
    until = max(operation.returned or 0 for operation in core)
    others = [operation for operation in others if operation.invoked < until]
    for chosen in range(2 ** min(len(others), 4)):
        kept = [one for position, one in enumerate(others) if chosen >> position & 1]
        both = sorted([*core, *kept], key=lambda operation: operation.invoked)
        assert not any_order(both, spec, initial)


def both_verdicts_are_met(name: str, operations_max: int, examples: int) -> None:
    met = {True: 0, False: 0}

    @settings(max_examples=examples)
    @given(histories(CASES[name][3], operations_max))
    def run(history: History) -> None:
        met[agree(name, history)] += 1

    run()
    assert min(met.values()) > examples / 30, met


@pytest.mark.parametrize("name", CASES)
def test_the_checker_agrees_with_trying_every_order(name: str) -> None:
    both_verdicts_are_met(name, 6, 80)


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_the_checker_agrees_with_trying_every_order_of_more(name: str) -> None:
    both_verdicts_are_met(name, 8, 3_000)
