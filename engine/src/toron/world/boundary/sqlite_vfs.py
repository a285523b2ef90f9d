"""SQLite on the simulated disk: a virtual file system registered with the library behind `sqlite3`.

SQLite opens files in C, where nothing of Python's can be replaced, and has a documented door for
other file systems. Ours stands on the same disk as `open`: rollback journals and write-ahead logs
are read, synced, torn and recovered as on a real one. Its clock and its randomness are the run's.
A build of Python that hides SQLite's functions cannot be given one, and its files are refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from toron.core.process import Process
from toron.world.boundary import sqlite_structs as c
from toron.world.boundary.file_table import FileTable
from toron.world.boundary.sqlite_locks import NONE, RESERVED, Handle, Shared, may_take
from toron.world.disk.content import SECTOR
from toron.world.disk.nodes import File
from toron.world.disk.tree import fail

OK, BUSY, NOT_FOUND, FULL, CANT_OPEN = 0, 5, 12, 13, 14
IOERR = 10
SHORT_READ = IOERR | 2 << 8
DELETE_ABSENT = IOERR | 23 << 8
_FAILED = {
    name: IOERR | number << 8
    for name, number in (
        ("read", 1),
        ("write", 3),
        ("sync", 4),
        ("truncate", 6),
        ("file_size", 7),
        ("delete", 10),
        ("access", 13),
        ("lock", 15),
        ("shm_map", 21),
        ("shm_lock", 20),
    )
}
_OPEN_READONLY, _OPEN_CREATE, _OPEN_DELETE_ON_CLOSE, _OPEN_EXCLUSIVE = 1, 4, 8, 16
_OPEN_JOURNALS = 0x800 | 0x4000 | 0x80000
_POWERSAFE_OVERWRITE = 0x1000
_PATH_MAX = 1_024
_JULIAN_MS = 24_405_875 * 8_640_000
_NAME = b"toron"

_kept: list[Any] = []
"""What C points to lives as long as the process."""


def install(table: FileTable, library: str | None = None) -> str:
    """Register with the SQLite of `sqlite3`; return "" or the reason why that cannot be done."""
    path = library or getattr(sys.modules.get("_sqlite3"), "__file__", None)
    try:
        sqlite = ctypes.CDLL(path)
        register, randomness = sqlite.sqlite3_vfs_register, sqlite.sqlite3_randomness
    except (AttributeError, OSError):
        return (
            "opens a real file: this build of Python hides the functions of SQLite, so that its "
            "files cannot be simulated; use ':memory:', or a Python that links to a shared "
            "libsqlite3"
        )
    vfs = _vfs_of(SimVfs(table))
    register.argtypes = (ctypes.c_void_p, ctypes.c_int)
    if register(ctypes.addressof(vfs), 1) != OK:
        return "opens a real file: SQLite refused the simulated file system"
    _kept.append(vfs)
    # What was drawn before came from the real world; the next draw asks our file system.
    randomness.argtypes = (ctypes.c_int, ctypes.c_void_p)
    randomness(0, None)
    return ""


def _vfs_of(calls: SimVfs) -> c.Vfs:
    methods = c.IoMethods(version=2)
    for name, kind in c.IO_CALLS.items():
        setattr(methods, name, kind(calls.guarded(name)))
    vfs = c.Vfs(
        version=2,
        file_size=ctypes.sizeof(c.SqliteFile),
        path_max=_PATH_MAX,
        name=_NAME,
    )
    for name, kind in c.VFS_CALLS.items():
        setattr(vfs, name, kind(calls.guarded(name)))
    calls.methods_at = ctypes.addressof(methods)
    _kept.append(methods)
    return vfs


class SimVfs:
    """The calls of SQLite, answered by the disk of the host that acts."""

    def __init__(self, table: FileTable) -> None:
        self._table = table
        self._handles: dict[int, Handle] = {}
        self._numbers = 0
        self._shared: dict[tuple[int, Process], Shared] = {}
        self.methods_at = 0

    def guarded(self, name: str) -> Callable[..., Any]:
        """A call that never raises, because C could not take an exception: an error number."""
        call = getattr(self, f"call_{name}")
        failed = _FAILED.get(name, CANT_OPEN if name == "open" else IOERR)

        def guard(*arguments: Any) -> Any:
            try:
                return call(*arguments)
            except OSError as error:
                return FULL if error.errno == errno.ENOSPC else failed
            except Exception as error:  # noqa: BLE001  (told where the program's other errors go)
                sys.stderr.write(f"toron: SQLite's {name} failed: {error!r}\n")
                return failed

        return guard

    def _handle(self, file: Any) -> Handle:
        return self._handles[file.contents.number]

    def _living(self, file: Any) -> Handle:
        """The file, for a call by which a connection of a dead process would begin to clean up."""
        handle = self._handle(file)
        if not handle.opened.process.alive:
            raise fail(errno.EIO)
        return handle

    # The file system

    def call_open(self, _vfs: int, name: bytes | None, file: Any, flags: int, out: Any) -> int:
        file.contents.methods = None
        process = self._table.process()
        if process is None:
            return CANT_OPEN
        volume = self._table.volume()
        wanted = os.O_RDONLY if flags & _OPEN_READONLY else os.O_RDWR
        if flags & _OPEN_CREATE:
            wanted |= os.O_CREAT
        if flags & _OPEN_EXCLUSIVE:
            wanted |= os.O_EXCL
        path = os.fsdecode(name) if name else "/tmp"  # noqa: S108  (a file without a name)
        if name is None:
            wanted |= os.O_TMPFILE
        opened = volume.open(path, path, wanted, 0o644, process)
        if not isinstance(opened.node, File):
            volume.close(opened)
            return CANT_OPEN
        handle = Handle(opened)
        handle.delete_path = path if name and flags & _OPEN_DELETE_ON_CLOSE else None
        handle.sync_folder = bool(flags & _OPEN_CREATE and flags & _OPEN_JOURNALS)
        self._numbers += 1
        self._handles[self._numbers] = handle
        file.contents.number = self._numbers
        if out:
            out[0] = flags
        file.contents.methods = self.methods_at
        return OK

    def call_delete(self, _vfs: int, name: bytes, sync_folder: int) -> int:
        path = os.fsdecode(name)
        volume = self._table.volume()
        try:
            volume.remove_file(path, path)
        except FileNotFoundError:
            return DELETE_ABSENT
        if sync_folder:
            self._sync_folder_of(path)
        return OK

    def _sync_folder_of(self, path: str) -> None:
        volume, process = self._table.volume(), self._table.process()
        assert process is not None
        folder = path.rpartition("/")[0] or "/"
        opened = volume.open(folder, folder, os.O_RDONLY, 0, process)
        try:
            volume.sync(opened)
        finally:
            volume.close(opened)

    def call_access(self, _vfs: int, name: bytes, _flags: int, out: Any) -> int:
        path = os.fsdecode(name)
        node = None
        with contextlib.suppress(OSError):
            node = self._table.volume().tree.walk(path, path).node
        out[0] = int(node is not None and (not isinstance(node, File) or node.size > 0))
        return OK

    def call_full_pathname(self, _vfs: int, name: bytes, size: int, out: int) -> int:
        path = os.fsencode(os.path.normpath(self._table.absolute(name.decode())))
        if len(path) >= size:
            return CANT_OPEN
        ctypes.memmove(out, path + b"\0", len(path) + 1)
        return OK

    def call_dl_open(self, _vfs: int, _name: bytes) -> None:
        return None

    def call_dl_error(self, _vfs: int, size: int, out: int) -> None:
        message = b"extensions of SQLite are not loaded in a simulation"[: size - 1] + b"\0"
        ctypes.memmove(out, message, len(message))

    def call_dl_sym(self, _vfs: int, _library: int, _name: bytes) -> None:
        return None

    def call_dl_close(self, _vfs: int, _library: int) -> None:
        return None

    def call_randomness(self, _vfs: int, size: int, out: int) -> int:
        ctypes.memmove(out, os.urandom(size), size)
        return size

    def call_sleep(self, _vfs: int, microseconds: int) -> int:
        time.sleep(microseconds / 1_000_000)
        return microseconds

    def call_current_time(self, _vfs: int, out: Any) -> int:
        out[0] = (_JULIAN_MS + time.time_ns() // 1_000_000) / 86_400_000
        return OK

    def call_current_time_int64(self, _vfs: int, out: Any) -> int:
        out[0] = _JULIAN_MS + time.time_ns() // 1_000_000
        return OK

    def call_last_error(self, _vfs: int, _size: int, _out: int) -> int:
        return OK

    # An open file

    def call_close(self, file: Any) -> int:
        handle = self._handles.pop(file.contents.number)
        file.contents.methods = None
        if not handle.opened.process.alive:
            return OK
        volume = self._table.volume_of(handle.opened)
        volume.close(handle.opened)
        if handle.delete_path is not None:
            volume.remove_file(handle.delete_path, handle.delete_path)
        return OK

    def call_read(self, file: Any, out: int, size: int, offset: int) -> int:
        opened = self._handle(file).opened
        volume, payload = self._table.volume_of(opened), b""
        while len(payload) < size:
            part = volume.read(opened, size - len(payload), offset + len(payload))
            if not part:
                break
            payload += part
        ctypes.memmove(out, payload.ljust(size, b"\0"), size)
        return OK if len(payload) == size else SHORT_READ

    def call_write(self, file: Any, at: int, size: int, offset: int) -> int:
        opened = self._handle(file).opened
        volume, payload, done = self._table.volume_of(opened), ctypes.string_at(at, size), 0
        while done < size:
            done += volume.write(opened, payload[done:], offset + done)
        return OK

    def call_truncate(self, file: Any, size: int) -> int:
        opened = self._handle(file).opened
        self._table.volume_of(opened).truncate(opened, size)
        return OK

    def call_sync(self, file: Any, _flags: int) -> int:
        handle = self._handle(file)
        self._table.volume_of(handle.opened).sync(handle.opened)
        if handle.sync_folder:  # of a journal, the name must last too: as SQLite's own does it
            self._sync_folder_of(handle.opened.path)
            handle.sync_folder = False
        return OK

    def call_file_size(self, file: Any, out: Any) -> int:
        out[0] = self._handle(file).opened.node.size
        return OK

    def call_file_control(self, _file: Any, _operation: int, _argument: int) -> int:
        return NOT_FOUND

    def call_sector_size(self, _file: Any) -> int:
        return SECTOR

    def call_device_characteristics(self, _file: Any) -> int:
        return _POWERSAFE_OVERWRITE

    # Locks

    def _others(self, handle: Handle) -> list[Handle]:
        return [
            other
            for other in self._handles.values()
            if other is not handle
            and other.opened.node is handle.opened.node
            and other.opened.process.alive
        ]

    def call_lock(self, file: Any, level: int) -> int:
        handle = self._living(file)
        if handle.level >= level:
            return OK
        if not may_take(handle, level, self._others(handle)):
            return BUSY
        handle.level = level
        return OK

    def call_unlock(self, file: Any, level: int) -> int:
        handle = self._handle(file)
        handle.level = min(handle.level, level)
        return OK

    def call_check_reserved_lock(self, file: Any, out: Any) -> int:
        handle = self._handle(file)
        levels = [other.level for other in [handle, *self._others(handle)]]
        out[0] = int(max(levels, default=NONE) >= RESERVED)
        return OK

    # Shared memory of a write-ahead log

    def call_shm_map(self, file: Any, number: int, size: int, extend: int, out: Any) -> int:
        handle = self._handle(file)
        key = (handle.opened.node.serial, handle.opened.process)
        if handle.shared is None:
            handle.shared = self._shared.setdefault(key, Shared())
            handle.shared.users.append(handle)
        out[0] = handle.shared.region(number, size, extend=bool(extend))
        return OK

    def call_shm_lock(self, file: Any, first: int, count: int, flags: int) -> int:
        handle = self._living(file)
        assert handle.shared is not None
        return OK if handle.shared.change(handle, first, count, flags) else BUSY

    def call_shm_barrier(self, _file: Any) -> None:
        return None

    def call_shm_unmap(self, file: Any, _delete: int) -> int:
        handle = self._handle(file)
        shared, handle.shared = handle.shared, None
        handle.slots.clear()
        if shared is not None:
            shared.users = [user for user in shared.users if user is not handle]
            if not shared.users:
                self._shared.pop((handle.opened.node.serial, handle.opened.process), None)
        return OK
