"""Remembers changes of names until the folder is synced, and decides what a power cut keeps.

A change (create, rename, link, unlink) is atomic: it is kept whole or lost whole. Syncing a folder
brings the changes of that folder to the platter, and earlier ones that they build on; syncing a
file brings none. A power cut keeps either a prefix of what is left, or any subset in which a change
is kept only together with the earlier ones of the same names and files: otherwise a file that was
synced under a synced name could vanish by a rename of its neighbour, which no file system does.
"""

from __future__ import annotations

from dataclasses import dataclass

from toron.world.disk.content import Pick
from toron.world.disk.nodes import Folder, Node

_Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One name that gets a node, or loses it."""

    folder: Folder
    name: str
    node: Node | None
    was: Node | None = None

    def apply(self) -> None:
        """Do it on the platter."""
        if self.node is None:
            self.folder.durable.pop(self.name, None)
        else:
            self.folder.durable[self.name] = self.node


@dataclass(frozen=True, slots=True)
class Change:
    """Names that change together."""

    entries: tuple[Entry, ...]

    def keys(self) -> list[_Key]:
        """What it touches: names in folders, and the nodes behind them."""
        names = [(entry.folder.serial, entry.name) for entry in self.entries]
        nodes = [
            (node.serial, "")
            for entry in self.entries
            for node in (entry.node, entry.was)
            if node is not None and node.number
        ]
        return names + nodes

    def touches(self, folder: Folder) -> bool:
        """Whether a name of ``folder`` changes."""
        return any(entry.folder is folder for entry in self.entries)

    def moves_a_folder(self) -> bool:
        """Whether a folder changes its place; orders of such moves could make a circle."""
        return len(self.entries) > 1 and any(isinstance(e.node, Folder) for e in self.entries)


class Journal:
    """The changes of names of one disk that are not on the platter."""

    def __init__(self) -> None:
        self._changes: list[Change] = []

    def add(self, *entries: Entry) -> None:
        """Remember a change that was just made."""
        self._changes.append(Change(entries))

    def sync(self, folder: Folder) -> None:
        """Bring the changes of ``folder`` to the platter."""
        wanted: set[int] = set()
        needed: set[_Key] = set()
        for number in range(len(self._changes) - 1, -1, -1):
            change = self._changes[number]
            keys = change.keys()
            if change.touches(folder) or any(key in needed for key in keys):
                wanted.add(number)
                needed.update(keys)
        self._apply(sorted(wanted))
        self._changes = [c for number, c in enumerate(self._changes) if number not in wanted]

    def sync_all(self) -> None:
        """Bring everything to the platter."""
        self._apply(range(len(self._changes)))
        self._changes.clear()

    def power_cut(self, pick: Pick) -> tuple[int, int]:
        """Decide what is kept; return how many changes were, and out of how many."""
        count = len(self._changes)
        if not count:
            return 0, 0
        ordered = any(change.moves_a_folder() for change in self._changes)
        kept = list(range(pick(count + 1))) if ordered or pick(2) else self._subset(pick)
        self._apply(kept)
        self._changes.clear()
        return len(kept), count

    def _subset(self, pick: Pick) -> list[int]:
        kept, lost = [], set[_Key]()
        for number, change in enumerate(self._changes):
            keys = change.keys()
            if pick(2) and not any(key in lost for key in keys):
                kept.append(number)
            else:
                lost.update(keys)
        return kept

    def _apply(self, numbers: list[int] | range) -> None:
        for number in numbers:
            for entry in self._changes[number].entries:
                entry.apply()
