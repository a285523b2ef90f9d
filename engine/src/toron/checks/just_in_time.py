"""Searches an order of concurrent operations that a model accepts.

The search of Wing and Gong, "Testing and verifying concurrent objects" (JPDC 1993), with the
memory of Lowe, "Testing for linearizability" (CCPE 2017), in his just-in-time form: walk through
the returns in the order of time, and when an operation returns that has no place in the order yet,
give it one now, after any of those that are open beside it. A configuration is therefore which
*open* operations have their place already (a few bits) and the state, not a bit for each operation
of the history as in Porcupine; each configuration is entered once.

Four things make it quick, and none of them changes an answer:

- An open operation that only observes, and may happen now (a read of the right value), takes its
  place at once: whatever order comes later is as legal with it here. (Not so a write of the value
  that is there already: it may be needed later.)
- When ``b`` was placed just before the operation ``o`` that returns, and ``o`` then ``b`` would be
  legal and come to the same state, ``o`` is not placed after ``b``: without ``b`` it is placed too,
  and ``b`` can still follow. (A partial-order reduction, as Godefroid's sleep sets.)
- Operations that never ended are tried last, equal ones in the order of their invocation, and a
  configuration is not entered when one was that had used fewer of them: it could do all the same.
- Equal operations share what the model says of them in each state.

The bound is in steps, not in seconds: the same history gets the same verdict on every machine.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from toron.checks.history import UNKNOWN, Operation
from toron.checks.models import Model

Found = Literal["order", "none", "unknown"]
Path = tuple[int, Any] | None
"""The order so far, last operation first: (operation, rest)."""
Came = tuple[int, int] | None
"""The kind of the operation that was placed last, and the state before it."""
Node = tuple[int, int, int, int, Path, Came]
"""Moment, open operations with a place, lost ones with a place, state, and how it came here."""
_THEN_LOST: Came = (-1, -1)
"""Marks a node whose operations that never ended are still to be tried."""


@dataclass(slots=True)
class Search:
    """What a search came to.

    ``order`` are positions in the operations: a whole legal order when there is one, else the
    longest that was found, with the ``state`` after it; ``stuck_at`` is then the operation that
    returns next and has no place.
    """

    found: Found
    steps: int
    order: list[int] = field(default_factory=list)
    state: str = ""
    stuck_at: int | None = None


@dataclass(frozen=True, slots=True)
class _Moment:
    """The return of an operation, and what is open then; or the invocation of a split one."""

    operation: int
    kind: int
    bit: int = 0
    """Its own among the open ones; 0 when it is split (`Model.splits`), and has none."""
    begins: bool = False
    """Whether it is the invocation of a split operation."""
    optional: bool = False
    observers: tuple[tuple[int, int, int], ...] = ()
    """(bit, kind, operation) of all that are open and only observe."""
    open: tuple[tuple[int, int, int], ...] = ()
    """The same of all that are open, this one too, the next to return first."""
    lost: int = 0
    """How many of the operations that never ended had been invoked."""


class _Kinds:
    """What the model says of each kind of operation in each state; states are numbered."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._numbers: dict[Hashable, int] = {}
        self._calls: list[tuple[str, Any, Any]] = []
        self._known: list[dict[int, tuple[int, ...]]] = []
        self.observes: list[bool] = []
        self._states: dict[Hashable, int] = {}
        self.states: list[Any] = []

    def number(self, operation: Operation, mark: str = "") -> int:
        """The kind of an operation."""
        result = UNKNOWN if operation.ending == "info" else operation.result
        call = (operation.op + mark, self._model.prepare(operation), result)
        # True == 1 == 1.0 in a dict, and they are different answers.
        key = (call, tuple(map(type, call)))
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = len(self._calls)
            self._calls.append(call)
            self._known.append({})
            self.observes.append(self._model.observes(*call))
        return known

    def state(self, state: Hashable) -> int:
        """The number of a state."""
        known = self._states.get(state)
        if known is None:
            known = self._states[state] = len(self.states)
            self.states.append(state)
        return known

    def after(self, kind: int, state: int) -> tuple[int, ...]:
        """The states that may follow; the model is asked once."""
        known = self._known[kind].get(state)
        if known is None:
            after = self._model.steps(self.states[state], *self._calls[kind])
            known = self._known[kind][state] = tuple(map(self.state, after))
        return known


class _Seen:
    """The configurations that were entered at one moment."""

    __slots__ = ("_plain", "_used")

    def __init__(self) -> None:
        self._plain: set[tuple[int, int]] = set()
        self._used: dict[tuple[int, int], list[int]] = {}

    def enter(self, live: int, lost: int, state: int) -> bool:
        """Whether it is worth to go on from here."""
        key = (live, state)
        if key in self._plain:
            return False
        if not lost:
            self._plain.add(key)
            return True
        used = self._used.setdefault(key, [])
        if any(before & ~lost == 0 for before in used):
            return False
        used.append(lost)
        return True


class JustInTime:
    """A search through one history; `run` does it."""

    def __init__(
        self, operations: Sequence[Operation], model: Model, optional: frozenset[int] = frozenset()
    ) -> None:
        """``optional`` operations may be left out of the order although they have returned."""
        listed = [
            operation
            if number not in optional or not model.splits(operation.op)
            else still_open(operation)
            for number, operation in enumerate(operations)
        ]
        self._model = model = model.bind(listed)
        self._kinds = _Kinds(model)
        self._start = self._kinds.state(model.initial)
        self._lost: list[tuple[int, int, int, int]] = []
        """(bit, bit of the equal one before, kind, operation) of what never ended."""
        self._moments = self._moments_of(listed, optional)

    def _moments_of(
        self, operations: Sequence[Operation], optional: frozenset[int]
    ) -> list[_Moment]:
        events: list[tuple[int, int]] = []
        for number, operation in enumerate(operations):
            events.append((operation.invoked, number))
            if operation.returned is not None:
                events.append((operation.returned, number))
        moments: list[_Moment] = []
        running: dict[int, tuple[int, int]] = {}  # operation: (bit, kind)
        equal: dict[int, int] = {}
        free: list[int] = []
        for at, number in sorted(events):
            operation = operations[number]
            splits = self._model.splits(operation.op)
            begins = at == operation.invoked
            kind = self._kinds.number(operation, "!" if splits and not begins else "")
            if splits and begins:
                moments.append(_Moment(number, kind, begins=True))
            elif not begins:
                beside = self._beside(running, operations)
                bit = 0 if splits else running.pop(number)[0]
                is_optional = number in optional and not splits
                moments.append(_Moment(number, kind, bit, False, is_optional, *beside))
                free += [bit] if bit else []
            elif operation.returned is not None:
                running[number] = (free.pop() if free else 1 << len(running), kind)
            else:
                bit = 1 << len(self._lost)
                self._lost.append((bit, equal.get(kind, 0), kind, number))
                equal[kind] = bit
        return moments

    def _beside(
        self, running: dict[int, tuple[int, int]], operations: Sequence[Operation]
    ) -> tuple[tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...], int]:
        """What is open: those that only observe, all, and how many never ended."""
        order = sorted(running, key=lambda one: operations[one].returned or 0)
        beside = tuple((*running[one], one) for one in order)
        observers = tuple(one for one in beside if self._kinds.observes[one[1]])
        return observers, beside, len(self._lost)

    def run(self, steps_max: int) -> Search:
        """Look for an order in at most ``steps_max`` steps."""
        seen = [_Seen() for _ in self._moments]
        best: tuple[int, int, int, Path] = (-1, 0, self._start, None)
        stack: list[Node] = [(0, 0, 0, self._start, None, None)]
        steps = 0
        while stack:
            steps += 1
            if steps > steps_max:
                return self._ended("unknown", steps_max, best)
            node = stack.pop()
            if node[-1] is _THEN_LOST:
                stack += self._lost_next(node)
                steps += self._moments[node[0]].lost // 8  # what looking at each of them costs
                continue
            node = self._settled(node)
            at, live, lost, state, path, _ = node
            if at == len(seen):
                return self._ended("order", steps, (at, 0, state, path))
            if not seen[at].enter(live, lost, state):
                continue
            if (at, live.bit_count()) > best[:2]:
                best = (at, live.bit_count(), state, path)
            if self._moments[at].lost:
                stack.append((at, live, lost, state, path, _THEN_LOST))
            stack += self._open_next(node)
        return self._ended("none", steps, best)

    def _settled(self, node: Node) -> Node:
        """Walk on as far as there is nothing to choose."""
        at, live, lost, state, path, came = node
        moments, after = self._moments, self._kinds.after
        while at < len(moments):
            moment = moments[at]
            waiting = False
            for bit, kind, number in moment.observers:
                if live & bit:
                    continue
                if after(kind, state):
                    live |= bit
                    path = (number, path)
                    came = None  # `b` was needed: this one observed what it did
                else:
                    waiting = True
            if not live & moment.bit and (moment.bit or waiting):
                break
            if moment.bit:
                live ^= moment.bit
            else:  # nobody minds this step of a split operation
                (state,) = after(moment.kind, state)
                path = (moment.operation, path) if moment.begins else path
                came = None
            at += 1
        return at, live, lost, state, path, came

    def _lost_next(self, node: Node) -> list[Node]:
        """What may come next if one of those that never ended happens now."""
        at, live, lost, state, path, _ = node
        found: list[Node] = []
        for bit, before, kind, number in self._lost[: self._moments[at].lost]:
            if not lost & bit and (not before or lost & before):
                found += [
                    (at, live, lost | bit, then, (number, path), (kind, state))
                    for then in self._kinds.after(kind, state)
                    if then != state
                ]
        return found[::-1]

    def _open_next(self, node: Node) -> list[Node]:
        """What may come next of those that are open, the likeliest last."""
        at, live, lost, state, path, came = node
        moment, after = self._moments[at], self._kinds.after
        found: list[Node] = []
        for bit, kind, number in moment.open:
            if not live & bit and bit != moment.bit:
                found += [
                    (at, live | bit, lost, then, (number, path), (kind, state))
                    for then in after(kind, state)
                ]
        found.reverse()
        if moment.optional:
            found.append((at + 1, live, lost, state, path, None))
        own = after(moment.kind, state)
        if own and (came is None or not self._commutes(moment.kind, own, came)):
            here = (moment.operation, path) if moment.bit else path
            found += [(at + 1, live, lost, then, here, None) for then in reversed(own)]
        return found

    def _commutes(self, kind: int, after: tuple[int, ...], came: tuple[int, int]) -> bool:
        """Whether this kind could have come before the one that came, to the same end."""
        other, state = came
        first = self._kinds.after(kind, state)
        if len(first) != 1 or len(after) != 1:
            return False
        return after == self._kinds.after(other, first[0])

    def _ended(self, found: Found, steps: int, best: tuple[int, int, int, Path]) -> Search:
        at, _, state, path = best
        order: list[int] = []
        while path is not None:
            order.append(path[0])
            path = path[1]
        stuck = self._moments[at].operation if 0 <= at < len(self._moments) else None
        shown = self._model.show(self._kinds.states[state])
        return Search(found, steps, order[::-1], shown, stuck)


def still_open(operation: Operation) -> Operation:
    """The operation as if it had not returned; what it was told later is still true of it."""
    return replace(operation, returned=None, returned_ns=None)
