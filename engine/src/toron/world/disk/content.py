"""Holds the bytes of one file twice: as programs see them, and as they lie on the platter.

A write changes the page cache; it reaches the platter at a `sync`. A power cut before that leaves
what a disk with a volatile cache may leave: of every sector some version that it had since the last
sync. Nothing that was synced is ever lost, and bytes of a sector that a write did not touch never
change. Inside a sector a write is torn only where it extends the file: overwriting a sector is
atomic on every disk that databases are written for, a growing size is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SECTOR = 512
UNSYNCED_MAX = 4_096
"""Writes that wait at most; the older half is then written back, as a kernel's flusher does."""

Pick = Callable[[int], int]
"""Draws a whole number below a bound."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that were written and not synced."""

    offset: int
    payload: bytes

    def apply(self, target: bytearray) -> None:
        """Do it to ``target``."""
        put(target, self.offset, self.payload)

    def pieces(self) -> list[Write]:
        """The same write, cut at the borders of sectors."""
        pieces, at, end = [], self.offset, self.offset + len(self.payload)
        while at < end:
            border = min(end, (at // SECTOR + 1) * SECTOR)
            pieces.append(Write(at, self.payload[at - self.offset : border - self.offset]))
            at = border
        return pieces


@dataclass(frozen=True, slots=True)
class Truncate:
    """A change of size that was not synced."""

    size: int

    def apply(self, target: bytearray) -> None:
        """Do it to ``target``."""
        resize(target, self.size)


Change = Write | Truncate


class Content:
    """The bytes of a file; ``source`` gives those of a file of the real machine when needed."""

    __slots__ = ("_source", "_source_size", "cached", "durable", "misplaced", "unsynced")

    def __init__(self, source: Callable[[], bytes] | None = None, size: int = 0) -> None:
        self.cached = bytearray()
        self.durable = bytearray()
        self.unsynced: list[Change] = []
        self.misplaced = False
        """Whether an unsynced write will land elsewhere than the cache says."""
        self._source = source
        self._source_size = size

    def load(self) -> None:
        """Read the real file, once."""
        if self._source is not None:
            source, self._source = self._source, None
            self.place(source())

    @property
    def size(self) -> int:
        """How many bytes a program sees."""
        return len(self.cached) if self._source is None else self._source_size

    def place(self, payload: bytes) -> None:
        """Put ``payload`` on the platter as if it had always been there."""
        self._source = None
        self.cached, self.durable = bytearray(payload), bytearray(payload)
        self.unsynced.clear()

    def write(self, offset: int, payload: bytes) -> None:
        """Change the cache."""
        put(self.cached, offset, payload)
        self._remember(Write(offset, payload))

    def write_misplaced(self, offset: int, payload: bytes, lands_at: int) -> None:
        """Change the cache at ``offset``; the disk will write the bytes at ``lands_at``."""
        put(self.cached, offset, payload)
        self._remember(Write(lands_at, payload))
        self.misplaced = True

    def truncate(self, size: int) -> None:
        """Change the size in the cache."""
        resize(self.cached, size)
        self._remember(Truncate(size))

    def _remember(self, change: Change) -> None:
        self.unsynced.append(change)
        if len(self.unsynced) > UNSYNCED_MAX:
            half = len(self.unsynced) // 2
            for older in self.unsynced[:half]:
                older.apply(self.durable)
            del self.unsynced[:half]

    def sync(self) -> None:
        """Bring everything to the platter."""
        for change in self.unsynced:
            change.apply(self.durable)
        self.unsynced.clear()
        if self.misplaced:
            self.misplaced = False
            self.drop_clean_pages()

    def fail_sync(self, pick: Pick) -> None:
        """Lose some of it, and call all pages clean: the next `sync` has nothing to do.

        What Linux does after a write error (the "fsyncgate" of 2018): programs go on to see the
        cached bytes, and a retried fsync succeeds without having written them.
        """
        _settle(self.durable, self.unsynced, pick)
        self.unsynced.clear()

    def power_cut(self, pick: Pick) -> str:
        """Leave what the platter holds; say what became of unsynced changes ("" without any)."""
        if self._source is not None:
            return ""
        waiting = len(self.unsynced)
        fate = _settle(self.durable, self.unsynced, pick) if waiting else ""
        self.unsynced.clear()
        self.cached = bytearray(self.durable)
        return fate and f"{fate} of {waiting}, {len(self.durable)} bytes left"

    def drop_clean_pages(self) -> None:
        """Read again what the platter holds, below what is not synced yet."""
        self.cached = bytearray(self.durable)
        for change in self.unsynced:
            change.apply(self.cached)


def put(target: bytearray, offset: int, payload: bytes) -> None:
    """Write ``payload`` at ``offset``; a gap before it is zeros."""
    if offset > len(target):
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(payload)] = payload


def resize(target: bytearray, size: int) -> None:
    """Cut ``target``, or extend it with zeros."""
    if size < len(target):
        del target[size:]
    else:
        target.extend(bytes(size - len(target)))


# What a power cut may leave


def _settle(durable: bytearray, changes: list[Change], pick: Pick) -> str:
    name, fate = _FATES[pick(len(_FATES))]
    fate(durable, changes, pick)
    return name


def _lose(_durable: bytearray, _changes: list[Change], _pick: Pick) -> None:
    return None


def _keep(durable: bytearray, changes: list[Change], _pick: Pick) -> None:
    for change in changes:
        change.apply(durable)


def _prefix(durable: bytearray, changes: list[Change], pick: Pick) -> None:
    """Some first changes, and of the next one its first sectors."""
    count = pick(len(changes))
    for change in changes[:count]:
        change.apply(durable)
    torn = changes[count]
    if isinstance(torn, Write):
        _tear(durable, torn, pick)


def _tear(durable: bytearray, torn: Write, pick: Pick) -> None:
    pieces = torn.pieces()
    if not pieces:
        return
    kept = pick(len(pieces))
    for piece in pieces[:kept]:
        piece.apply(durable)
    broken = pieces[kept]
    if broken.offset >= len(durable):  # only the growing end of a file is torn inside a sector
        Write(broken.offset, broken.payload[: pick(len(broken.payload) + 1)]).apply(durable)
    if pick(4) == 0:
        _grow(durable, torn)


def _scatter(durable: bytearray, changes: list[Change], pick: Pick) -> None:
    """Every sector as it was at some moment since the last sync, whatever its neighbours are."""
    stopped: set[int] = set()
    odds = 2 + pick(3)
    for change in changes:
        if isinstance(change, Truncate):
            if pick(odds):
                change.apply(durable)
            continue
        for piece in change.pieces():
            sector = piece.offset // SECTOR
            if sector not in stopped and pick(odds):
                piece.apply(durable)
            else:
                stopped.add(sector)
                if pick(4) == 0:
                    _grow(durable, piece)


def _grow(durable: bytearray, lost: Write) -> None:
    """The size reached the disk and the bytes did not: they read as zeros."""
    resize(durable, max(len(durable), lost.offset + len(lost.payload)))


_FATES: tuple[tuple[str, Callable[[bytearray, list[Change], Pick], None]], ...] = (
    ("lost all", _lose),
    ("lost all", _lose),
    ("lost all", _lose),
    ("kept a prefix", _prefix),
    ("kept a prefix", _prefix),
    ("kept a prefix", _prefix),
    ("kept some sectors", _scatter),
    ("kept some sectors", _scatter),
    ("kept some sectors", _scatter),
    ("kept all", _keep),
)
