"""The part of the real machine that a simulated disk shows through: code and data, read only.

That is the project, Python's own folders and what `Refusals` lets a program read. Their times and
inode numbers are the same on every machine; their order is not the real one.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable

from toron.core.clock import WALL_BASE_NS
from toron.world.disk import real
from toron.world.disk.content import Content
from toron.world.disk.nodes import File, Folder, Link, Node

NUMBER_BASE = 1 << 32
"""Inode numbers of the real machine's files begin here, in every host's tree."""


class Lower:
    """What of the real machine may be seen, below ``roots``."""

    def __init__(self, roots: Iterable[str], name_of: Callable[[str], str]) -> None:
        spelled = list(dict.fromkeys(roots))
        self._roots = tuple(dict.fromkeys([*spelled, *map(real.realpath, spelled)]))
        self._above = {above for root in self._roots for above in _folders_above(root)}
        self._name_of = name_of
        self._loaded: dict[str, bytes] = {}

    def is_inside(self, path: str) -> bool:
        """Whether ``path``, free of links, is readable."""
        return any(path == root or path.startswith(_with_slash(root)) for root in self._roots)

    def node(self, path: str) -> Node | None:
        """What stands at ``path`` (whose parents are no links), or None."""
        if not self.is_inside(path) and path not in self._above:
            return None
        try:
            status = real.lstat(path)
        except (OSError, ValueError):
            return None
        number = self._number(path)
        if stat.S_ISLNK(status.st_mode):
            return Link(number, real.readlink(path), WALL_BASE_NS)
        if stat.S_ISDIR(status.st_mode):
            return Folder(number, 0o755, WALL_BASE_NS, real=path)
        if not stat.S_ISREG(status.st_mode) or not self.is_inside(path):
            return None
        content = Content(lambda: self._read(path), status.st_size)
        permissions = 0o755 if status.st_mode & 0o100 else 0o644
        return File(number, permissions, WALL_BASE_NS, content)

    def names(self, path: str) -> list[str]:
        """The names in the folder ``path``; none of one that only leads to what is readable."""
        if not self.is_inside(path):
            return []
        try:
            return sorted(real.listdir(path))
        except OSError:
            return []

    def _number(self, path: str) -> int:
        digest = hashlib.blake2b(self._name_of(path).encode("utf-8", "surrogateescape"))
        return NUMBER_BASE + int.from_bytes(digest.digest()[:3], "big")

    def _read(self, path: str) -> bytes:
        known = self._loaded.get(path)
        if known is None:
            with real.open_file(path, "rb") as file:
                known = self._loaded[path] = file.read()
        return known


def _folders_above(path: str) -> list[str]:
    above = []
    while path not in ("/", ""):
        path = path.rpartition("/")[0] or "/"
        above.append(path)
    return above


def _with_slash(root: str) -> str:
    return root if root.endswith("/") else root + "/"
