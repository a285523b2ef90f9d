"""Histories that others have published get the same verdicts, and a failure is explained.

From Porcupine (Anish Athalye, github.com/anishathalye/porcupine, README.md and porcupine_test.go;
the register example goes back to MIT 6.824, 2017, quiz 2, section VII), and from Herlihy and Wing
(TOPLAS 1990, section 2.1, figure 1, the FIFO queue). Rewritten as data of ours. (The 102 etcd logs
and six key-value logs in Porcupine's repository were checked once by hand: all verdicts agree.)
"""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from toron.checks import models
from toron.checks.history import History
from toron.checks.linearizability import Linearizability, check_linearizable
from toron.checks.models import BadHistory

Row = tuple[str, str, Any, Any, float, float | None]
_BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "linearizability.py"


def judge(model: models.Model, *rows: Row, steps_max: int = 100_000) -> Linearizability:
    return check_linearizable(History.of(rows, "it"), model, steps_max=steps_max)


REGISTER_OK: list[list[Row]] = [
    [  # C1 sees the write that is under way, C2 still sees the old value
        ("c0", "write", 100, None, 0, 100),
        ("c1", "read", None, 100, 25, 75),
        ("c2", "read", None, 0, 30, 60),
    ],
    [  # operations of no duration, at one moment
        ("c0", "write", 100, None, 0, 100),
        ("c1", "read", None, 100, 25, 75),
        ("c2", "read", None, 0, 30, 30),
        ("c3", "read", None, 0, 30, 30),
    ],
]
REGISTER_BAD: list[list[Row]] = [
    [  # once C1 has seen the new value, C2 must not see the old one
        ("c0", "write", 200, None, 0, 100),
        ("c1", "read", None, 200, 10, 30),
        ("c2", "read", None, 0, 40, 90),
    ],
    [
        ("c0", "write", 200, None, 0, 100),
        ("c1", "read", None, 200, 10, 10),
        ("c2", "read", None, 200, 10, 10),
        ("c3", "read", None, 0, 40, 90),
    ],
]


@pytest.mark.parametrize("rows", REGISTER_OK)
def test_porcupines_legal_registers_pass(rows: list[Row]) -> None:
    assert judge(models.Register(0), *rows).verdict == "pass"


@pytest.mark.parametrize("rows", REGISTER_BAD)
def test_porcupines_illegal_registers_fail(rows: list[Row]) -> None:
    assert judge(models.Register(0), *rows).verdict == "fail"


@pytest.mark.parametrize(
    ("read", "verdict"),
    [([100], "pass"), ([100, 0], "pass"), ([0, 100], "pass"), ([0, 0, 100], "fail")],
)
def test_porcupines_sets_get_its_verdicts(read: list[int], verdict: str) -> None:
    rows: list[Row] = [
        ("c0", "add", 100, None, 0, 9),
        ("c1", "add", 0, None, 1, 8),
        ("c2", "read", None, read, 2, 7),
    ]
    assert judge(models.Set(), *rows).verdict == verdict


class AnySubset(models.Model):
    """Porcupine's nondeterministic register: a put keeps any subset of what it was given."""

    initial = frozenset()

    def steps(self, state: Any, op: str, arg: Any, result: Any) -> Iterable[Any]:
        if op == "put-any":
            chosen = [frozenset[int]()]
            for value in arg:
                chosen += [one | {value} for one in chosen]
            return chosen
        holds = state >= set(result) if op == "get-any" else state == set(result)
        return [state] if holds else []


class Negated(models.Register):
    """A register of one's own, made from ours."""

    def step(self, state: Any, op: str, arg: Any, result: Any) -> tuple[bool, Any]:
        return super().step(state, op, arg, -result if op == "read" else result)


def test_a_model_made_from_ours_keeps_what_it_changed() -> None:
    written: Row = ("a", "write", 5, None, 0, 1)
    assert judge(Negated(0), written, ("b", "read", None, -5, 2, 3))
    assert not judge(Negated(0), written, ("b", "read", None, 5, 2, 3))


@pytest.mark.parametrize(("all_of_it", "verdict"), [([1, 2, 4], "pass"), ([1, 2, 3], "fail")])
def test_a_model_of_ones_own_may_have_several_next_states(
    all_of_it: list[int], verdict: str
) -> None:
    rows: list[Row] = [
        ("c0", "put-any", [1, 2, 3, 4], None, 0, 9),
        ("c1", "get-any", None, [1, 4], 1, 7),
        ("c2", "get-any", None, [2], 2, 6),
        ("c3", "get-all", None, all_of_it, 3, 8),
    ]
    assert judge(AnySubset(), *rows).verdict == verdict


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        # (a) both enqueues overlap, so either may be first
        (
            [
                ("A", "put", "x", None, 0, 3),
                ("B", "put", "y", None, 1, 2),
                ("B", "get", None, "x", 4, 5),
                ("A", "get", None, "y", 6, 8),
                ("B", "put", "z", None, 7, 9),
            ],
            "pass",
        ),
        # (b) x was enqueued before y, and y comes out first
        (
            [
                ("A", "put", "x", None, 0, 1),
                ("B", "put", "y", None, 2, 3),
                ("A", "get", None, "y", 4, 6),
            ],
            "fail",
        ),
        # (c) the enqueue has not returned, and its value may come out already
        ([("A", "put", "x", None, 0, 3), ("B", "get", None, "x", 1, 2)], "pass"),
        # (d) one x was enqueued, and two came out
        (
            [
                ("A", "put", "x", None, 0, 5),
                ("B", "put", "y", None, 1, 2),
                ("A", "get", None, "y", 6, 9),
                ("C", "get", None, "y", 7, 8),
            ],
            "fail",
        ),
    ],
)
def test_the_queues_of_herlihy_and_wing_get_their_verdicts(rows: list[Row], verdict: str) -> None:
    assert judge(models.Queue(), *rows).verdict == verdict


def test_what_never_ended_may_have_happened_or_not_and_at_any_later_time() -> None:
    lost: Row = ("c0", "write", 1, None, 0, None)
    for answers in ([0, 0], [0, 1], [1, 1]):
        reads = [("c1", "read", None, a, 2 + n, 2.5 + n) for n, a in enumerate(answers)]
        assert judge(models.Register(0), lost, *reads)
    assert not judge(
        models.Register(0),
        lost,
        ("c1", "read", None, 1, 2, 3),
        ("c1", "read", None, 0, 4, 5),
    )


def test_of_two_that_never_ended_the_one_that_is_not_needed_later_is_used_first() -> None:
    """Both the write and the swap can make the first 1; only the write can make the second."""
    assert judge(
        models.Register(0),
        ("a", "write", 1, None, 0, None),
        ("b", "cas", (0, 1), None, 0, None),
        ("r", "read", None, 1, 1, 2),
        ("w", "write", 2, None, 3, 4),
        ("r", "read", None, 1, 5, 6),
    )


@pytest.mark.parametrize(("times", "verdict"), [(1, "fail"), (2, "pass")])
def test_equal_operations_that_never_ended_happen_once_each(times: int, verdict: str) -> None:
    lost: list[Row] = [(f"l{n}", "write", 1, None, 0, None) for n in range(times)]
    rest: list[Row] = [
        ("r", "read", None, 1, 1, 2),
        ("w", "write", 2, None, 3, 4),
        ("r", "read", None, 1, 5, 6),
    ]
    assert judge(models.Register(0), *lost, *rest).verdict == verdict


@pytest.mark.parametrize(("put_ends", "verdict"), [(1, "fail"), (5, "pass"), (None, "pass")])
def test_a_queue_is_empty_only_while_nothing_is_certainly_inside(
    put_ends: float | None, verdict: str
) -> None:
    rows: list[Row] = [("a", "put", 1, None, 0, put_ends), ("b", "get", None, None, 2, 3)]
    assert judge(models.Queue(), *rows).verdict == verdict


def test_a_queue_was_empty_before_the_put_ended_that_overlaps() -> None:
    rows: list[Row] = [
        ("a", "put", 1, None, 0, 1),
        ("b", "put", 2, None, 0, 4),
        ("c", "get", None, 1, 2, 9),
        ("d", "get", None, None, 3, 9),
        ("e", "get", None, 2, 5, 6),
    ]
    assert judge(models.Queue(), *rows)


def test_a_swap_whose_answer_is_unknown_may_have_done_either() -> None:
    lost: Row = ("c0", "cas", (0, 1), None, 0, None)
    assert judge(models.Register(0), lost, ("c1", "read", None, 1, 2, 3))
    assert judge(models.Register(0), lost, ("c1", "read", None, 0, 2, 3))
    assert not judge(models.Register(5), lost, ("c1", "read", None, 1, 2, 3))


def test_what_failed_did_not_happen() -> None:
    history = History()
    with history.call("c0", "write", 1) as call:
        call.fail()
    with history.call("c1", "read") as call:
        call.ok(1)
    assert check_linearizable(history, models.Register(0)).verdict == "fail"


def test_a_failure_says_how_far_an_order_goes_and_what_contradicts_what() -> None:
    judged = judge(
        models.KeyValue(),
        ("c1", "put", ("x", 1), None, 0, 1),
        ("c2", "put", ("y", 5), None, 0, 1),
        ("c1", "put", ("x", 2), None, 2, 3),
        ("c2", "get", "y", 5, 3, 4),
        ("c3", "get", "x", 1, 4, 5),
    )
    assert judged.part == ("key", "x")
    assert judged.explanation.splitlines() == [
        "it, key 'x', is not linearizable (key-value model): 2 of 3 operations have an order, "
        "and no further one fits",
        "  after   c1: put('x', 1)  [0.000000 s .. 1.000000 s]",
        "          c1: put('x', 2)  [2.000000 s .. 3.000000 s]",
        "  state   2",
        "  stuck   c3: get('x') -> 1  [4.000000 s .. 5.000000 s]",
        "  these contradict each other, whichever of the others took effect:",
        "          c1: put('x', 2)  [2.000000 s .. 3.000000 s]",
        "          c3: get('x') -> 1  [4.000000 s .. 5.000000 s]",
    ]
    assert [operation.client for operation in judged.core] == ["c1", "c3"]


def test_a_pass_comes_with_a_legal_order() -> None:
    judged = judge(models.Register(0), *REGISTER_OK[0])
    assert [operation.client for operation in judged.order] == ["c2", "c0", "c1"]


def test_a_search_that_does_not_end_is_unknown_and_no_pass() -> None:
    rows: list[Row] = [(f"c{n}", "write", n, None, 0, 100) for n in range(12)]
    rows.append(("r", "read", None, -1, 0, 100))
    judged = judge(models.Register(0), *rows, steps_max=1_000)
    assert (judged.verdict, bool(judged), judged.steps) == ("unknown", False, 1_000)
    assert "could not be judged (register model): the search of 1000 steps" in judged.explanation


def test_one_part_that_is_wrong_outweighs_one_that_is_unknown() -> None:
    rows: list[Row] = [(f"c{n}", "put", ("big", n), None, 0, 100) for n in range(12)]
    rows.append(("r", "get", "big", -1, 0, 100))
    rows += [("w", "put", ("x", 1), None, 0, 1), ("w", "get", "x", 2, 2, 3)]
    judged = judge(models.KeyValue(), *rows, steps_max=1_000)
    assert (judged.verdict, judged.part) == ("fail", ("key", "x"))


def test_a_part_that_needs_more_than_its_share_gets_what_the_others_left() -> None:
    big: list[Row] = [(f"c{n}", "put", ("big", n), None, 0, 100) for n in range(6)]
    big.append(("r", "get", "big", 0, 150, 160))
    alone = judge(models.KeyValue(), *big)
    small: list[Row] = [(f"s{n}", "put", (f"k{n}", 1), None, 0, 1) for n in range(3)]
    bound = 2 * alone.steps - 1
    assert bound // 4 < alone.steps
    judged = judge(models.KeyValue(), *big, *small, steps_max=bound)
    assert judged.verdict == "pass"
    assert alone.steps < judged.steps <= bound


@pytest.mark.parametrize(
    ("model", "row", "message"),
    [
        (models.Register(), ("c", "push", 1, None, 0, 1), r"register model has no push\(1\)"),
        (models.Register(), ("c", "cas", 1, None, 0, 1), r"it knows .*cas\(\(old, new\)\)"),
        (models.KeyValue(), ("c", "put", "k", None, 0, 1), r"key-value model has no put\('k'\)"),
        (models.Queue(), ("c", "peek", None, None, 0, 1), "queue model has no peek"),
        (models.Set(), ("c", "pop", 1, None, 0, 1), "set model has no pop"),
        (models.Counter(), ("c", "add", None, None, 0, 1), "counter model has no add"),
        (models.Lock(), ("c", "try", None, None, 0, 1), "lock model has no try"),
        (models.Semaphore(1), ("c", "try", None, None, 0, 1), "semaphore model has no try"),
    ],
)
def test_an_operation_that_a_model_does_not_know_is_named(
    model: models.Model, row: Row, message: str
) -> None:
    with pytest.raises(BadHistory, match=message):
        judge(model, row)


def test_a_lock_is_held_by_one_and_released_by_its_holder() -> None:
    held: Row = ("a", "acquire", None, True, 0, 1)
    assert judge(models.Lock(), held, ("b", "acquire", None, False, 2, 3))
    assert not judge(models.Lock(), held, ("b", "acquire", None, True, 2, 3))
    assert not judge(models.Lock(), held, ("b", "release", None, None, 2, 3))
    assert not judge(models.Lock(), held, ("a", "acquire", None, None, 2, 3))
    assert judge(models.Lock(reentrant=True), held, ("a", "acquire", None, None, 2, 3))
    assert judge(
        models.Lock(), ("x", "acquire", "a", True, 0, 1), ("y", "release", "a", None, 2, 3)
    )


def test_a_counter_may_answer_what_it_came_to() -> None:
    assert judge(models.Counter(), ("a", "increment", None, 1, 0, 1))
    assert not judge(
        models.Counter(), ("a", "increment", None, 1, 0, 2), ("b", "increment", None, 1, 1, 3)
    )


def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("linearizability_benchmark", _BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def steps_of(name: str, operations: int, *, faulty: bool) -> int:
    module = benchmark()
    model, draw = module.OBJECTS[name]
    rows = module.rows_of(name, draw, operations, 8, 1)
    if faulty:
        module.spoil(rows)
    judged = check_linearizable(History.of(map(tuple, rows)), model)
    assert judged.verdict == ("fail" if faulty else "pass")
    return judged.steps


@pytest.mark.parametrize("name", ["register", "queue"])
def test_long_histories_of_8_clients_take_few_steps(name: str) -> None:
    assert steps_of(name, 2_000, faulty=False) < 10_000
    assert steps_of(name, 2_000, faulty=True) < 100_000


@pytest.mark.long
@pytest.mark.parametrize("name", list(benchmark().OBJECTS))
def test_ten_thousand_operations_of_8_clients_are_judged_for_every_model(name: str) -> None:
    assert steps_of(name, 10_000, faulty=False) < 100_000
    assert steps_of(name, 10_000, faulty=True) < 1_000_000
