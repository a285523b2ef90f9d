"""What objects do when one client at a time uses them: the specifications of `linearizability`.

A model says which answers are right in which state. States are immutable and hashable. Ready-made:
`Register`, `KeyValue`, `Queue`, `Set`, `Counter`, `Lock`, `Semaphore`; one of your own is a class
with ``initial`` and ``step``.

That independent parts may be judged one by one (``partition``) is the locality of Herlihy and Wing
(TOPLAS 1990), as Horn and Kroening use it: "Faster linearizability checking via P-compositionality"
(FORTE 2015).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Hashable, Iterable, Sequence
from copy import copy
from typing import Any, ClassVar

from toron.checks.history import UNKNOWN, Operation, shown

State = Any
"""Immutable and hashable; what it is made of is the model's own business."""

LATER = float("inf")


class BadHistory(ValueError):
    """An operation that a model does not know, or with an argument that it cannot read."""


class Model:
    """The face of a model; inherit, and define ``initial`` and ``step`` (or ``steps``)."""

    name: ClassVar[str] = "model"
    initial: State = None
    """The state before the first operation."""

    def step(self, state: State, op: str, arg: Any, result: Any) -> tuple[bool, State]:
        """Whether ``op(arg)`` may answer ``result`` in ``state``, and the state after it.

        ``result`` is `UNKNOWN` for an operation that never ended: then any answer is right.
        """
        raise TypeError(f"the model {type(self).__qualname__} defines neither step nor steps")

    def steps(self, state: State, op: str, arg: Any, result: Any) -> Iterable[State]:
        """All states that may follow; for a model that is not deterministic. Default: `step`."""
        holds, after = self.step(state, op, arg, result)
        return (after,) if holds else ()

    def observes(self, op: str, arg: Any, result: Any) -> bool:
        """Whether ``op`` with this answer leaves *every* state alone in which it may give it.

        Says nothing about what is right; a search is much faster when reads are known as reads.
        """
        return False

    def partition(self, op: str, arg: Any) -> Hashable:
        """Which independent part of the object an operation concerns; None: all of it.

        When all operations name a part, each part is judged alone, which is far faster.
        """
        return None

    def prepare(self, operation: Operation) -> Hashable:
        """What `step` gets as ``arg``; for models that need more, such as the client."""
        return operation.arg

    def bind(self, operations: Sequence[Operation]) -> Model:
        """The model that judges just these operations; for models that must see all of them."""
        return self

    def splits(self, op: str) -> bool:
        """Whether ``op`` is two steps that nothing refuses: itself, and, when it returns, ``op!``.

        Its place in the order is then not searched for. The first must disturb no other operation,
        the second none but those that observe.
        """
        return False

    def show(self, state: State) -> str:
        """A state for people."""
        return shown(state)


class _Unread:
    """The type of `UNREAD`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(a value that nobody read)"


UNREAD = _Unread()
"""Stands for every value that no operation asks for: which of them is there makes no difference."""


def _asked_for(operations: Sequence[Operation], reads: tuple[str, ...]) -> frozenset[Any]:
    """The values that a read answered, or that a `cas` compared with."""
    found: set[Any] = set()
    for operation in operations:
        if operation.op in reads:
            found.add(operation.result)
        elif operation.op == "cas" and isinstance(operation.arg, tuple):
            found.update(operation.arg[:-1])
    return frozenset(found)


def _unknown(model: Model, op: str, arg: Any, known: str) -> BadHistory:
    return BadHistory(f"the {model.name} model has no {op}({arg!r}); it knows {known}")


def _pair(model: Model, op: str, arg: Any, known: str) -> tuple[Any, Any]:
    if not isinstance(arg, tuple) or len(arg) != 2:
        raise _unknown(model, op, arg, known)
    return arg


class Register(Model):
    """One value: ``read() -> value``, ``write(value)``, ``cas((old, new)) -> bool``."""

    name = "register"
    _KNOWN = "read() -> value, write(value), cas((old, new)) -> True or False"

    def __init__(self, initial: Hashable = None) -> None:
        self.initial = initial
        self._asked: frozenset[Any] | None = None

    def bind(self, operations: Sequence[Operation]) -> Model:
        """The same that takes all values that nobody read for one."""
        if type(self) is not Register:
            return self  # another class may ask for more
        bound = copy(self)
        bound._asked = _asked_for(operations, ("read",))
        return bound

    def _kept(self, value: Any) -> Any:
        return value if self._asked is None or value in self._asked else UNREAD

    def observes(self, op: str, arg: Any, result: Any) -> bool:
        """A read, and a `cas` that did not swap."""
        return op == "read" or (op == "cas" and result is not UNKNOWN and not result)

    def step(self, state: State, op: str, arg: Any, result: Any) -> tuple[bool, State]:
        """See `Model.step`."""
        if op == "read":
            return result is UNKNOWN or result == state, state
        if op == "write":
            return True, self._kept(arg)
        if op == "cas":
            old, new = _pair(self, op, arg, self._KNOWN)
            swaps = state == old
            return result is UNKNOWN or bool(result) == swaps, self._kept(new) if swaps else state
        raise _unknown(self, op, arg, self._KNOWN)


class KeyValue(Model):
    """A map, judged key by key.

    ``get(key) -> value or None``, ``put((key, value))``, ``append((key, text))``, ``delete(key)``,
    ``cas((key, old, new)) -> bool``; `read` and `write` are other names of `get` and `put`. What
    `put` and `delete` answer does not matter.
    """

    name = "key-value"
    _KNOWN = (
        "get(key) -> value, put((key, value)), append((key, text)), delete(key), "
        "cas((key, old, new)) -> True or False"
    )

    def __init__(self, initial: Hashable = None) -> None:
        self.initial = initial
        self._asked: frozenset[Any] | None = None

    def bind(self, operations: Sequence[Operation]) -> Model:
        """The same that takes all values that nobody read for one, if none is appended to."""
        if type(self) is not KeyValue or any(one.op == "append" for one in operations):
            return self  # another class may ask for more, and so does who appends
        bound = copy(self)
        bound._asked = _asked_for(operations, ("get", "read"))
        return bound

    def _kept(self, value: Any) -> Any:
        return value if self._asked is None or value in self._asked else UNREAD

    def partition(self, op: str, arg: Any) -> Hashable:
        """The key."""
        if op in ("get", "read", "delete"):
            return ("key", arg)
        if not isinstance(arg, tuple) or len(arg) != (3 if op == "cas" else 2):
            raise _unknown(self, op, arg, self._KNOWN)
        return ("key", arg[0])

    def observes(self, op: str, arg: Any, result: Any) -> bool:
        """A get, and a `cas` that did not swap."""
        return op in ("get", "read") or (op == "cas" and result is not UNKNOWN and not result)

    def step(self, state: State, op: str, arg: Any, result: Any) -> tuple[bool, State]:
        """See `Model.step`; the state is the value of one key."""
        if op in ("get", "read"):
            return result is UNKNOWN or result == state, state
        if op in ("put", "write"):
            return True, self._kept(arg[1])
        if op == "delete":
            return True, None
        if op == "append":
            return True, arg[1] if state is None else state + arg[1]
        if op == "cas":
            swaps = state == arg[1]
            return result is UNKNOWN or bool(result) == swaps, self._kept(
                arg[2]
            ) if swaps else state
        raise _unknown(self, op, arg, self._KNOWN)


class Set(Model):
    """A set: ``add(x)``, ``remove(x)``, ``contains(x) -> bool``, ``read() -> all``.

    Answers of `add` and `remove` may be None, or whether they changed the set. Without any ``read``
    it is judged element by element.
    """

    name = "set"
    initial = frozenset()
    _KNOWN = "add(x), remove(x), contains(x) -> True or False, read() -> all elements"

    def partition(self, op: str, arg: Any) -> Hashable:
        """The element; None for a read of all."""
        return None if op == "read" else ("element", arg)

    def observes(self, op: str, arg: Any, result: Any) -> bool:
        """A read, and what says that it changed nothing."""
        return op in ("read", "contains") or result is False

    def step(self, state: State, op: str, arg: Any, result: Any) -> tuple[bool, State]:
        """See `Model.step`."""
        if op == "read":
            if result is UNKNOWN:
                return True, state
            return len(result) == len(state) and frozenset(result) == state, state
        if op not in ("add", "remove", "contains"):
            raise _unknown(self, op, arg, self._KNOWN)
        has = arg in state
        if op == "contains":
            return result is UNKNOWN or bool(result) == has, state
        changes = has == (op == "remove")
        if isinstance(result, bool) and result != changes:
            return False, state
        return True, state ^ {arg} if changes else state


class Counter(Model):
    """A number: ``add(n)``, ``increment()``, ``decrement()``, ``read() -> value``.

    The first three may answer None or the value that they made.
    """

    name = "counter"
    _KNOWN = "add(n), increment(), decrement(), read() -> value"

    def __init__(self, initial: int = 0) -> None:
        self.initial = initial

    def observes(self, op: str, arg: Any, result: Any) -> bool:
        """A read."""
        return op == "read"

    def step(self, state: State, op: str, arg: Any, result: Any) -> tuple[bool, State]:
        """See `Model.step`."""
        if op == "read":
            return result is UNKNOWN or result == state, state
        if op not in ("add", "increment", "decrement") or (op == "add") != (arg is not None):
            raise _unknown(self, op, arg, self._KNOWN)
        after = state + (arg if op == "add" else 1 if op == "increment" else -1)
        return result is UNKNOWN or result is None or result == after, after


class Lock(Model):
    """A mutex: ``acquire()``, ``release()`` by the client that holds it.

    Answers are None or True for done, False for refused. ``reentrant=True`` lets the holder acquire
    again, and it must release as often. The argument, if there is one, names the owner instead of
    the client.
    """

    name = "lock"
    initial = ()
    _KNOWN = "acquire(), release()"

    def __init__(self, *, reentrant: bool = False) -> None:
        self._depth_max = LATER if reentrant else 1

    def prepare(self, operation: Operation) -> Hashable:
        """The owner."""
        return operation.client if operation.arg is None else operation.arg

    def observes(self, op: str, arg: Any, result: Any) -> bool:
        """What was refused."""
        return result is False

    def step(self, state: State, op: str, arg: Any, result: Any) -> tuple[bool, State]:
        """See `Model.step`; the state is () or (owner, depth)."""
        if op not in ("acquire", "release"):
            raise _unknown(self, op, arg, self._KNOWN)
        owner, depth = state or (arg, 0)
        may = owner == arg and (depth < self._depth_max if op == "acquire" else depth > 0)
        if result is False or (result is UNKNOWN and not may):
            return not may, state
        left = depth + (1 if op == "acquire" else -1)
        return may, (owner, left) if left > 0 else ()

    def show(self, state: State) -> str:
        """A state for people."""
        return f"held by {shown(state[0])}, {state[1]} deep" if state else "free"


class Semaphore(Model):
    """``permits`` at a time: ``acquire()``, ``release()``; answers as of `Lock`."""

    name = "semaphore"

    def __init__(self, permits: int) -> None:
        self._permits = permits
        self.initial = permits

    def observes(self, op: str, arg: Any, result: Any) -> bool:
        """What was refused."""
        return result is False

    def step(self, state: State, op: str, arg: Any, result: Any) -> tuple[bool, State]:
        """See `Model.step`; the state is how many permits are left."""
        if op not in ("acquire", "release"):
            raise _unknown(self, op, arg, "acquire(), release()")
        may = state > 0 if op == "acquire" else state < self._permits
        if result is False or (result is UNKNOWN and not may):
            return not may, state
        return may, state + (-1 if op == "acquire" else 1)

    def show(self, state: State) -> str:
        """A state for people."""
        return f"{state} of {self._permits} permits left"


class Queue(Model):
    """First in, first out: ``put(x)``, ``get() -> x``, or None when it was empty.

    `enqueue` and `dequeue` are other names. What `put` answers does not matter.

    The obvious state, the values in their order, is a trap: which of two concurrent puts came first
    shows only when both are taken out, thousands of operations later, and a search that guessed
    wrong has to come all the way back. Here a put is not guessed at all. Its value is inside from
    the invocation on, and certainly inside from the return on. A get may take any value that no
    other one *certainly* preceded (whose put returned before this one's was invoked), and may find
    nothing when nothing is certainly inside. That is the same: order the puts as their values were
    taken, those that stay behind last; each still fits into its interval, because what was taken
    first was invoked before the other returned. (For queues of distinct values, Henzinger, Sezgin
    and Vafeiadis reduce linearizability to such pairs: "Aspect-oriented linearizability proofs",
    CONCUR 2013.)
    """

    name = "queue"
    initial = ()
    _KNOWN = "put(x), get() -> x, or None when it was empty"

    def splits(self, op: str) -> bool:
        """A put."""
        return op in ("put", "enqueue")

    def prepare(self, operation: Operation) -> Hashable:
        """A put's number."""
        return operation.invoked if self.splits(operation.op) else operation.arg

    def observes(self, op: str, arg: Any, result: Any) -> bool:
        """A get that found it empty."""
        return op in ("get", "dequeue") and result is None

    def bind(self, operations: Sequence[Operation]) -> Model:
        """The model that knows the interval of each put."""
        return _QueueOf(operations)


class _QueueOf(Queue):
    """A queue with these puts; a state holds twice the number of each put, and 1 when certain."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._returned: dict[int, float] = {}
        self._value: dict[int, Any] = {}
        self._puts: dict[Any, list[int]] = {}
        for operation in operations:
            if self.splits(operation.op):
                number, returned = operation.invoked, operation.returned
                self._returned[number] = LATER if returned is None else returned
                self._value[number] = operation.arg
                self._puts.setdefault(operation.arg, []).append(number)

    def steps(self, state: State, op: str, arg: Any, result: Any) -> Iterable[State]:
        """See `Model.steps`; the entries of a state are sorted by the return of their put."""
        if op in ("put", "enqueue"):
            place = bisect(state, self._returned[arg], key=lambda one: self._returned[one >> 1])
            return ((*state[:place], arg << 1, *state[place:]),)
        if op in ("put!", "enqueue!"):
            return (tuple(arg << 1 | 1 if one == arg << 1 else one for one in state),)
        if op not in ("get", "dequeue"):
            raise _unknown(self, op, arg, self._KNOWN)
        if result is None:
            return () if any(one & 1 for one in state) else (state,)
        return self._taken(state, result)

    def _taken(self, state: State, result: Any) -> list[State]:
        if not state:
            return []
        first_return = self._returned[state[0] >> 1]
        wanted = self._value if result is UNKNOWN else self._puts.get(result, ())
        after = []
        for number in wanted:
            if number > first_return:
                break  # they are in the order of their invocation, and were all preceded
            for one in (number << 1, number << 1 | 1):
                if one in state:
                    place = state.index(one)
                    after.append((*state[:place], *state[place + 1 :]))
        return after

    def show(self, state: State) -> str:
        """What is inside, as it was put; with a question mark what may not be inside yet."""
        inside = (
            f"{shown(self._value[one >> 1])}{'' if one & 1 else '?'}" for one in sorted(state)
        )
        return f"[{', '.join(inside)}]"
