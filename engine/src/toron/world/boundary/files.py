"""Puts the simulated disk behind `open`, `io`, `os`, `fcntl`, `mmap` and what is built on them.

`pathlib`, `shutil`, `tempfile`, `glob`, `logging` and the rest call these and stay as they are. The
import system keeps the real functions: it loads code of the real machine.
"""

from __future__ import annotations

import _frozen_importlib_external as importer
import builtins
import errno
import fcntl
import io
import mmap
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from toron.errors import EscapeError
from toron.world.boundary import file_objects
from toron.world.boundary.aliases import Stand, replace
from toron.world.boundary.file_calls import DescriptorCalls, PathCalls
from toron.world.boundary.file_table import FileTable
from toron.world.disk import real
from toron.world.disk.opened import Opened
from toron.world.disk.tree import fail

_SECOND_ARGUMENT_TOO = ("sendfile", "copy_file_range")


def install(table: FileTable) -> None:
    """Replace every way to a file that Python code has."""
    _keep_imports_real()
    file_objects.attach(table)
    paths = PathCalls(table)
    descriptors = DescriptorCalls(table, paths)
    for name in _methods(PathCalls):
        _replace_call(table, name, getattr(paths, name), of_descriptor=False)
    for name in _methods(DescriptorCalls):
        _replace_call(table, name, getattr(descriptors, name), of_descriptor=True)
    sim_open = file_objects.make_open(table)
    replace(builtins, "open", Stand(builtins.open, sim_open))
    replace(io, "FileIO", file_objects.SimFileIO)
    Locks(table).install()
    _install_maps(table)
    _refuse_databases()


def _methods(calls: type) -> list[str]:
    return [name for name in vars(calls) if not name.startswith("_")]


def _replace_call(
    table: FileTable, name: str, simulated: Callable[..., Any], *, of_descriptor: bool
) -> None:
    original = getattr(os, name, None)
    if original is None:
        return

    def on_path(*arguments: Any, **keywords: Any) -> Any:
        if table.process() is None:
            return original(*arguments, **keywords)
        return simulated(*arguments, **keywords)

    def on_descriptor(*arguments: Any, **keywords: Any) -> Any:
        if table.process() is None or not _concerns(table, name, arguments, keywords):
            return original(*arguments, **keywords)
        return simulated(*arguments, **keywords)

    stand = Stand(original, on_descriptor if of_descriptor else on_path)
    replace(os, name, stand)
    for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if original in able:
            able.add(stand)


def _concerns(
    table: FileTable, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> bool:
    """Whether a call is about a simulated descriptor."""
    given = list(arguments[: 2 if name in _SECOND_ARGUMENT_TOO else 1]) + list(keywords.values())
    numbers = [one if isinstance(one, int) else _fileno(one) for one in given]
    return any(table.get(number) is not None for number in numbers)


def _fileno(thing: Any) -> int:
    method = getattr(thing, "fileno", None)
    return method() if callable(method) else -1


def _keep_imports_real() -> None:
    """Give the import system copies of its modules, which no replacement reaches."""
    posix, raw_io = ModuleType("posix"), ModuleType("_io")
    own: Any = importer
    posix.__dict__.update(vars(own._os))
    raw_io.__dict__.update(vars(own._io))
    own._os, own._io = posix, raw_io


class Locks:
    """`fcntl.flock`, `lockf` and `fcntl` on simulated files."""

    def __init__(self, table: FileTable) -> None:
        self._table = table

    def install(self) -> None:
        """Replace the three."""
        for name in ("flock", "lockf", "fcntl"):
            replace(fcntl, name, Stand(getattr(fcntl, name), getattr(self, name)))

    def _opened(self, fd: Any) -> Opened | None:
        if self._table.process() is None:
            return None
        return self._table.get(fd if isinstance(fd, int) else _fileno(fd))

    def flock(self, fd: Any, operation: int, /) -> None:
        """A lock of an open file; waiting for one would block the loop's thread."""
        opened = self._opened(fd)
        if opened is None:
            real.flock(fd, operation)
            return
        volume = self._table.volume_of(opened)
        if operation & fcntl.LOCK_UN:
            volume.unlock(opened)
        elif not volume.lock(opened, exclusive=bool(operation & fcntl.LOCK_EX)):
            if operation & fcntl.LOCK_NB:
                raise fail(errno.EAGAIN)
            raise EscapeError(
                "flock() would wait for a lock in the event loop's thread; "
                "use LOCK_NB and try again"
            )

    def lockf(self, fd: Any, cmd: int, *span: int) -> None:
        """A lock of the whole process, and a host has one: nobody else can hold it."""
        if self._opened(fd) is None:
            real.lockf(fd, cmd, *span)

    def fcntl(self, fd: Any, cmd: int, arg: Any = 0, /) -> Any:
        """Flags are those of the simulated file; what is of the descriptor is real."""
        opened = self._opened(fd)
        if opened is None or cmd in (fcntl.F_GETFD, fcntl.F_SETFD):
            return real.fcntl(fd, cmd, arg)
        if cmd == fcntl.F_GETFL:
            return opened.flags & ~os.O_CLOEXEC
        if cmd in (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC):
            return self._table.add(opened)
        return arg


def _install_maps(table: FileTable) -> None:
    real_mmap = mmap.mmap

    class SimMmap(real_mmap):  # type: ignore[misc,valid-type]
        """A map of a simulated file: a private copy, which only reading makes equal to sharing."""

        def __new__(cls, fileno: int, length: int, *arguments: Any, **keywords: Any) -> Any:
            opened = table.get(fileno) if table.process() is not None else None
            if opened is None:
                return super().__new__(cls, fileno, length, *arguments, **keywords)
            if keywords.get("access") not in (mmap.ACCESS_READ, mmap.ACCESS_COPY) and (
                keywords.get("prot") != mmap.PROT_READ
            ):
                raise EscapeError(
                    "mmap of a simulated file can only be read: map it with access=ACCESS_READ or "
                    "ACCESS_COPY, and write with os.pwrite() and os.fsync()"
                )
            size = opened.node.size
            payload = table.volume_of(opened).read(opened, size, 0)
            copy: int = real.POSIX.memfd_create("toron-map")
            try:
                real.POSIX.write(copy, payload)
                return super().__new__(cls, copy, length, *arguments, **keywords)
            finally:
                real.close(copy)

    SimMmap.__name__ = SimMmap.__qualname__ = "mmap"
    replace(mmap, "mmap", SimMmap)


def _refuse_databases() -> None:
    """The libraries behind `dbm` open files in C, where nothing announces it."""
    for name in ("_gdbm", "_dbm"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        replace(module, "open", Stand(module.open, _no_database))


def _no_database(*_arguments: Any, **_keywords: Any) -> None:
    raise EscapeError(
        "dbm.gnu and dbm.ndbm open files in C, past the simulated disk; use dbm.dumb or sqlite3"
    )
