"""An open file: what descriptors and file objects share, and where it reads and writes next."""

from __future__ import annotations

import os

from toron.core.process import Process
from toron.world.disk.nodes import Node


class Opened:
    """One open file description; `os.dup` makes two descriptors share one."""

    __slots__ = ("descriptors", "flags", "is_direct", "node", "offset", "path", "process")

    def __init__(self, node: Node, path: str, flags: int, process: Process) -> None:
        self.node = node
        self.path = path
        self.flags = flags
        self.process = process
        self.offset = 0
        self.descriptors = 0
        self.is_direct = bool(flags & (os.O_SYNC | os.O_DSYNC))

    @property
    def reads(self) -> bool:
        """Whether it was opened for reading."""
        return self.flags & os.O_ACCMODE in (os.O_RDONLY, os.O_RDWR)

    @property
    def writes(self) -> bool:
        """Whether it was opened for writing."""
        return self.flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR)

    @property
    def appends(self) -> bool:
        """Whether every write goes to the end."""
        return bool(self.flags & os.O_APPEND)
