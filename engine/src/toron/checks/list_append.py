"""Finds out in which order the values of lists were appended, from what was read.

A list tells its own past: whoever reads ``[1, 2, 3]`` knows all versions up to this one, so the
longest read of a key is its version order, and every other read has to be a prefix of it. What was
appended and never read came after the last version that was. This is the inference of Kingsbury
and Alvaro, "Elle" (VLDB 2020), section 4; each value is appended to a key only once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import accumulate, pairwise

from toron.checks.history import shown
from toron.checks.models import BadHistory
from toron.checks.transactions import (
    APPEND,
    Access,
    Anomaly,
    Edge,
    Observed,
    Transaction,
    Writers,
    aborted_reads,
    intermediate_read,
    lost_updates,
)

List = tuple[Hashable, ...]


def observe_lists(transactions: list[Transaction]) -> Observed:
    """Edges and anomalies of a history of lists; BadHistory when values are not unique."""
    return _Lists(transactions).observed


class _Lists:
    def __init__(self, transactions: list[Transaction]) -> None:
        self.observed = Observed(transactions)
        self.writers = Writers(transactions)
        self.appended: dict[Hashable, list[tuple[Hashable, Transaction]]] = {}
        self.reads: dict[Hashable, list[tuple[List, Transaction]]] = {}
        self.external: dict[Hashable, list[tuple[List, Transaction]]] = {}
        anomalies = self.observed.anomalies
        for transaction in transactions:
            for key, values in transaction.writes().items():
                self.appended.setdefault(key, []).extend((v, transaction) for v in values)
            if transaction.ok:
                anomalies += self._look_into(transaction)
            for key, read in transaction.external_reads().items():
                self.external.setdefault(key, []).append((read or (), transaction))
        self.happened = self._happened()
        for key in dict.fromkeys((*self.reads, *self.appended)):
            self._order(key)
        anomalies += lost_updates(transactions)

    def _look_into(self, transaction: Transaction) -> Iterator[Anomaly]:
        """The reads of one transaction, against itself and against those who wrote them."""
        known: dict[Hashable, List] = {}  # what its next read must be
        suffix: dict[Hashable, List] = {}  # what it must end with, when nothing was read before
        left = transaction.writes()
        for access in transaction.accesses:
            key = access.key
            if access.kind == APPEND:
                kept = known if key in known else suffix
                kept[key] = (*kept.get(key, ()), access.value)
                left[key] = left[key][1:]
                continue
            read: List = _list(access, transaction)
            self.reads.setdefault(key, []).append((read, transaction))
            yield from _own_reads(transaction, key, read, known.get(key), suffix.get(key, ()), left)
            yield from _duplicates(transaction, key, read)
            yield from aborted_reads(transaction, key, read, self.writers)
            own = set(transaction.writes().get(key, ()))
            foreign = [value for value in read if value not in own]
            if foreign:
                yield from intermediate_read(transaction, key, foreign[-1], self.writers)
            known[key] = read

    def _happened(self) -> set[int]:
        """Transactions that took effect: they committed, or somebody read what they appended."""
        found = {transaction.number for transaction in self.observed.transactions if transaction.ok}
        for key, reads in self.reads.items():
            for value in {value for read, _ in reads for value in read}:
                writer = self.writers.of(key, value)
                if writer is not None and not writer.failed:
                    found.add(writer.number)
        return found

    def _order(self, key: Hashable) -> None:
        """The version order of one key, and the edges that follow from it."""
        reads = self.reads.get(key, [])
        longest: List = max((read for read, _ in reads), key=len, default=())
        self.observed.anomalies += _incompatible(key, longest, reads)
        versions = list(dict.fromkeys(longest))  # an element that is there twice counts once
        writers = [self.writers.of(key, value) for value in versions]
        self.observed.anomalies += _dirty_updates(key, versions, writers)
        chain = [
            (value, writer)
            for value, writer in zip(versions, writers, strict=True)
            if writer is not None and not writer.failed
        ]
        inside = set(versions)
        unread = [
            (value, writer)
            for value, writer in self.appended.get(key, [])
            if value not in inside and writer.number in self.happened
        ]
        for before, after in pairwise(chain):
            self._edge("ww", before[1], after[1], key, before[0], after[0])
        for value, writer in unread if chain else ():
            self._edge("ww", chain[-1][1], writer, key, chain[-1][0], value)
        alive = {value for value, _ in chain}
        passed = [0, *accumulate(value in alive for value in versions)]
        for read, reader in self.external.get(key, ()):
            if read != tuple(versions[: len(read)]):
                continue  # it is of another timeline, and that is an anomaly already
            before_it = self.writers.of(key, read[-1]) if read else None
            if before_it is not None and not before_it.failed:
                self._edge("wr", before_it, reader, key, read[-1], read[-1])
            place = passed[len(read)]
            for value, after_it in chain[place : place + 1] or unread:
                self._edge("rw", reader, after_it, key, list(read), value)

    def _edge(
        self,
        kind: str,
        source: Transaction,
        target: Transaction,
        key: Hashable,
        before: object,
        after: object,
    ) -> None:
        if source is not target:
            edge = Edge(kind, source.number, target.number, key, before, after)  # type: ignore[arg-type]
            self.observed.edges.append(edge)


def _list(access: Access, transaction: Transaction) -> List:
    if access.value is None:
        return ()
    if not isinstance(access.value, tuple):
        raise BadHistory(
            f"{shown(access.key)} is a list, and was read as {shown(access.value)} by {transaction}"
        )
    return access.value


def _own_reads(
    transaction: Transaction,
    key: Hashable,
    read: List,
    known: List | None,
    suffix: List,
    left: dict[Hashable, list[Hashable]],
) -> Iterator[Anomaly]:
    """What a transaction must have seen of what it had read and written itself."""
    future = [value for value in read if value in left.get(key, ())]
    if future:
        what = f"{shown(future[0])} in {shown(key)}"
        text = f"{transaction}\n  read {what} before it appended that itself"
        yield Anomaly("future-read", text, (transaction,))
        return
    if known is None and read[len(read) - len(suffix) :] == suffix:
        return
    if known is not None and read == known:
        return
    expected = shown(list(known)) if known is not None else f"[... {shown(list(suffix))[1:]}"
    what = f"{shown(key)} = {shown(list(read))}"
    text = f"{transaction}\n  read {what} where its own accesses say {expected}"
    yield Anomaly("internal", text, (transaction,))


def _duplicates(transaction: Transaction, key: Hashable, read: List) -> Iterator[Anomaly]:
    twice = [value for value in dict.fromkeys(read) if read.count(value) > 1]
    if twice:
        what = f"{shown(twice[0])} more than once in {shown(key)}"
        text = f"{transaction}\n  found {what}, appended once"
        yield Anomaly("duplicate-elements", text, (transaction,))


def _incompatible(
    key: Hashable, longest: List, reads: list[tuple[List, Transaction]]
) -> Iterator[Anomaly]:
    """The first read that is no prefix of the longest: they cannot be of one timeline."""
    for read, transaction in reads:
        if read != longest[: len(read)] and len(set(read)) == len(read):
            other = next(one for seen, one in reads if seen == longest)
            text = f"{shown(key)} was read as {shown(list(read))} and as {shown(list(longest))}:"
            lines = f"{text}\n  {transaction}\n  {other}"
            yield Anomaly("incompatible-order", lines, (transaction, other))
            return


def _dirty_updates(
    key: Hashable, versions: list[Hashable], writers: list[Transaction | None]
) -> Iterator[Anomaly]:
    """A committed transaction built upon what a failed one had written."""
    for place, writer in enumerate(writers):
        if writer is None or not writer.failed:
            continue
        for later, other in zip(versions[place:], writers[place:], strict=True):
            if other is not None and other.ok:
                text = (
                    f"{shown(later)} was appended to {shown(key)} on top of "
                    f"{shown(versions[place])}, which failed to commit:\n  {other}\n  {writer}"
                )
                yield Anomaly("dirty-update", text, (other, writer))
                return
