"""The descriptors of simulated files: real inert numbers, so that none is used twice.

Each is an `eventfd` through which no byte goes; `fcntl` and `os.get_inheritable` work on it.
"""

from __future__ import annotations

import errno
import os

from toron.core.process import CURRENT, Process
from toron.world.disk import real
from toron.world.disk.host_disk import Disks
from toron.world.disk.opened import Opened
from toron.world.disk.tree import fail
from toron.world.disk.volume import Volume


class FileTable:
    """Which simulated file stands behind a descriptor, and which disk is the current one."""

    def __init__(self) -> None:
        self.disks: Disks | None = None
        self._opened: dict[int, Opened] = {}
        self._folders: dict[Process, str] = {}
        self._masks: dict[Process, int] = {}

    # Who acts

    def process(self) -> Process | None:
        """The simulated process that acts now; None outside of a run."""
        return None if self.disks is None else CURRENT.get(None)

    def volume(self) -> Volume:
        """The disk of the host that acts now."""
        process = self.process()
        assert self.disks is not None
        assert process is not None
        return self.disks.of(process.host.name).volume

    def volume_of(self, opened: Opened) -> Volume:
        """The disk that an open file lies on."""
        assert self.disks is not None
        return self.disks.of(opened.process.host.name).volume

    def folder(self) -> str:
        """The working folder of the acting process."""
        process = self.process()
        assert process is not None
        return self._folders.get(process) or real.getcwd()

    def enter(self, folder: str) -> None:
        """Change the working folder of the acting process."""
        process = self.process()
        assert process is not None
        self._folders[process] = folder

    def mask(self, new: int | None = None) -> int:
        """The umask of the acting process, before it becomes ``new``."""
        process = self.process()
        assert process is not None
        old = self._masks.get(process, 0o022)
        if new is not None:
            self._masks[process] = new & 0o777
        return old

    # Paths

    def absolute(self, path: object, dir_fd: int | None = None) -> str:
        """``path`` of a program, from the root; errors as the system's."""
        name = os.fsdecode(path)  # type: ignore[arg-type]
        if "\0" in name:
            raise ValueError("embedded null byte")
        if not name:
            raise fail(errno.ENOENT, path)
        if name.startswith("/"):
            return name
        below = self.folder() if dir_fd is None else self.must(dir_fd).path
        return f"{below.rstrip('/')}/{name}"

    # Descriptors

    def add(self, opened: Opened) -> int:
        """A new descriptor for an open file."""
        fd: int = real.POSIX.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.put(fd, opened)
        return fd

    def put(self, fd: int, opened: Opened) -> None:
        """Make ``fd`` stand for an open file."""
        opened.descriptors += 1
        self._opened[fd] = opened

    def get(self, fd: object) -> Opened | None:
        """The open file behind ``fd``, or None when it is no simulated one."""
        return self._opened.get(fd) if isinstance(fd, int) else None

    def must(self, fd: object) -> Opened:
        """The open file behind ``fd``; EBADF otherwise."""
        opened = self.get(fd)
        if opened is None:
            raise fail(errno.EBADF)
        return opened

    def close(self, fd: int) -> None:
        """Close one descriptor; with the last one the open file."""
        opened = self._opened.pop(fd)
        real.close(fd)
        opened.descriptors -= 1
        if not opened.descriptors:
            self.volume_of(opened).close(opened)

    def drop_all_of(self, process: Process) -> None:
        """Close the descriptors of a process that ended."""
        for fd in [fd for fd, opened in self._opened.items() if opened.process is process]:
            self.close(fd)

    def listen_to(self, disks: Disks) -> None:
        """Serve one run."""
        self.disks = disks
        disks.on_end_of = self.drop_all_of
