"""`os.*` on paths and descriptors of the simulated disk.

Each method is named for the function that it replaces and has its signature. Outside of a run, and
for descriptors of the real world, the real function is called: `install` sees to the first, each
method on descriptors to the second.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from toron.errors import EscapeError
from toron.world.boundary.file_objects import move, open_descriptor
from toron.world.boundary.file_table import FileTable
from toron.world.disk import real
from toron.world.disk.nodes import Folder, Link, Node
from toron.world.disk.opened import Opened
from toron.world.disk.tree import Spot, fail

_real = real.POSIX


class SimDirEntry:
    """`os.DirEntry` of a simulated folder."""

    __slots__ = ("_calls", "_node", "_spot", "name", "path")

    def __init__(self, calls: PathCalls, name: Any, path: Any, node: Node, absolute: str) -> None:
        self._calls = calls
        self._node = node
        self._spot = absolute
        self.name = name
        self.path = path

    def _status(self, *, follow_symlinks: bool) -> os.stat_result | None:
        try:
            return self._calls.stat(self._spot, follow_symlinks=follow_symlinks)
        except FileNotFoundError:
            return None

    def _is(self, test: Any, *, follow_symlinks: bool) -> bool:
        if not isinstance(self._node, Link) or not follow_symlinks:
            return bool(test(self._node.mode))
        status = self._status(follow_symlinks=True)
        return status is not None and bool(test(status.st_mode))

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""
        return self._is(stat.S_ISDIR, follow_symlinks=follow_symlinks)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a regular file."""
        return self._is(stat.S_ISREG, follow_symlinks=follow_symlinks)

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return isinstance(self._node, Link)

    def is_junction(self) -> bool:
        """Never."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Its status."""
        return self._calls.stat(self._spot, follow_symlinks=follow_symlinks)

    def inode(self) -> int:
        """Its inode number."""
        return self._node.number

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"


class SimScandir:
    """What `os.scandir` returns."""

    def __init__(self, entries: list[SimDirEntry]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[SimDirEntry]:
        return self

    def __next__(self) -> SimDirEntry:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """No more entries."""
        self._entries = iter(())


class PathCalls:
    """What takes a path; some of it a descriptor too."""

    def __init__(self, table: FileTable) -> None:
        self._table = table

    def _find(self, path: Any, dir_fd: int | None = None, *, follow: bool = True) -> Spot:
        return self._table.volume().find(self._table.absolute(path, dir_fd), path, follow=follow)

    def _spot(self, path: Any, *, follow: bool = True, dir_fd: int | None = None) -> Spot:
        """Of a path, or of the open file behind a descriptor."""
        opened = self._table.get(path)
        if opened is not None:
            return Spot(self._table.volume().tree.root, "", opened.node, opened.path)
        if isinstance(path, int):
            raise fail(errno.EBADF)
        return self._find(path, dir_fd, follow=follow)

    def _is_real(self, path: Any) -> bool:
        return isinstance(path, int) and self._table.get(path) is None

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        return open_descriptor(self._table, path, flags, mode, dir_fd)

    def stat(
        self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        if self._is_real(path):
            status: os.stat_result = _real.stat(path)
            return status
        spot = self._spot(path, follow=follow_symlinks, dir_fd=dir_fd)
        assert spot.node is not None
        return self._table.volume().status(spot.node)

    def lstat(self, path: Any, *, dir_fd: int | None = None) -> os.stat_result:
        return self.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def access(
        self,
        path: Any,
        mode: int,
        *,
        dir_fd: int | None = None,
        effective_ids: bool = False,
        follow_symlinks: bool = True,
    ) -> bool:
        try:
            status = self.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        except OSError:
            return False
        if mode & os.X_OK and not stat.S_ISDIR(status.st_mode):
            return bool(status.st_mode & 0o111)
        return True

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        permissions = mode & ~self._table.mask() & 0o7777
        self._table.volume().make_folder(self._absolute_name(path, dir_fd), path, permissions)

    def _absolute_name(self, path: Any, dir_fd: int | None) -> str:
        return self._table.absolute(path, dir_fd).rstrip("/") or "/"

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._table.volume().remove_folder(self._absolute_name(path, dir_fd), path)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._table.volume().remove_file(self._table.absolute(path, dir_fd), path)

    remove = unlink

    def rename(
        self,
        src: Any,
        dst: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        source = self._absolute_name(src, src_dir_fd)
        target = self._absolute_name(dst, dst_dir_fd)
        self._table.volume().rename(source, target, (src, dst))

    replace = rename

    def link(
        self,
        src: Any,
        dst: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        source = self._find(src, src_dir_fd, follow=False)
        self._table.volume().add_name(source, self._table.absolute(dst, dst_dir_fd), (src, dst))

    def symlink(
        self,
        src: Any,
        dst: Any,
        target_is_directory: bool = False,
        *,
        dir_fd: int | None = None,
    ) -> None:
        target = os.fsdecode(src)
        self._table.volume().make_link(target, self._table.absolute(dst, dir_fd), dst)

    def readlink(self, path: Any, *, dir_fd: int | None = None) -> Any:
        node = self._find(path, dir_fd, follow=False).node
        if not isinstance(node, Link):
            raise fail(errno.EINVAL, path)
        return os.fsencode(node.target) if isinstance(os.fspath(path), bytes) else node.target

    def chmod(
        self,
        path: Any,
        mode: int,
        *,
        dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        spot = self._spot(path, follow=follow_symlinks, dir_fd=dir_fd)
        self._table.volume().change_mode(spot, mode)

    def fchmod(self, fd: int, mode: int) -> None:
        self.chmod(fd, mode)

    def lchmod(self, path: Any, mode: int) -> None:
        self.chmod(path, mode, follow_symlinks=False)

    def chown(
        self,
        path: Any,
        uid: int,
        gid: int,
        *,
        dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        self._spot(path, follow=follow_symlinks, dir_fd=dir_fd)  # every file belongs to user 0

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        self._spot(fd)

    def lchown(self, path: Any, uid: int, gid: int) -> None:
        self._spot(path, follow=False)

    def utime(
        self,
        path: Any,
        times: tuple[float, float] | None = None,
        *,
        ns: tuple[int, int] | None = None,
        dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        if times is not None and ns is not None:
            raise ValueError("utime: you may specify either 'times' or 'ns' but not both")
        if times is not None:
            ns = (int(times[0] * 1_000_000_000), int(times[1] * 1_000_000_000))
        spot = self._spot(path, follow=follow_symlinks, dir_fd=dir_fd)
        self._table.volume().set_times(spot, ns)

    def truncate(self, path: Any, length: int) -> None:
        fd = path if isinstance(path, int) else self.open(path, os.O_WRONLY)
        try:
            opened = self._table.must(fd)
            self._table.volume_of(opened).truncate(opened, length)
        finally:
            if fd is not path:
                self._table.close(fd)

    def _listing(self, path: Any) -> tuple[Spot, list[str]]:
        spot = self._spot("." if path is None else path)
        if not isinstance(spot.node, Folder):
            raise fail(errno.ENOTDIR, path)
        return spot, self._table.volume().names(spot.node, spot.path)

    def listdir(self, path: Any = None) -> list[Any]:
        _, names = self._listing(path)
        return [os.fsencode(name) for name in names] if _is_bytes(path) else list(names)

    def scandir(self, path: Any = None) -> SimScandir:
        spot, names = self._listing(path)
        tree, folder = self._table.volume().tree, spot.node
        assert isinstance(folder, Folder)
        told = "." if path is None else path
        entries = []
        for name in names:
            node = tree.child(folder, name)
            if node is None:
                continue
            shown: Any = os.fsencode(name) if _is_bytes(path) else name
            full = shown if isinstance(told, int) else os.path.join(told, shown)
            absolute = f"{spot.path.rstrip('/')}/{name}"
            entries.append(SimDirEntry(self, shown, full, node, absolute))
        return SimScandir(entries)

    def getcwd(self) -> str:
        return self._table.folder()

    def getcwdb(self) -> bytes:
        return os.fsencode(self._table.folder())

    def chdir(self, path: Any) -> None:
        spot = self._spot(path)
        if not isinstance(spot.node, Folder):
            raise fail(errno.ENOTDIR, path)
        self._table.enter(spot.path)

    def fchdir(self, fd: int) -> None:
        self.chdir(fd)

    def umask(self, mask: int, /) -> int:
        return self._table.mask(mask)

    def statvfs(self, path: Any) -> os.statvfs_result:
        self._spot(path)
        volume = self._table.volume()
        block = 4_096
        total = (volume.capacity or 1 << 40) // block
        free = max(0, total - volume.tree.used() // block)
        return os.statvfs_result(
            (block, block, total, free, free, 1 << 20, 1 << 20, 1 << 20, 0, 255)
        )

    def fstatvfs(self, fd: int, /) -> os.statvfs_result:
        return self.statvfs(fd)

    def sync(self) -> None:
        self._table.volume().sync_all()

    def listxattr(self, path: Any = None, *, follow_symlinks: bool = True) -> list[str]:
        self._spot("." if path is None else path, follow=follow_symlinks)
        return []

    def getxattr(self, path: Any, attribute: Any, *, follow_symlinks: bool = True) -> bytes:
        self._spot(path, follow=follow_symlinks)
        raise fail(errno.ENODATA, path)

    def setxattr(
        self,
        path: Any,
        attribute: Any,
        value: Any,
        flags: int = 0,
        *,
        follow_symlinks: bool = True,
    ) -> None:
        self._spot(path, follow=follow_symlinks)
        raise fail(errno.ENOTSUP, path)

    def mkfifo(self, path: Any, mode: int = 0o666, *, dir_fd: int | None = None) -> None:
        raise EscapeError(f"os.mkfifo({path!r}): named pipes are not simulated; use a socket")

    def mknod(
        self, path: Any, mode: int = 0o600, device: int = 0, *, dir_fd: int | None = None
    ) -> None:
        raise EscapeError(f"os.mknod({path!r}): device nodes are not simulated")


class DescriptorCalls:
    """What takes a descriptor of a simulated file."""

    def __init__(self, table: FileTable, paths: PathCalls) -> None:
        self._table = table
        self._paths = paths

    def _on(self, fd: int) -> Opened:
        return self._table.must(fd)

    def read(self, fd: int, length: int, /) -> bytes:
        opened = self._on(fd)
        return self._table.volume_of(opened).read(opened, length)

    def pread(self, fd: int, length: int, offset: int, /) -> bytes:
        opened = self._on(fd)
        return self._table.volume_of(opened).read(opened, length, offset)

    def readinto(self, fd: int, buffer: Any, /) -> int:
        return self.readv(fd, [buffer])

    def readv(self, fd: int, buffers: Sequence[Any], /) -> int:
        return self._fill(buffers, lambda size: self.read(fd, size))

    def preadv(self, fd: int, buffers: Sequence[Any], offset: int, flags: int = 0, /) -> int:
        return self._fill(buffers, lambda size: self.pread(fd, size, offset))

    @staticmethod
    def _fill(buffers: Sequence[Any], read: Any) -> int:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        payload: bytes = read(sum(map(len, views)))
        at = 0
        for view in views:
            part = payload[at : at + len(view)]
            view[: len(part)] = part
            at += len(part)
        return len(payload)

    def write(self, fd: int, data: Any, /) -> int:
        opened = self._on(fd)
        return self._table.volume_of(opened).write(opened, _bytes(data))

    def pwrite(self, fd: int, data: Any, offset: int, /) -> int:
        opened = self._on(fd)
        return self._table.volume_of(opened).write(opened, _bytes(data), offset)

    def writev(self, fd: int, buffers: Iterable[Any], /) -> int:
        return self.write(fd, b"".join(map(_bytes, buffers)))

    def pwritev(self, fd: int, buffers: Iterable[Any], offset: int, flags: int = 0, /) -> int:
        return self.pwrite(fd, b"".join(map(_bytes, buffers)), offset)

    def lseek(self, fd: int, position: int, whence: int, /) -> int:
        return move(self._on(fd), position, whence)

    def fsync(self, fd: Any) -> None:
        opened = self._on(_number(fd))
        self._table.volume_of(opened).sync(opened)

    fdatasync = fsync

    def close(self, fd: int) -> None:
        self._on(fd)
        self._table.close(fd)

    def ftruncate(self, fd: int, length: int, /) -> None:
        opened = self._on(fd)
        self._table.volume_of(opened).truncate(opened, length)

    def fstat(self, fd: int) -> os.stat_result:
        return self._paths.stat(fd)

    def dup(self, fd: int, /) -> int:
        return self._table.add(self._on(fd))

    def dup2(self, fd: int, fd2: int, inheritable: bool = True) -> int:
        opened = self._on(fd)
        if fd2 <= 2:
            raise EscapeError("os.dup2() would put a simulated file behind a standard stream")
        if fd == fd2:
            return fd2
        if self._table.get(fd2) is not None:
            self._table.close(fd2)
        _real.dup2(fd, fd2, inheritable)
        self._table.put(fd2, opened)
        return fd2

    def isatty(self, fd: int, /) -> bool:
        self._on(fd)
        return False

    def posix_fallocate(self, fd: int, offset: int, length: int, /) -> None:
        opened = self._on(fd)
        if opened.node.size < offset + length:
            self._table.volume_of(opened).truncate(opened, offset + length)

    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int, /) -> None:
        self._on(fd)

    def lockf(self, fd: int, command: int, length: int, /) -> None:
        self._on(fd)  # `os.lockf` is a lock of the process, and a host has one

    def sendfile(self, out_fd: int, in_fd: int, offset: Any, count: int, *rest: Any) -> int:
        """Not possible here, which every caller is prepared for: it then reads and writes."""
        raise fail(errno.EINVAL)

    def copy_file_range(
        self,
        src: int,
        dst: int,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
    ) -> int:
        if offset_src is None:
            payload = self.read(src, count)
        else:
            payload = self.pread(src, count, offset_src)
        if offset_dst is None:
            return self.write(dst, payload)
        return self.pwrite(dst, payload, offset_dst)


def _is_bytes(path: Any) -> bool:
    return not isinstance(path, int) and path is not None and isinstance(os.fspath(path), bytes)


def _bytes(data: Any) -> bytes:
    return memoryview(data).cast("B").tobytes()


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())
