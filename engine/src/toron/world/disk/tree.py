"""One host's tree of names: finds what a path stands for, and changes names as the system would.

Errors are the operating system's own. What is on the platter of all this, the journal decides.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from toron.world.disk.content import Pick
from toron.world.disk.journal import Entry, Journal
from toron.world.disk.lower import NUMBER_BASE, Lower
from toron.world.disk.nodes import GONE, Device, File, Folder, Link, Node
from toron.world.disk.proc import ProcFolder

LINKS_MAX = 40
NAME_MAX = 255
_DEVICES = ("full", "null", "random", "urandom", "zero")
_FOLDERS = (
    "/tmp",  # noqa: S108  (of the simulated machine)
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/tmp",  # noqa: S108
    "/home",
    "/root",
    "/etc",
    "/dev",
    "/run",
)


def fail(number: int, *names: object) -> OSError:
    """The system's error ``number`` about a path or two."""
    if len(names) == 2:
        return OSError(number, os.strerror(number), names[0], None, names[1])
    return OSError(number, os.strerror(number), *names)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a path leads: a folder, the name in it, and what stands there now, if anything."""

    folder: Folder
    name: str
    node: Node | None
    path: str


class Tree:
    """The names of one host."""

    def __init__(self, lower: Lower, wall_ns: Callable[[], int], salt: str) -> None:
        self._lower = lower
        self._wall_ns = wall_ns
        self._salt = salt
        self._numbers = 1
        self.journal = Journal()
        self.root = Folder(2, 0o755, wall_ns(), real="/")

    def number(self) -> int:
        """The next inode number."""
        self._numbers += 1
        return self._numbers

    def furnish(self, folders: list[str]) -> None:
        """Make the folders and devices that every machine has."""
        for path in [*_FOLDERS, *folders]:
            self.ensure_folder(path)
        devices = self.walk("/dev", "/dev").node
        assert isinstance(devices, Folder)
        for kind in _DEVICES:
            devices.place(kind, Device(self.number(), kind, self._wall_ns()))
        temporary = self.walk("/tmp", "/tmp").node  # noqa: S108
        assert temporary is not None
        temporary.mode |= 0o1777

    def ensure_folder(self, path: str) -> Folder:
        """The folder at ``path``; made, with those above, as if it had always been there."""
        at = self.root
        for name in [part for part in path.split("/") if part]:
            known = self.child(at, name)
            while isinstance(known, Link):
                known = self.walk(f"{at.real or ''}/{known.target}", path).node
            if known is None:
                known = Folder(self.number(), 0o755, self._wall_ns())
                at.place(name, known)
            if not isinstance(known, Folder):
                raise fail(errno.ENOTDIR, path)
            at = known
        return at

    # Finding

    def child(self, folder: Folder, name: str) -> Node | None:
        """What stands at ``name`` in ``folder``."""
        node = folder.entries.get(name)
        if node is None and folder.real is not None:
            node = self._lower.node(folder.real.rstrip("/") + "/" + name)
            if node is not None:
                folder.place(name, node)
        return None if node is GONE else node

    def names(self, folder: Folder) -> list[str]:
        """The names in ``folder``, in an order that only this host knows, as a hashed tree's is."""
        if isinstance(folder, ProcFolder):
            return list(folder.entries)
        names = dict.fromkeys(self._lower.names(folder.real) if folder.real is not None else ())
        for name, node in folder.entries.items():
            names.pop(name, None)
            if node is not GONE and not self._only_leads_below(folder, name):
                names[name] = None
        return sorted(names, key=self._order)

    def _only_leads_below(self, folder: Folder, name: str) -> bool:
        """Whether a name only stands here because something below it may be read."""
        if folder.real is None or self._lower.is_inside(folder.real):
            return False
        node = folder.entries[name]
        return is_of_the_machine(node) and not isinstance(node, ProcFolder)

    def _order(self, name: str) -> bytes:
        salted = f"{self._salt}\x00{name}".encode("utf-8", "surrogateescape")
        return hashlib.blake2b(salted, digest_size=8).digest()

    def walk(self, path: str, told: object, *, follow: bool = True) -> Spot:
        """Where the absolute ``path`` leads; ``told`` is how the program said it, for errors."""
        if not path.startswith("/"):
            raise fail(errno.ENOENT, told)
        must_be_folder = path.endswith("/")
        waiting = [part for part in path.split("/") if part][::-1]
        trail: list[tuple[Folder, str]] = []
        folder, links = self.root, 0
        while waiting:
            name = waiting.pop()
            if len(name.encode("utf-8", "surrogateescape")) > NAME_MAX:
                raise fail(errno.ENAMETOOLONG, told)
            if name == ".":
                continue
            if name == "..":
                folder = trail.pop()[0] if trail else self.root
                continue
            node = self.child(folder, name)
            if isinstance(node, Link) and (waiting or follow or must_be_folder):
                links += 1
                if links > LINKS_MAX:
                    raise fail(errno.ELOOP, told)
                waiting += [part for part in node.target.split("/") if part][::-1]
                if node.target.startswith("/"):
                    folder, trail = self.root, []
                continue
            if not waiting:
                return self._last(
                    Spot(folder, name, node, _join(trail, name)), told, must_be_folder
                )
            trail.append((folder, name))
            folder = self._enter(node, told)
        return Spot(folder, "", folder, _join(trail, ""))

    @staticmethod
    def _last(spot: Spot, told: object, must_be_folder: bool) -> Spot:
        if must_be_folder and spot.node is not None and not isinstance(spot.node, Folder):
            raise fail(errno.ENOTDIR, told)
        return spot

    @staticmethod
    def _enter(node: Node | None, told: object) -> Folder:
        if node is None:
            raise fail(errno.ENOENT, told)
        if not isinstance(node, Folder):
            raise fail(errno.ENOTDIR, told)
        return node

    # Changing

    def put(self, spot: Spot, node: Node) -> None:
        """Give ``node`` a name that nothing has."""
        assert spot.node is None, f"{spot.path} is taken"
        self._change(Entry(spot.folder, spot.name, node))

    def remove(self, spot: Spot) -> None:
        """Take a name away."""
        assert spot.node is not None
        spot.node.links -= 1
        self._change(self._without(spot))

    def _without(self, spot: Spot) -> Entry:
        hides = spot.folder.real is not None and (
            self._lower.node(spot.folder.real.rstrip("/") + "/" + spot.name) is not None
        )
        return Entry(spot.folder, spot.name, GONE if hides else None, spot.node)

    def move(self, source: Spot, target: Spot) -> None:
        """Rename, in one step; what had the new name loses it."""
        assert source.node is not None
        if target.node is not None:
            target.node.links -= 1
        if is_of_the_machine(source.node):
            source.node.number = self.number()  # from now on it is this host's own
        arrives = Entry(target.folder, target.name, source.node, target.node)
        self._change(self._without(source), arrives)

    def _change(self, *entries: Entry) -> None:
        now_ns = self._wall_ns()
        for entry in entries:
            if entry.node is None:
                entry.folder.entries.pop(entry.name, None)
            else:
                entry.folder.entries[entry.name] = entry.node
            entry.folder.modified_ns = entry.folder.changed_ns = now_ns
        self.journal.add(*entries)

    # All of it

    def files(self) -> dict[str, File]:
        """Every file that is not of the real machine, by path, in the order of their names."""
        found = {path: node for path, node in self._nodes() if isinstance(node, File)}
        return {path: found[path] for path in sorted(found) if not is_of_the_machine(found[path])}

    def _nodes(self) -> list[tuple[str, Node]]:
        """All nodes that have been looked at, each once."""
        found: list[tuple[str, Node]] = []
        seen: set[int] = set()
        waiting: list[tuple[str, Node]] = [("", self.root)]
        while waiting:
            path, node = waiting.pop()
            if node.serial in seen or node is GONE:
                continue
            seen.add(node.serial)
            found.append((path or "/", node))
            if isinstance(node, Folder):
                waiting += [(f"{path}/{name}", one) for name, one in node.entries.items()][::-1]
        return found

    def used(self) -> int:
        """Bytes in files that have a name."""
        return sum(file.size for file in self.files().values())

    def power_cut(self, pick: Pick) -> list[str]:
        """Leave what is on the platter; say what was lost of each file, and of names."""
        kept, count = self.journal.power_cut(pick)
        losses = [f"{kept} of {count} changes of names kept"] if count else []
        self._restore(self.root, set())
        for path, node in self._nodes():
            if isinstance(node, File):
                loss = node.content.power_cut(pick)
                losses += [f"{path}: {loss}"] if loss else []
                node.locks.clear()
        return losses

    def _restore(self, folder: Folder, seen: set[int]) -> None:
        if folder.serial in seen:
            return
        seen.add(folder.serial)
        folder.entries = dict(folder.durable)
        for node in folder.entries.values():
            if isinstance(node, Folder):
                self._restore(node, seen)
            elif node.serial not in seen:
                seen.add(node.serial)
                node.links = 1
            else:
                node.links += 1

    def sync_all(self) -> None:
        """Bring everything to the platter."""
        self.journal.sync_all()
        for _, node in self._nodes():
            if isinstance(node, File):
                node.content.sync()


def is_of_the_machine(node: Node) -> bool:
    """Whether a node shows a file of the real machine, at its place."""
    return node.number >= NUMBER_BASE


def _join(trail: list[tuple[Folder, str]], name: str) -> str:
    parts = [part for _, part in trail] + ([name] if name else [])
    return "/" + "/".join(parts)
