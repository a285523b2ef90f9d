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
- When ``b`` was placed just before the operation ``o`` that returns, and ``o`` then ``b`` would have
  been legal and come to the same state, ``o`` is not placed after ``b``: without ``b`` it is placed
  too, and ``b`` can still follow. (A partial-order reduction, as Godefroid's sleep sets.)
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
    """The return of an operation, and what is open then."""

    operation: int
    bit: int
    kind: int
    optional: bool
    observers: tuple[tuple[int, int, int], ...]
    """(bit, kind, operation) of all that are open and only observe."""
    open: tuple[tuple[int, int, int], ...]
    """The same of all that are open, this one too, the next to return first."""
    lost: int
    """How many of the operations that never ended had been invoked."""


@dataclass(frozen=True, slots=True)
class _Automatic:
    """The invocation or the return of an operation that is split (`Model.splits`)."""

    operation: int
    kind: int
    begins: bool


class _Kinds:
    """What the model says of each kind of operation in each state; states are numbered."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._numbers: dict[Hashable, int] = {}
        self._calls: list[tuple[str, Any, Any]] = []
        self.known: list[dict[int, tuple[int, ...]]] = []
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
            self.known.append({})
            self.observes.append(self._model.observes(*call))
        return known

    def state(self, state: Hashable) -> int:
        """The number of a state."""
        known = self._states.get(state)
        if known is None:
            known = self._states[state] = len(self.states)
            self.states.append(state)
        return known

    def ask(self, kind: int, state: int) -> tuple[int, ...]:
        """The states that may follow, asked of the model once."""
        after = self._model.steps(self.states[state], *self._calls[kind])
        answer = self.known[kind][state] = tuple(map(self.state, after))
        return answer


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
    ) -> list[_Moment | _Automatic]:
        events: list[tuple[int, int]] = []
        for number, operation in enumerate(operations):
            events.append((operation.invoked, number))
            if operation.returned is not None:
                events.append((operation.returned, number))
        moments: list[_Moment | _Automatic] = []
        running: dict[int, tuple[int, int]] = {}  # operation: (bit, kind)
        equal: dict[int, int] = {}
        free: list[int] = []
        for at, number in sorted(events):
            operation = operations[number]
            begins = at == operation.invoked
            if self._model.splits(operation.op):
                kind = self._kinds.number(operation, "" if begins else "!")
                moments.append(_Automatic(number, kind, begins))
                continue
            if not begins:
                moments.append(self._moment(number, running, operations, number in optional))
                free.append(running.pop(number)[0])
                continue
            kind = self._kinds.number(operation)
            if operation.returned is not None:
                running[number] = (free.pop() if free else 1 << len(running), kind)
            else:
                bit = 1 << len(self._lost)
                self._lost.append((bit, equal.get(kind, 0), kind, number))
                equal[kind] = bit
        return moments

    def _moment(
        self,
        number: int,
        running: dict[int, tuple[int, int]],
        operations: Sequence[Operation],
        optional: bool,
    ) -> _Moment:
        bit, kind = running[number]
        order = sorted(running, key=lambda one: operations[one].returned or 0)
        beside = tuple((*running[one], one) for one in order)
        observers = tuple(one for one in beside if self._kinds.observes[one[1]])
        return _Moment(number, bit, kind, optional, observers, beside, len(self._lost))

    def run(self, steps_max: int) -> Search:
        """Look for an order in at most ``steps_max`` steps."""
        moments, known, ask = self._moments, self._kinds.known, self._kinds.ask
        seen = [_Seen() for _ in moments]
        best: tuple[int, int, int, Path] = (-1, 0, self._start, None)
        steps = 0
        stack: list[Node] = [(0, 0, 0, self._start, None, None)]
        while stack:
            at, live, lost, state, path, came = stack.pop()
            steps += 1
            if steps > steps_max:
                return self._ended("unknown", steps - 1, best)
            while at < len(moments):
                moment = moments[at]
                if isinstance(moment, _Automatic):
                    after = known[moment.kind].get(state)
                    (state,) = ask(moment.kind, state) if after is None else after
                    if moment.begins:
                        path = (moment.operation, path)
                    at += 1
                    came = None
                    continue
                for bit, kind, number in moment.observers:
                    if not live & bit:
                        after = known[kind].get(state)
                        if after is None:
                            after = ask(kind, state)
                        if after:
                            live |= bit
                            path = (number, path)
                            came = None  # it may be the state after `b` that this one needs
                if not live & moment.bit:
                    break
                live ^= moment.bit
                at += 1
            else:
                return self._ended("order", steps, (at, live.bit_count(), state, path))
            if not seen[at].enter(live, lost, state):
                continue
            if (at, live.bit_count()) > best[:2]:
                best = (at, live.bit_count(), state, path)
            self._branch(stack, (at, live, lost, state, path, came))
        return self._ended("none", steps, best)

    def _branch(self, stack: list[Node], node: Node) -> None:
        """Put all that may come next on the stack, the likeliest last."""
        at, live, lost, state, path, came = node
        moment, known, ask = self._moments[at], self._kinds.known, self._kinds.ask
        assert isinstance(moment, _Moment)
        for bit, before, kind, number in self._lost[moment.lost - 1 :: -1] if moment.lost else ():
            if lost & bit or (before and not lost & before):
                continue
            after = known[kind].get(state)
            for then in ask(kind, state) if after is None else after:
                if then != state:
                    stack.append((at, live, lost | bit, then, (number, path), (kind, state)))
        for bit, kind, number in reversed(moment.open):
            if live & bit or bit == moment.bit:
                continue
            after = known[kind].get(state)
            for then in reversed(ask(kind, state) if after is None else after):
                stack.append((at, live | bit, lost, then, (number, path), (kind, state)))
        if moment.optional:
            stack.append((at + 1, live, lost, state, path, None))
        after = known[moment.kind].get(state)
        if after is None:
            after = ask(moment.kind, state)
        if after and (came is None or not self._commutes(moment.kind, after, came)):
            for then in reversed(after):
                stack.append((at + 1, live, lost, then, (moment.operation, path), None))

    def _commutes(self, kind: int, after: tuple[int, ...], came: tuple[int, int]) -> bool:
        """Whether this kind could have come before the one that came, to the same end."""
        other, state = came
        known, ask = self._kinds.known, self._kinds.ask
        first = known[kind].get(state)
        if first is None:
            first = ask(kind, state)
        if len(first) != 1 or len(after) != 1:
            return False
        then = known[other].get(first[0])
        return after == (ask(other, first[0]) if then is None else then)

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
