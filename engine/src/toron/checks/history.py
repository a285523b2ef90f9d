"""What clients asked for, when, and what they were told: the record that a checker judges.

An operation is invoked, and ends in one of three ways (the words are Jepsen's): ``ok`` it happened,
``fail`` it certainly did not, ``info`` nobody knows: it was cancelled, raised, or its host lost
power, and it may take effect at any later time or never. Only the order of the events says what
came before what; times are for people. How a history is judged belongs to `linearizability` and
`serializability`.

Histories and their precedence are those of Herlihy and Wing, "Linearizability: a correctness
condition for concurrent objects" (TOPLAS 1990).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast

from toron.core.process import CURRENT, Process
from toron.core.values import brief, canonical, strip_addresses

Ending = Literal["ok", "fail", "info"]
Result = TypeVar("Result")

OPERATIONS_MAX = 1_000_000
_TEXT_MAX = 300


class _Unknown:
    """The type of `UNKNOWN`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "?"


UNKNOWN = _Unknown()
"""The result of an operation that never ended: models must allow for every result."""


def frozen(value: Any, where: str = "value") -> Hashable:
    """``value`` as it is now, hashable: lists become tuples, sets frozensets, dicts sorted pairs.

    A program goes on changing its lists and dicts, and a record must not change with them. Raises
    TypeError naming ``where`` for what cannot be hashed.
    """
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item, where) for item in value)
    if isinstance(value, (set, frozenset)):
        return frozenset(frozen(item, where) for item in value)
    if isinstance(value, Mapping):
        pairs = ((frozen(key, where), frozen(item, where)) for key, item in value.items())
        return tuple(sorted(pairs, key=shown))
    if isinstance(value, bytearray):
        return bytes(value)
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(
            f"{where} is a {type(value).__qualname__}, which cannot be compared later; "
            f"record plain values (numbers, text, bytes, lists, dicts, sets)"
        ) from error
    return cast("Hashable", value)


def shown(value: object) -> str:
    """``value`` as text that is the same in every process: sets sorted, no addresses."""
    if isinstance(value, tuple):
        inside = ", ".join(map(shown, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(shown, value)))}}}"
    return strip_addresses(repr(value))


def cut(text: str) -> str:
    """``text`` as long as a line of an explanation may be."""
    return text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + " …"


def noted(value: object) -> str:
    """``value`` for the trace: as it is, or its digest when it is long."""
    text = shown(value)
    return text if len(text) <= _TEXT_MAX else brief(text)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one client.

    ``invoked`` and ``returned`` number the events of the history and say what came before what;
    ``returned`` is None for an operation that never ended, and its ``result`` is `UNKNOWN`.
    """

    client: Hashable
    op: str
    arg: Hashable
    result: Hashable
    ending: Ending
    invoked: int
    returned: int | None
    invoked_ns: int = 0
    returned_ns: int | None = None

    def call_text(self) -> str:
        """``write(1) -> 2`` as a person would say it."""
        parts = self.arg if isinstance(self.arg, tuple) else () if self.arg is None else (self.arg,)
        arg = ", ".join(map(shown, parts))
        result = "" if self.result is None else f" -> {shown(self.result)}"
        return f"{self.op}({arg}){result}"

    def span_text(self) -> str:
        """When it was; by the numbers of its events, if the history has no times."""
        if self.invoked_ns or self.returned_ns:
            end = "?" if self.returned_ns is None else f"{self.returned_ns / 1e9:.6f} s"
            return f"[{self.invoked_ns / 1e9:.6f} s .. {end}]"
        return f"[event {self.invoked} .. {'?' if self.returned is None else self.returned}]"

    def __str__(self) -> str:
        return f"{self.client}: {cut(self.call_text())}  {self.span_text()}"


class Call:
    """An operation that is under way; see `History.call`."""

    def __init__(self, history: History, number: int, fails_on: tuple[type[Exception], ...]):
        self._history = history
        self._number = number
        self._fails_on = fails_on

    def ok(self, result: Any = None) -> None:
        """It happened, and this was the answer."""
        self._history._end(self._number, "ok", frozen(result, "result"))

    def fail(self) -> None:
        """It certainly did not happen."""
        self._history._end(self._number, "fail", None)

    def info(self) -> None:
        """It may have happened, or may still: a timeout, a lost connection."""
        self._history._end(self._number, "info", UNKNOWN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._history._is_open(self._number):
            return
        if error is None:
            self.info()
            raise ValueError(
                f"{self._history.name}: the call has ended and nobody said how; "
                "say call.ok(result), call.fail() or call.info() before its block ends"
            )
        if isinstance(error, self._fails_on):
            self.fail()
        else:
            self.info()


class History:
    """Operations in the order of their events; in a kernel, `World.history` makes one.

    Elsewhere it is read from JSON (`from_json`) or from tuples (`of`).
    """

    def __init__(
        self,
        name: str = "history",
        *,
        now_ns: Callable[[], int] = lambda: 0,
        note: Callable[[str, str], None] = lambda kind, text: None,
    ) -> None:
        self.name = name
        self._now_ns = now_ns
        self._note = note
        self._operations: list[Operation] = []
        self._open: dict[Hashable, int] = {}
        self._callers: dict[Hashable, Process | None] = {}
        self._given_up: dict[int, tuple[int, int]] = {}
        self._events = 0

    # Recording

    def call(
        self,
        client: Hashable,
        op: str,
        arg: Any = None,
        *,
        fails_on: tuple[type[Exception], ...] = (),
    ) -> Call:
        """``with history.call("c1", "write", 7) as call: await store.write(7); call.ok()``.

        An exception that leaves the block makes it ``info`` (it may have happened), one of
        ``fails_on`` makes it ``fail`` (it did not). A client does one thing at a time; one whose
        process has died may start again, and what it was doing stays open.
        """
        caller = self._callers.get(client)
        if client in self._open and caller is not None and not caller.alive:
            self._end(self._open[client], "info", UNKNOWN)
        if client in self._open:
            known = self._operations[self._open[client]]
            raise ValueError(
                f"{self.name}: client {client!r} calls {op!r} while its {known.op!r} is under way; "
                "a client does one thing at a time, give each task a client of its own"
            )
        if len(self._operations) >= OPERATIONS_MAX:
            raise ValueError(f"{self.name}: a history holds {OPERATIONS_MAX} operations at most")
        number = len(self._operations)
        now = self._now_ns()
        operation = Operation(
            client, op, frozen(arg, "arg"), UNKNOWN, "info", self._next(), None, now, None
        )
        self._operations.append(operation)
        self._open[client] = number
        self._callers[client] = CURRENT.get(None)
        self._note("invoke", f"{self.name} {client} {op} {noted(operation.arg)}")
        return Call(self, number, fails_on)

    async def record(
        self,
        client: Hashable,
        op: str,
        arg: Any,
        doing: Awaitable[Result],
        *,
        fails_on: tuple[type[Exception], ...] = (),
    ) -> Result:
        """Await ``doing`` as one operation whose answer is what it returns, and return that."""
        try:
            call = self.call(client, op, arg, fails_on=fails_on)
        except BaseException:
            close = getattr(doing, "close", None)
            if close is not None:
                close()  # or Python complains of a coroutine that nobody awaited
            raise
        with call:
            result = await doing
            call.ok(result)
        return result

    def _next(self) -> int:
        self._events += 1
        return self._events - 1

    def _is_open(self, number: int) -> bool:
        return self._open.get(self._operations[number].client) == number

    def _end(self, number: int, ending: Ending, result: Hashable) -> None:
        begun = self._operations[number]
        if not self._is_open(number):
            raise ValueError(f"{self.name}: {begun.op!r} of {begun.client!r} has already ended")
        del self._open[begun.client]
        known = ending != "info"
        event, now_ns = self._next(), self._now_ns()
        if not known:
            self._given_up[number] = (event, now_ns)
        self._operations[number] = Operation(
            begun.client,
            begun.op,
            begun.arg,
            result,
            ending,
            begun.invoked,
            event if known else None,
            begun.invoked_ns,
            now_ns if known else None,
        )
        text = f" {noted(result)}" if ending == "ok" else ""
        self._note(ending, f"{self.name} {begun.client} {begun.op}{text}")

    # Reading

    @property
    def operations(self) -> list[Operation]:
        """All operations in the order of their invocations."""
        return list(self._operations)

    def __len__(self) -> int:
        return len(self._operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations)

    # From elsewhere

    @classmethod
    def of(
        cls,
        rows: Iterable[tuple[Hashable, str, Any, Any, float, float | None]],
        name: str = "history",
    ) -> History:
        """A history of ``(client, op, arg, result, invoked, returned)`` with times in seconds.

        ``returned=None`` is an operation that never ended. At equal times invocations come first,
        so that what touches overlaps.
        """
        listed = list(rows)
        events: list[tuple[float, int, int]] = []
        for number, (client, op, _, _, invoked, returned) in enumerate(listed):
            events.append((invoked, 0, number))
            if returned is not None:
                if returned < invoked:
                    raise ValueError(f"{op!r} of {client!r} returns before it is invoked")
                events.append((returned, 1, number))
        invoked_at: dict[int, int] = {}
        returned_at: dict[int, int] = {}
        for position, (_, kind, number) in enumerate(sorted(events)):
            (returned_at if kind else invoked_at)[number] = position
        history = cls(name)
        history._events = len(events)
        for number in sorted(invoked_at, key=invoked_at.__getitem__):
            client, op, arg, result, begin, end = listed[number]
            history._operations.append(
                Operation(
                    client,
                    op,
                    frozen(arg, "arg"),
                    UNKNOWN if end is None else frozen(result, "result"),
                    "info" if end is None else "ok",
                    invoked_at[number],
                    returned_at.get(number),
                    round(begin * 1e9),
                    None if end is None else round(end * 1e9),
                )
            )
        return history

    @classmethod
    def from_json(cls, events: str | Iterable[Mapping[str, Any]], name: str = "history") -> History:
        """The history of Jepsen-like events, as a list or as JSON text.

        Each is ``{"type": "invoke"|"ok"|"fail"|"info", "process", "f", "value"}`` and may have a
        ``time`` in nanoseconds; their order in the list is their order in time. The ``value`` of an
        invocation is the argument, that of an ``ok`` is the answer.
        """
        loaded = json.loads(events) if isinstance(events, str) else events
        clock = [0]
        history = cls(name, now_ns=lambda: clock[0])
        for number, event in enumerate(loaded):
            try:
                history._take(event, clock)
            except (KeyError, TypeError, ValueError) as error:
                what = f"no field {error}" if isinstance(error, KeyError) else str(error)
                raise ValueError(f"event {number} of {name}: {what}") from error
        return history

    def _take(self, event: Mapping[str, Any], clock: list[int]) -> None:
        kind, client, op = event["type"], frozen(event["process"], "process"), event["f"]
        clock[0] = event.get("time", clock[0])
        if kind == "invoke":
            self.call(client, op, event.get("value"))
            return
        if kind not in ("ok", "fail", "info"):
            raise ValueError(f"type {kind!r} must be invoke, ok, fail or info")
        number = self._open.get(client)
        if number is None or self._operations[number].op != op:
            raise ValueError(f"{kind} of {op!r} by {client!r}, which has not invoked it")
        result = frozen(event.get("value"), "value") if kind == "ok" else None
        self._end(number, kind, UNKNOWN if kind == "info" else result)

    def to_json(self) -> list[dict[str, Any]]:
        """The events that `from_json` reads. A tuple is stored as a list, a set sorted."""
        events: list[tuple[int, dict[str, Any]]] = []
        for number, operation in enumerate(self._operations):
            who = {"process": _plain(operation.client), "f": operation.op}
            invoke = {"type": "invoke", **who, "value": _plain(operation.arg)}
            events.append((operation.invoked, {**invoke, "time": operation.invoked_ns}))
            at, time_ns = operation.returned, operation.returned_ns
            if number in self._given_up:
                at, time_ns = self._given_up[number]
            if at is not None:
                end: dict[str, Any] = {"type": operation.ending, **who}
                if operation.ending == "ok":
                    end["value"] = _plain(operation.result)
                events.append((at, {**end, "time": time_ns}))
        ordered = [event for _, event in sorted(events, key=lambda pair: pair[0])]
        return [{"index": index, **event} for index, event in enumerate(ordered)]


def _plain(value: Hashable) -> Any:
    return canonical(value, "a value of the history")
