"""Judges whether a history is linearizable, and says why not.

Linearizable means: each operation took effect at one moment between its invocation and its return,
as if they had been called one after another (Herlihy and Wing, TOPLAS 1990). The search is in
`just_in_time`; here a history is split into independent parts (P-compositionality, Horn and
Kroening, FORTE 2015, as in Athalye's Porcupine), and a failure is turned into text: the longest
order, where it is stuck, and a smallest set of operations that contradict each other.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from toron.checks.history import UNKNOWN, History, Operation, cut, shown
from toron.checks.just_in_time import JustInTime, Search, still_open
from toron.checks.models import UNREAD, Model

Verdict = Literal["pass", "fail", "unknown"]

STEPS_MAX = 3_000_000
"""Enough for 10,000 operations of 8 clients; 5 to 10 seconds when it is used up."""
_CORE_STEPS = 100_000
_CORE_SEEN_MAX = 1_000
_CORE_OPERATIONS_MAX = 12
_TAIL_OPERATIONS = 6
_STUCK_OPERATIONS = 10


@dataclass(frozen=True, slots=True)
class Linearizability:
    """The verdict on one history; true when it is a pass.

    ``unknown`` means that the bound of steps was reached: nothing is known, and that is no pass.
    ``order`` is a legal order of the part that was judged last, or the longest that there is in the
    part that has none; ``stuck`` are the operations that then have no place, first the one that
    returned first; ``core`` contradicts itself whatever the other operations did.
    """

    verdict: Verdict
    explanation: str
    steps: int
    part: Hashable = None
    order: list[Operation] = field(default_factory=list)
    stuck: list[Operation] = field(default_factory=list)
    core: list[Operation] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.verdict == "pass"


def check_linearizable(
    history: History | Iterable[Operation], model: Model, *, steps_max: int = STEPS_MAX
) -> Linearizability:
    """Judge ``history`` by ``model``, in at most so many steps of search.

    Operations that failed did not happen; those that never ended may have, at any later time.
    Raises `BadHistory` for an operation that the model does not know.
    """
    check_model(model)
    name = history.name if isinstance(history, History) else "history"
    happened = [operation for operation in history if operation.ending != "fail"]
    parts = _parts(happened, model)
    left = steps_max
    last: tuple[tuple[Hashable], list[Operation]] = ((None,), [])
    # A fair share first, and then what is left for the parts that it was not enough for.
    for _ in range(2):
        unknown: list[tuple[Hashable]] = []
        for number, (part, operations) in enumerate(parts.items()):
            search = JustInTime(operations, model).run(left // (len(parts) - number))
            left -= search.steps
            if search.found == "none":
                return _failure(name, model, part, operations, search, steps_max - left)
            if search.found == "unknown":
                unknown.append(part)
            last = part, [operations[position] for position in search.order]
        parts = {part: parts[part] for part in unknown}
    if not parts:
        text = f"{name} is linearizable ({model.name} model)"
        return Linearizability("pass", text, steps_max - left, last[0][0], last[1])
    part = next(iter(parts))
    text = (
        f"{name}{_part_text(part)} could not be judged ({model.name} model): the search of "
        f"{steps_max} steps did not end; record fewer operations or clients, split the object "
        "into parts, or raise steps_max"
    )
    return Linearizability("unknown", text, steps_max - left, part[0])


def check_model(model: object) -> None:
    """TypeError unless it is a model; a class is easily passed instead."""
    if not isinstance(model, Model):
        called = model.__name__ if isinstance(model, type) else "KeyValue"
        raise TypeError(f"{model!r} is no model; pass an instance, such as models.{called}()")


def _parts(operations: list[Operation], model: Model) -> dict[tuple[Hashable], list[Operation]]:
    """Operations by the part of the object that they concern; one part if any concerns all."""
    parts: dict[tuple[Hashable], list[Operation]] = {}
    for operation in operations:
        part = model.partition(operation.op, operation.arg)
        if part is None:
            return {(None,): operations}
        parts.setdefault((part,), []).append(operation)
    return parts


def _part_text(part: tuple[Hashable]) -> str:
    (key,) = part
    if key is None:
        return ""
    if isinstance(key, tuple) and len(key) == 2:
        return f", {key[0]} {shown(key[1])},"
    return f", part {shown(key)},"


def _failure(
    name: str,
    model: Model,
    part: tuple[Hashable],
    operations: Sequence[Operation],
    search: Search,
    steps: int,
) -> Linearizability:
    assert search.stuck_at is not None
    first = operations[search.stuck_at]
    assert first.returned is not None
    placed = set(search.order)
    stuck = [
        operation
        for position, operation in enumerate(operations)
        if position not in placed
        and operation.returned is not None
        and operation.invoked < first.returned
    ]
    stuck.sort(key=lambda operation: operation.returned or 0)
    order = [operations[position] for position in search.order]
    core, core_steps = _core(operations, model, first.returned)
    lines = [
        f"{name}{_part_text(part)} is not linearizable ({model.name} model): "
        f"{len(order)} of {len(operations)} operations have an order, and no further one fits",
        *_section("after", order[-_TAIL_OPERATIONS:], len(order) > _TAIL_OPERATIONS),
        f"  state   {cut(_state_text(model, search, order))}",
        *_section("stuck", stuck[:_STUCK_OPERATIONS], len(stuck) > _STUCK_OPERATIONS),
    ]
    if core:
        lines.append("  these contradict each other, whichever of the others took effect:")
        lines += [f"          {operation}" for operation in core]
    return Linearizability(
        "fail", "\n".join(lines), steps + core_steps, part[0], order, stuck, core
    )


def _state_text(model: Model, search: Search, order: list[Operation]) -> str:
    """The state after ``order``; a value that the search did not care for is found out again."""
    if search.state != repr(UNREAD):
        return search.state
    state = model.initial
    for operation in order:
        result = UNKNOWN if operation.ending == "info" else operation.result
        holds, state = model.step(state, operation.op, model.prepare(operation), result)
        assert holds
    return model.show(state)


def _section(title: str, operations: Sequence[Operation], is_cut: bool) -> list[str]:
    if not operations:
        return [f"  {title:<8}(nothing)"]
    first = f"  {title:<8}{'... ' if is_cut and title == 'after' else ''}{operations[0]}"
    rest = [f"          {operation}" for operation in operations[1:]]
    return [first, *rest, *(["          ..."] if is_cut and title == "stuck" else [])]


def _core(operations: Sequence[Operation], model: Model, until: int) -> tuple[list[Operation], int]:
    """A smallest set of operations, all before ``until``, that cannot all have happened.

    The others become optional instead of being dropped: without a write, a read of its value would
    be wrong for a reason that is not the one. Empty when that is not found cheaply, or too long to
    be read.
    """
    seen = [operation for operation in operations if operation.invoked < until]
    if len(seen) > _CORE_SEEN_MAX:
        return [], 0
    required = [n for n, op in enumerate(seen) if op.returned is not None and op.returned <= until]
    before = [op if n in set(required) else still_open(op) for n, op in enumerate(seen)]
    optional: frozenset[int] = frozenset()
    left = _CORE_STEPS
    size = max(len(required) // 2, 1)
    while left > 0:
        position = 0
        while position < len(required) and left > 0:
            chunk = required[position : position + size]
            tried = JustInTime(before, model, optional | set(chunk)).run(left)
            left -= tried.steps + len(before)
            if tried.found == "none":
                optional |= set(chunk)
                del required[position : position + size]
            else:
                position += size
        if size == 1:
            break
        size = max(size // 2, 1)
    if left <= 0 or len(required) > _CORE_OPERATIONS_MAX:
        return [], _CORE_STEPS - left
    return [seen[position] for position in required], _CORE_STEPS - left
