"""The checker agrees with trying every order, on small random histories of transactions.

Histories are drawn from a store that is honest or not: a read sees all that was there, or less.
A last transaction reads everything, so that the version orders are known, and then the checker must
be exact: an anomaly if and only if no order explains what was read.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toron.checks.history import History, Operation
from toron.checks.serializability import Level, check_serializable

KEYS = ("x", "y")
Store = dict[str, tuple[int, ...]]


@dataclass
class Drawn:
    """A transaction while it is drawn."""

    client: str
    begin: int
    end: int | None
    accesses: list[list[Any]]


@st.composite
def histories(draw: Any, transactions_max: int, *, registers: bool) -> History:
    """Transactions whose accesses are interleaved at random."""
    count = draw(st.integers(2, transactions_max))
    plan = st.lists(st.tuples(st.booleans(), st.sampled_from(KEYS)), min_size=1, max_size=3)
    plans = [draw(plan) for _ in range(count)]
    drawn = [Drawn(f"c{draw(st.integers(0, 2))}", 0, 0, []) for _ in range(count)]
    turns = [number for number, one in enumerate(plans) for _ in one]
    if draw(st.booleans()):
        turns = draw(st.permutations(turns))
    store: Store = dict.fromkeys(KEYS, ())
    value = itertools.count(1)
    place = dict.fromkeys(range(count), 0)
    for number in turns:
        writes, key = plans[number][place[number]]
        place[number] += 1
        mine = [a[2] for a in drawn[number].accesses if a[0] != "r" and a[1] == key]
        if writes:
            new = next(value)
            drawn[number].accesses.append(["w" if registers else "append", key, new])
            store[key] = (*store[key], new)
            continue
        stale = draw(st.sampled_from([0, 0, 0, 1, 2]))
        seen = store[key][: len(store[key]) - stale] if not mine else store[key]
        answer: Any = list(seen)
        if registers:
            answer = seen[-1] if seen else None
        drawn[number].accesses.append(["r", key, answer])
    if not registers:
        drawn.append(Drawn("last", 0, 0, [["r", key, list(store[key])] for key in KEYS]))
    events: list[tuple[int, int, dict[str, Any]]] = []
    clock = dict.fromkeys(("c0", "c1", "c2", "last"), 0)
    for number, one in enumerate(drawn):
        begin = clock[one.client] + draw(st.integers(0, 3))
        takes = draw(st.integers(1, 9))
        clock[one.client] = begin + takes
        lost = one.client != "last" and draw(st.integers(0, 5)) == 0
        event = {"process": one.client, "f": "txn", "value": one.accesses}
        events.append((begin * 2 + 1, number, {**event, "type": "invoke"}))
        kind = {"type": "info"} if lost else {"type": "ok"}
        events.append(((begin + takes) * 2, number, {**event, **kind}))
    events.sort(key=lambda event: event[:2])
    return History.from_json([event for _, _, event in events])


def explains(order: Iterable[Operation], *, registers: bool) -> bool:
    """Whether the transactions, run one after another, read what they read."""
    store: Store = dict.fromkeys(KEYS, ())
    for operation in order:
        state = dict(store)
        if not runs(operation, state, registers=registers):
            return False
        store = state
    return True


def runs(operation: Operation, state: Store, *, registers: bool) -> bool:
    """Run one transaction on ``state``; False when it would have read something else."""
    known = operation.ending == "ok"
    for kind, key, value in operation.result if known else operation.arg:  # type: ignore[union-attr, attr-defined]
        if kind != "r":
            state[key] = (*state[key], value)
        elif known:
            there: Any = state[key]
            if registers:
                there = there[-1] if there else None
            if there != value:
                return False
    return True


def orders(history: History) -> Iterable[tuple[Operation, ...]]:
    """All orders of what happened and of any of those that nobody knows of."""
    ended = [operation for operation in history if operation.ending == "ok"]
    unknown = [operation for operation in history if operation.ending == "info"]
    for size in range(len(unknown) + 1):
        for some in itertools.combinations(unknown, size):
            yield from itertools.permutations([*ended, *some])


def in_time(order: tuple[Operation, ...]) -> bool:
    return not any(
        later.returned is not None and later.returned < earlier.invoked
        for earlier, later in itertools.combinations(order, 2)
    )


def in_session(order: tuple[Operation, ...]) -> bool:
    return not any(
        earlier.client == later.client
        and later.returned is not None
        and later.returned < earlier.invoked
        for earlier, later in itertools.combinations(order, 2)
    )


def under_snapshots(order: tuple[Operation, ...]) -> bool:
    """Whether ``order`` is a legal order of commits: each read a snapshot, first committer wins."""
    states: list[Store] = [dict.fromkeys(KEYS, ())]
    writes: list[set[str]] = []
    for operation in order:
        listed: Any = operation.result if operation.ending == "ok" else operation.arg
        mine = {key for kind, key, _ in listed if kind != "r"}
        held = False
        for snapshot in range(len(states)):
            conflict = any(mine & others for others in writes[snapshot:])
            if not conflict and runs(operation, dict(states[snapshot]), registers=False):
                held = True
        if not held:
            return False
        after = dict(states[-1])
        for kind, key, value in listed:
            if kind != "r":
                after[key] = (*after[key], value)
        states.append(after)
        writes.append(mine)
    return True


LEVELS: dict[Level, Any] = {
    "serializable": lambda order: explains(order, registers=False),
    "strong-session-serializable": lambda order: (
        in_session(order) and explains(order, registers=False)
    ),
    "strict-serializable": lambda order: in_time(order) and explains(order, registers=False),
    "snapshot-isolation": under_snapshots,
}


def exact(level: Level, transactions_max: int, examples: int) -> None:
    met = {True: 0, False: 0}

    @settings(max_examples=examples)
    @given(histories(transactions_max, registers=False))
    def run(history: History) -> None:
        judged = check_serializable(history, level=level)
        possible = any(map(LEVELS[level], orders(history)))
        assert bool(judged) == possible, judged.explanation
        met[possible] += 1

    run()
    assert min(met.values()) > examples / 30, met


@pytest.mark.parametrize("level", LEVELS)
def test_lists_are_judged_exactly(level: Level) -> None:
    exact(level, 3, 60)


@pytest.mark.long
@pytest.mark.parametrize("level", LEVELS)
def test_more_lists_are_judged_exactly(level: Level) -> None:
    exact(level, 4, 3_000)


def never_wrongly_accused(transactions_max: int, examples: int) -> None:
    accused = 0

    @settings(max_examples=examples)
    @given(histories(transactions_max, registers=True))
    def run(history: History) -> None:
        nonlocal accused
        judged = check_serializable(history)
        if not judged:
            accused += 1
            assert not any(explains(order, registers=True) for order in orders(history)), (
                judged.explanation
            )

    run()
    assert accused > examples / 60


def test_serializable_registers_are_never_accused() -> None:
    never_wrongly_accused(4, 100)


@pytest.mark.long
def test_more_serializable_registers_are_never_accused() -> None:
    never_wrongly_accused(4, 3_000)
