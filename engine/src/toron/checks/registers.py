"""Finds out in which order the values of registers were written, as far as that can be known.

A register forgets what it held, so the version order is only pieced together: nothing comes before
the initial None; who reads a version and then writes the key writes a later one; and, when the user
vouches for it, the accesses of one client, or those that do not overlap, go forward on each key.
This is the inference of Kingsbury and Alvaro, "Elle" (VLDB 2020), section 5; each value is written
to a key only once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Literal

from toron.checks.cycles import components
from toron.checks.history import shown
from toron.checks.transactions import (
    READ,
    Anomaly,
    Edge,
    Observed,
    Transaction,
    Writers,
    aborted_reads,
    intermediate_read,
    lost_updates,
)

VersionOrder = Literal["observed", "process", "realtime"]
Versions = dict[Any, dict[Any, None]]
"""The versions that come after each version of one key."""


def observe_registers(transactions: list[Transaction], order: VersionOrder) -> Observed:
    """Edges and anomalies of a history of registers; BadHistory when values are not unique."""
    return _Registers(transactions, order).observed


class _Registers:
    def __init__(self, transactions: list[Transaction], order: VersionOrder) -> None:
        self.observed = Observed(transactions)
        self.writers = Writers(transactions)
        self.versions: dict[Hashable, Versions] = {}
        self.readers: dict[tuple[Hashable, Any], list[Transaction]] = {}
        for transaction in transactions:
            if transaction.ok:
                self.observed.anomalies += self._look_into(transaction)
        for transaction in transactions:
            self._follow(transaction)
        if order != "observed":
            self._forward(by_process=order == "process")
        for (key, value), readers in self.readers.items():
            writer = self.writers.of(key, value)
            for reader in readers if writer is not None and not writer.failed else ():
                self._edge("wr", writer, reader, key, value, value)
        for key, versions in self.versions.items():
            self._edges(key, versions)
        self.observed.anomalies += lost_updates(transactions)

    def _look_into(self, transaction: Transaction) -> Iterator[Anomaly]:
        known: dict[Hashable, Any] = {}
        for access in transaction.accesses:
            key, value = access.key, access.value
            if access.kind != READ:
                known[key] = value
                continue
            if key in known:
                if known[key] != value:
                    what = f"{shown(key)} = {shown(value)}"
                    own = f"where its own accesses say {shown(known[key])}"
                    yield Anomaly("internal", f"{transaction}\n  read {what} {own}", (transaction,))
                continue
            known[key] = value
            self.readers.setdefault((key, value), []).append(transaction)
            if value is None:
                continue
            if self.writers.of(key, value) is transaction:
                what = f"{shown(value)} in {shown(key)}"
                text = f"{transaction}\n  read {what} before it wrote that itself"
                yield Anomaly("future-read", text, (transaction,))
            yield from aborted_reads(transaction, key, (value,), self.writers)
            yield from intermediate_read(transaction, key, value, self.writers)

    def _happened(self, transaction: Transaction) -> bool:
        """Whether it certainly took effect: it committed, or somebody read what it wrote."""
        if transaction.ok or transaction.failed:
            return transaction.ok
        written = transaction.writes().items()
        return any((key, value) in self.readers for key, values in written for value in values)

    def _follow(self, transaction: Transaction) -> None:
        """What this transaction alone says: None comes first, and writes follow reads."""
        if not self._happened(transaction):
            return
        read = transaction.external_reads()
        for key, values in transaction.writes().items():
            self._after(key, None, values[-1])
            if key in read:
                self._after(key, read[key], values[-1])

    def _after(self, key: Hashable, before: Any, after: Any) -> None:
        if before != after:
            self.versions.setdefault(key, {}).setdefault(before, {})[after] = None

    def _forward(self, *, by_process: bool) -> None:
        """Each client, or everybody, sees each key go forward in time."""
        per_key: dict[Hashable, list[tuple[Transaction, Any, Any]]] = {}
        for transaction in self.observed.transactions:
            if not transaction.ok:
                continue
            read, written = transaction.external_reads(), transaction.writes()
            for key in dict.fromkeys((*read, *written)):
                first = read[key] if key in read else written[key][-1]
                last = written[key][-1] if key in written else read[key]
                place = (key, transaction.operation.client) if by_process else key
                per_key.setdefault(place, []).append((transaction, first, last))
        for place, accesses in per_key.items():
            key = place[0] if by_process else place  # type: ignore[index]
            for before, after in _in_time(accesses):
                self._after(key, before, after)

    def _edges(self, key: Hashable, versions: Versions) -> None:
        nodes = dict.fromkeys([*versions, *(v for after in versions.values() for v in after)])
        loops = components(list(nodes), lambda value: versions.get(value, ()))
        for loop in loops:
            text = f"{shown(key)}: each of these values came before each other one: "
            self.observed.anomalies.append(
                Anomaly("cyclic-versions", text + ", ".join(map(shown, loop)), ())
            )
        if loops:
            return  # an order that contradicts itself says nothing of transactions
        later = {
            value for before, after in versions.items() if before is not None for value in after
        }
        for before, after in versions.items():
            for value in after:
                # None comes before all; the next ones after it are those that follow no other.
                if before is not None or value not in later:
                    self._overwrites(key, before, value)

    def _overwrites(self, key: Hashable, before: Any, value: Any) -> None:
        writer = self.writers.of(key, value)
        if writer is None or writer.failed:
            return
        earlier = self.writers.of(key, before)
        if earlier is not None and not earlier.failed:
            self._edge("ww", earlier, writer, key, before, value)
        for reader in self.readers.get((key, before), ()):
            self._edge("rw", reader, writer, key, before, value)

    def _edge(
        self,
        kind: Literal["ww", "wr", "rw"],
        source: Transaction | None,
        target: Transaction,
        key: Hashable,
        before: Any,
        after: Any,
    ) -> None:
        if source is not None and source is not target:
            edge = Edge(kind, source.number, target.number, key, before, after)
            self.observed.edges.append(edge)


def _in_time(accesses: list[tuple[Transaction, Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """(last version of one, first version of another) that begins after it has ended."""
    events: list[tuple[int, int]] = []
    for number, (transaction, _, _) in enumerate(accesses):
        events.append((transaction.operation.invoked, number))
        assert transaction.operation.returned is not None
        events.append((transaction.operation.returned, number))
    frontier: dict[int, None] = {}
    before: dict[int, list[int]] = {}
    for _, number in sorted(events):
        if number not in before:
            before[number] = list(frontier)
            for earlier in before[number]:
                yield accesses[earlier][2], accesses[number][1]
        else:
            for earlier in before[number]:
                frontier.pop(earlier, None)
            frontier[number] = None
