"""`open` and `io.FileIO` of the simulated world: CPython's own buffers on a simulated raw file."""

from __future__ import annotations

import _io
import errno
import io
import os
import stat
import warnings
from collections.abc import Callable
from typing import Any

from toron.world.boundary.file_table import FileTable
from toron.world.disk import real
from toron.world.disk.opened import Opened
from toron.world.disk.tree import fail

BUFFER_SIZE = io.DEFAULT_BUFFER_SIZE
_READ_ALL_CHUNK = 1 << 20


class _Attached:
    """The table of this process."""

    table = FileTable()


def attach(table: FileTable) -> None:
    """Make new file objects belong to ``table``."""
    _Attached.table = table


def flags_of(mode: str) -> int:
    """The flags of `os.open` for a raw mode; ValueError as `io.FileIO`'s."""
    kinds = [letter for letter in mode if letter in "rwax"]
    if len(kinds) != 1 or mode.count("+") > 1 or set(mode) - set("rwaxb+"):
        raise ValueError(
            "Must have exactly one of create/read/write/append mode and at most one plus"
            if not set(mode) - set("rwaxb+")
            else f"invalid mode: {mode}"
        )
    flags = {
        "r": 0,
        "w": os.O_CREAT | os.O_TRUNC,
        "a": os.O_CREAT | os.O_APPEND,
        "x": os.O_CREAT | os.O_EXCL,
    }[kinds[0]]
    access = os.O_RDWR if "+" in mode else os.O_RDONLY if kinds[0] == "r" else os.O_WRONLY
    return flags | access | os.O_CLOEXEC


class SimFileIO(_io.FileIO):
    """A raw file whose bytes are simulated; of the real one it only has the inert descriptor."""

    _opened: Opened
    _fd = -1

    def __new__(
        cls, file: Any = None, mode: str = "r", closefd: bool = True, opener: Any = None
    ) -> Any:
        """A simulated file, or a real one for a descriptor of the real world (2, say)."""
        table = _Attached.table
        if cls is SimFileIO and (
            table.process() is None or (isinstance(file, int) and table.get(file) is None)
        ):
            return real.RealFileIO(file, mode, closefd, opener)
        return super().__new__(cls, file, mode, closefd, opener)  # type: ignore[call-arg]

    def __init__(
        self, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None
    ) -> None:
        table = _Attached.table
        flags = flags_of(mode)
        fd = self._number(table, file, flags, closefd, opener)
        self._opened = table.must(fd)
        self._fd = fd
        self._table = table
        self._closes = closefd
        self._reads, self._writes = "r" in mode or "+" in mode, mode.strip("rb") != ""
        super().__init__(fd, mode, closefd=False)
        self.name = file
        if stat.S_ISDIR(self._opened.node.mode):
            self.close()
            raise fail(errno.EISDIR, file)
        if "a" in mode:
            self._opened.offset = self._opened.node.size

    @staticmethod
    def _number(table: FileTable, file: Any, flags: int, closefd: bool, opener: Any) -> int:
        if isinstance(file, int):
            if isinstance(file, bool):
                warnings.warn("bool is used as a file descriptor", RuntimeWarning, stacklevel=3)
            return file
        if not closefd:
            raise ValueError("Cannot use closefd=False with file name")
        if opener is None:
            return open_descriptor(table, file, flags, 0o666)
        fd = opener(file, flags)
        if not isinstance(fd, int):
            raise TypeError("expected integer from opener")
        if fd < 0:
            raise ValueError(f"opener returned {fd}")
        return fd

    # State

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._fd < 0

    @property
    def closefd(self) -> bool:
        """Whether closing it closes the descriptor."""
        return self._closes

    def _check(self) -> None:
        if self._fd < 0:
            raise ValueError("I/O operation on closed file")

    def fileno(self) -> int:
        """The inert descriptor."""
        self._check()
        return self._fd

    def isatty(self) -> bool:
        """No simulated file is a terminal."""
        self._check()
        return False

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        self._check()
        return self._reads

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        self._check()
        return self._writes

    def seekable(self) -> bool:
        """A regular file is."""
        self._check()
        return True

    def close(self) -> None:
        """Close the descriptor, unless it was lent; a dead process has none any more."""
        fd, self._fd = self._fd, -1
        if fd >= 0 and self._closes and self._table.get(fd) is self._opened:
            self._table.close(fd)
        super().close()

    def __del__(self) -> None:
        if self._fd >= 0:
            self.close()

    # Bytes

    def _must(self, *, able: bool, what: str) -> None:
        self._check()
        if not able:
            raise io.UnsupportedOperation(f"File not open for {what}")

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes; all without one."""
        self._must(able=self._reads, what="reading")
        if size is None or size < 0:
            return self.readall()
        return self._table.volume_of(self._opened).read(self._opened, size)

    def readall(self) -> bytes:
        """Everything up to the end."""
        self._must(able=self._reads, what="reading")
        parts = []
        while part := self.read(_READ_ALL_CHUNK):
            parts.append(part)
        return b"".join(parts)

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` as far as one read goes."""
        view = memoryview(buffer).cast("B")
        payload = self.read(len(view))
        view[: len(payload)] = payload
        return len(payload)

    def write(self, data: Any, /) -> int:
        """Write what one call takes."""
        self._must(able=self._writes, what="writing")
        payload = memoryview(data).cast("B").tobytes()
        return self._table.volume_of(self._opened).write(self._opened, payload)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move, and say where to."""
        self._check()
        return move(self._opened, offset, whence)

    def tell(self) -> int:
        """Where the next read or write goes."""
        self._check()
        return self._opened.offset

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size; the current position without one."""
        self._must(able=self._writes, what="writing")
        size = self._opened.offset if size is None else size
        self._table.volume_of(self._opened).truncate(self._opened, size)
        return size


def move(opened: Opened, offset: int, whence: int) -> int:
    """`lseek`."""
    bases = {os.SEEK_SET: 0, os.SEEK_CUR: opened.offset, os.SEEK_END: opened.node.size}
    if whence not in bases or bases[whence] + offset < 0:
        raise fail(errno.EINVAL)
    opened.offset = bases[whence] + offset
    return opened.offset


def open_descriptor(
    table: FileTable, path: Any, flags: int, permissions: int, dir_fd: int | None = None
) -> int:
    """`os.open`."""
    process = table.process()
    assert process is not None
    permissions &= ~table.mask() & 0o7777
    absolute = table.absolute(path, dir_fd)
    return table.add(table.volume().open(absolute, path, flags, permissions, process))


def make_open(table: FileTable) -> Callable[..., Any]:
    """`open`, for the simulated world; the real one outside of a run and for real descriptors."""

    def sim_open(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if table.process() is None or (isinstance(file, int) and table.get(file) is None):
            return real.open_file(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int):
            file = os.fspath(file)
        _check_arguments(mode, encoding, errors, newline)
        binary, raw_mode = "b" in mode, mode.replace("b", "").replace("t", "")
        raw = SimFileIO(file, raw_mode, closefd, opener)
        try:
            return _buffered(raw, mode, raw_mode, buffering, binary, encoding, errors, newline)
        except BaseException:
            raw.close()
            raise

    return sim_open


def _check_arguments(
    mode: str, encoding: str | None, errors: str | None, newline: str | None
) -> None:
    if not isinstance(mode, str):
        raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
    if set(mode) - set("axrwb+t") or len(mode) > len(set(mode)):
        raise ValueError(f"invalid mode: {mode!r}")
    if "t" in mode and "b" in mode:
        raise ValueError("can't have text and binary mode at once")
    if sum(letter in mode for letter in "rwax") != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    if "b" not in mode:
        return
    for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
        if value is not None:
            raise ValueError(f"binary mode doesn't take an {name} argument")


def _buffered(
    raw: Any,
    mode: str,
    raw_mode: str,
    buffering: int,
    binary: bool,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> Any:
    by_line = buffering == 1 and not binary
    if buffering == 0:
        if not binary:
            raise ValueError("can't have unbuffered text I/O")
        return raw
    size = BUFFER_SIZE if buffering < 0 or by_line else max(buffering, 2)
    buffer: Any
    if "+" in raw_mode:
        buffer = io.BufferedRandom(raw, size)
    elif "r" in raw_mode:
        buffer = io.BufferedReader(raw, size)
    else:
        buffer = io.BufferedWriter(raw, size)
    if binary:
        return buffer
    text = io.TextIOWrapper(buffer, io.text_encoding(encoding, 3), errors, newline, by_line)
    text.mode = mode  # type: ignore[misc]
    return text
