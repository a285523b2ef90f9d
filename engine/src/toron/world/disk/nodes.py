"""The kinds of thing that a name in a file tree can stand for."""

from __future__ import annotations

import itertools
import stat

from toron.world.disk.content import Content

_serial = itertools.count(1)


class Node:
    """What has an inode number; times are nanoseconds of the wall clock."""

    __slots__ = ("accessed_ns", "changed_ns", "links", "mode", "modified_ns", "number", "serial")

    def __init__(self, number: int, mode: int, now_ns: int) -> None:
        self.number = number
        self.serial = next(_serial)
        """Tells nodes apart; never shown, because it counts over all hosts and runs."""
        self.mode = mode
        self.links = 1
        self.accessed_ns = self.modified_ns = self.changed_ns = now_ns

    @property
    def size(self) -> int:
        """``st_size``."""
        return 0


class File(Node):
    """A regular file."""

    __slots__ = ("content", "locks")

    def __init__(
        self, number: int, permissions: int, now_ns: int, content: Content | None = None
    ) -> None:
        super().__init__(number, stat.S_IFREG | permissions, now_ns)
        self.content = content or Content()
        self.locks: dict[object, bool] = {}
        """Who holds an advisory lock, and whether it is exclusive."""

    @property
    def size(self) -> int:
        """``st_size``."""
        return self.content.size


class Folder(Node):
    """A directory: its names as programs see them, and as they lie on the platter."""

    __slots__ = ("durable", "entries", "real")

    def __init__(self, number: int, permissions: int, now_ns: int, real: str | None = None) -> None:
        super().__init__(number, stat.S_IFDIR | permissions, now_ns)
        self.entries: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        self.real = real
        """The folder of the real machine whose readable files show through, if any."""
        self.links = 2

    @property
    def size(self) -> int:
        """``st_size``."""
        return 4_096

    def place(self, name: str, node: Node) -> None:
        """Put ``node`` there as if it had always been there."""
        self.entries[name] = node
        self.durable[name] = node


class Link(Node):
    """A symbolic link."""

    __slots__ = ("target",)

    def __init__(self, number: int, target: str, now_ns: int) -> None:
        super().__init__(number, stat.S_IFLNK | 0o777, now_ns)
        self.target = target

    @property
    def size(self) -> int:
        """``st_size``."""
        return len(self.target.encode("utf-8", "surrogateescape"))


class Device(Node):
    """One of the character devices: ``null``, ``zero``, ``random``, ``urandom``, ``full``."""

    __slots__ = ("kind",)

    def __init__(self, number: int, kind: str, now_ns: int) -> None:
        super().__init__(number, stat.S_IFCHR | 0o666, now_ns)
        self.kind = kind


class SocketFile(Node):
    """The name of a unix socket; the socket itself belongs to the network."""

    __slots__ = ()

    def __init__(self, number: int, now_ns: int) -> None:
        super().__init__(number, stat.S_IFSOCK | 0o755, now_ns)


class Gone(Node):
    """Stands at the name of a real file that this host has removed."""

    __slots__ = ()


GONE = Gone(0, 0, 0)
