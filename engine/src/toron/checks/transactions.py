"""Reads a history as transactions over keys, and finds what one read alone gives away.

A transaction is an operation whose argument is a list of accesses, planned, and whose result is the
same list with the answers of its reads: ``("append", key, value)`` and ``("r", key, [values])`` for
lists, ``("w", key, value)`` and ``("r", key, value)`` for registers. The anomalies that need no
graph are here, those of a cycle in `dependencies`; which version came after which is found out in
`list_append` and `registers`.

After Adya, Liskov and O'Neil, "Generalized isolation level definitions" (ICDE 2000), and Kingsbury
and Alvaro, "Elle: inferring isolation anomalies from experimental observations" (VLDB 2020).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from toron.checks.history import Operation, cut, shown
from toron.checks.models import BadHistory

READ, APPEND, WRITE = "r", "append", "w"
_NAMES = {"r": READ, "read": READ, "append": APPEND, "w": WRITE, "write": WRITE}


@dataclass(frozen=True, slots=True)
class Access:
    """One read or write of one key; the value of a read that nobody knows is None."""

    kind: str
    key: Hashable
    value: Any

    def __str__(self) -> str:
        if self.kind == READ:
            value = list(self.value) if isinstance(self.value, tuple) else self.value
            return f"read {self.key} = {shown(value)}"
        return f"{'append' if self.kind == APPEND else 'write'} {self.key} {shown(self.value)}"


@dataclass(frozen=True, slots=True)
class Transaction:
    """An operation as a transaction; only the reads of one that is ``ok`` are known."""

    number: int
    operation: Operation
    accesses: tuple[Access, ...]

    @property
    def ok(self) -> bool:
        """Whether it certainly committed."""
        return self.operation.ending == "ok"

    @property
    def failed(self) -> bool:
        """Whether it certainly did not."""
        return self.operation.ending == "fail"

    def writes(self) -> dict[Hashable, list[Any]]:
        """The values that it wrote to each key, in order."""
        found: dict[Hashable, list[Any]] = {}
        for access in self.accesses:
            if access.kind != READ:
                found.setdefault(access.key, []).append(access.value)
        return found

    def external_reads(self) -> dict[Hashable, Any]:
        """The value of each key that it read before it wrote there: what others had left."""
        found: dict[Hashable, Any] = {}
        touched: set[Hashable] = set()
        for access in self.accesses:
            if access.key not in touched and access.kind == READ and self.ok:
                found[access.key] = access.value
            touched.add(access.key)
        return found

    def __str__(self) -> str:
        what = cut(", ".join(map(str, self.accesses)))
        ending = "" if self.ok else f" ({self.operation.ending})"
        return f"{self.operation.client}{ending}: {what}  {self.operation.span_text()}"


@dataclass(frozen=True, slots=True)
class Edge:
    """``source`` came before ``target``, and why.

    ``ww`` overwrote what it had written, ``wr`` read what it had written, ``rw`` overwrote what it
    had read, ``process`` was of the same client, ``realtime`` began after it had ended.
    """

    kind: Literal["ww", "wr", "rw", "process", "realtime"]
    source: int
    target: int
    key: Hashable = None
    before: Any = None
    after: Any = None

    def label(self) -> str:
        """``rw 'x'``."""
        if self.kind in ("process", "realtime"):
            return self.kind
        return f"{self.kind} {shown(self.key)}"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something that happened and should not have; ``cycle`` is empty when one read shows it."""

    name: str
    text: str
    transactions: tuple[Transaction, ...]
    cycle: tuple[Edge, ...] = ()
    dot: str = ""
    """The cycle for Graphviz."""


@dataclass(slots=True)
class Observed:
    """What a history says of its transactions."""

    transactions: list[Transaction]
    edges: list[Edge] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)


def read_transactions(operations: Iterable[Operation]) -> list[Transaction]:
    """The operations as transactions; BadHistory names what cannot be read as one."""
    found = []
    for number, operation in enumerate(operations):
        listed = operation.result if operation.ending == "ok" else operation.arg
        where = f"operation {shown(operation.op)} of {shown(operation.client)}"
        if not isinstance(listed, tuple):
            what = "result" if operation.ending == "ok" else "argument"
            raise BadHistory(
                f"{where}: the {what} of a transaction is a list of accesses such as "
                f'["r", "x", [1, 2]] or ["append", "x", 3], and not {shown(listed)}'
            )
        accesses = tuple(_access(item, where) for item in listed)
        found.append(Transaction(number, operation, accesses))
    return found


def _access(item: Any, where: str) -> Access:
    known = isinstance(item, tuple) and len(item) in (2, 3) and item[0] in _NAMES
    if not known or (len(item) == 2 and _NAMES[item[0]] != READ):
        raise BadHistory(
            f"{where}: {shown(item)} is no access; it is [kind, key, value], "
            "and kinds are r, append and w"
        )
    return Access(_NAMES[item[0]], item[1], item[2] if len(item) == 3 else None)


class Writers:
    """Who wrote each value, whether or not it committed."""

    def __init__(self, transactions: list[Transaction]) -> None:
        self._by_value: dict[tuple[Hashable, Any], Transaction] = {}
        for transaction in transactions:
            for key, values in transaction.writes().items():
                for value in values:
                    known = self._by_value.setdefault((key, value), transaction)
                    if known is not transaction or values.count(value) > 1:
                        raise BadHistory(
                            f"{shown(value)} is written to {shown(key)} twice, by {known} and "
                            f"{transaction}; write each value to a key only once, or nobody can "
                            "say which was read"
                        )

    def of(self, key: Hashable, value: Any) -> Transaction | None:
        """The transaction that wrote it; None for a value that nobody wrote."""
        return self._by_value.get((key, value))


def aborted_reads(
    transaction: Transaction, key: Hashable, values: Iterable[Any], writers: Writers
) -> Iterable[Anomaly]:
    """G1a for what a failed transaction wrote, garbage for what nobody did."""
    for value in values:
        writer = writers.of(key, value)
        if writer is None:
            text = f"{transaction}\n  read {shown(value)} in {shown(key)}, which nobody ever wrote"
            yield Anomaly("garbage-read", text, (transaction,))
        elif writer.failed:
            text = f"{transaction}\n  read {shown(value)} in {shown(key)}, which failed to commit:"
            yield Anomaly("G1a", f"{text}\n  {writer}", (transaction, writer))


def intermediate_read(
    transaction: Transaction, key: Hashable, value: Any, writers: Writers
) -> Iterable[Anomaly]:
    """G1b: somebody saw what another overwrote before it committed."""
    writer = writers.of(key, value)
    if writer is None or writer is transaction:
        return
    last = writer.writes()[key][-1]
    if last != value:
        text = (
            f"{transaction}\n  read {shown(value)} in {shown(key)}, an intermediate state of "
            f"this one, which went on to {shown(last)}:\n  {writer}"
        )
        yield Anomaly("G1b", text, (transaction, writer))


def lost_updates(transactions: list[Transaction]) -> Iterable[Anomaly]:
    """Several transactions read the same version of a key and all wrote the next one."""
    groups: dict[tuple[Hashable, Any], list[Transaction]] = {}
    for transaction in transactions:
        if not transaction.ok:
            continue
        written = transaction.writes()
        for key, value in transaction.external_reads().items():
            if key in written:
                groups.setdefault((key, value), []).append(transaction)
    for (key, value), group in groups.items():
        if len(group) > 1:
            read = shown(list(value) if isinstance(value, tuple) else value)
            text = f"each of these read {shown(key)} = {read} and wrote the next version of it:"
            lines = [f"  {transaction}" for transaction in group[:5]]
            yield Anomaly("lost-update", "\n".join([text, *lines]), tuple(group))
