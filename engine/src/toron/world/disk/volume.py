"""The system calls of one simulated disk, on absolute paths and open files.

Each one costs virtual time, meets the faults that are armed, and leaves an event in the trace.
Reading what belongs to the real machine costs nothing and leaves none: it is part of the program.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable

from toron.core.choices import ChoiceSource
from toron.core.clock import Clock
from toron.core.process import Process
from toron.core.trace import Trace
from toron.world.disk import proc
from toron.world.disk.content import SECTOR
from toron.world.disk.faults import Faults
from toron.world.disk.lower import Lower
from toron.world.disk.nodes import Device, File, Folder, Link, Node, SocketFile
from toron.world.disk.opened import Opened
from toron.world.disk.tree import Spot, Tree, fail, is_of_the_machine

_CALL_NS, _BYTES_PER_US = 2_000, 500
_SYNC_NS, _SYNC_SPREAD_US = 500_000, 4_500
FILE_MAX = 1 << 32


class Volume:
    """The disk of one host, as its kernel sees it."""

    def __init__(
        self,
        host: str,
        *,
        clock: Clock,
        choices: ChoiceSource,
        trace: Trace,
        lower: Lower,
        folders: Iterable[str],
        name_of: Callable[[str], str],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.host = host
        self.clock = clock
        self._choices = choices
        self._trace = trace
        self._name_of = name_of
        self._entropy = entropy
        self.faults = Faults(clock, self.chaos)
        self.capacity: int | None = None
        salt = str(choices.pick(f"disk.order.{host}", 1 << 32))
        self.tree = Tree(lower, clock.wall_ns, salt)
        self.tree.furnish(list(folders))
        proc.furnish(self.tree, clock)
        self.opened: list[Opened] = []

    def chaos(self, bound: int, default: int = 0) -> int:
        """Draw what a fault or a power cut does."""
        return self._choices.pick(f"chaos.disk.{self.host}", bound, default)

    def _note(self, kind: str, detail: str) -> None:
        self._trace.add(f"file.{kind}", detail)

    def _spend(self, size: int = 0) -> None:
        self.clock.now_ns += _CALL_NS + self.faults.slow_ns + size * 1_000 // _BYTES_PER_US

    def name(self, path: str) -> str:
        """How the trace calls a path: alike on every machine."""
        return self._name_of(path)

    # Paths

    def find(self, path: str, told: object, *, follow: bool = True) -> Spot:
        """Where a path leads; ENOENT when nothing stands there."""
        spot = self.tree.walk(path, told, follow=follow)
        if spot.node is None:
            raise fail(errno.ENOENT, told)
        return spot

    def folder_at(self, path: str, told: object) -> Folder:
        """The folder at a path."""
        node = self.find(path, told).node
        if not isinstance(node, Folder):
            raise fail(errno.ENOTDIR, told)
        return node

    def names(self, folder: Folder, path: str) -> list[str]:
        """What a folder lists."""
        if folder.real is None and not is_of_the_machine(folder):
            self.faults.check("read", path)
        return self.tree.names(folder)

    def _may_change(self, spot: Spot, told: object) -> None:
        if not spot.name:
            raise fail(errno.EBUSY, told)
        proc.refuse_change(spot.folder, spot.node, told)
        self.faults.check("write", spot.path)
        self._spend()

    def _free_spot(self, path: str, *told: object) -> Spot:
        spot = self.tree.walk(path, told[0], follow=False)
        if spot.node is not None:
            raise fail(errno.EEXIST, *told)
        self._may_change(spot, told[0])
        return spot

    def make_folder(self, path: str, told: object, permissions: int) -> None:
        """`mkdir`."""
        spot = self._free_spot(path, told)
        self.tree.put(spot, Folder(self.tree.number(), permissions, self.clock.wall_ns()))
        self._note("mkdir", self.name(spot.path))

    def make_link(self, target: str, path: str, told: object) -> None:
        """`symlink`."""
        spot = self._free_spot(path, told)
        self.tree.put(spot, Link(self.tree.number(), target, self.clock.wall_ns()))
        self._note("symlink", f"{self.name(spot.path)} > {self.name(target)}")

    def make_socket(self, path: str) -> None:
        """What `bind` leaves at the path of a unix socket; EADDRINUSE when something is there."""
        spot = self.tree.walk(path, path, follow=False)
        if spot.node is not None:
            raise fail(errno.EADDRINUSE)
        self._may_change(spot, path)
        self.tree.put(spot, SocketFile(self.tree.number(), self.clock.wall_ns()))
        self._note("bind", self.name(spot.path))

    def has_socket(self, path: str) -> bool:
        """Whether a unix socket's name stands at a path; ENOENT when nothing does."""
        return isinstance(self.find(path, path).node, SocketFile)

    def add_name(self, source: Spot, path: str, told: tuple[object, object]) -> None:
        """`link`."""
        node = source.node
        assert node is not None
        if isinstance(node, Folder):
            raise fail(errno.EPERM, *told)
        spot = self._free_spot(path, *told)
        node.links += 1
        self.tree.put(spot, node)
        self._note("link", f"{self.name(source.path)} = {self.name(spot.path)}")

    def remove_file(self, path: str, told: object) -> None:
        """`unlink`."""
        spot = self.find(path, told, follow=False)
        if isinstance(spot.node, Folder):
            raise fail(errno.EISDIR, told)
        self._may_change(spot, told)
        self.tree.remove(spot)
        self._note("unlink", self.name(spot.path))

    def remove_folder(self, path: str, told: object) -> None:
        """`rmdir`."""
        spot = self.find(path, told, follow=False)
        if not isinstance(spot.node, Folder):
            raise fail(errno.ENOTDIR, told)
        self._may_change(spot, told)
        if self.tree.names(spot.node):
            raise fail(errno.ENOTEMPTY, told)
        self.tree.remove(spot)
        self._note("rmdir", self.name(spot.path))

    def rename(self, source_path: str, target_path: str, told: tuple[object, object]) -> None:
        """`rename`: the target is replaced in one step."""
        source = self.tree.walk(source_path, told[0], follow=False)
        target = self.tree.walk(target_path, told[1], follow=False)
        if source.node is None:
            raise fail(errno.ENOENT, *told)
        self._may_change(source, told[0])
        self._may_change(target, told[1])
        if source.node is target.node:
            return
        self._may_replace(source, target, told)
        self.tree.move(source, target)
        self._note("rename", f"{self.name(source.path)} > {self.name(target.path)}")

    def _may_replace(self, source: Spot, target: Spot, told: tuple[object, object]) -> None:
        if isinstance(source.node, Folder):
            if target.path.startswith(source.path + "/"):
                raise fail(errno.EINVAL, *told)
            if target.node is not None and not isinstance(target.node, Folder):
                raise fail(errno.ENOTDIR, *told)
            if isinstance(target.node, Folder) and self.tree.names(target.node):
                raise fail(errno.ENOTEMPTY, *told)
        elif isinstance(target.node, Folder):
            raise fail(errno.EISDIR, *told)

    def change_mode(self, spot: Spot, permissions: int) -> None:
        """`chmod`."""
        node = spot.node
        assert node is not None
        node.mode = stat.S_IFMT(node.mode) | permissions & 0o7777
        node.changed_ns = self.clock.wall_ns()
        self._note("chmod", f"{self.name(spot.path)} {permissions:o}")

    def set_times(self, spot: Spot, times_ns: tuple[int, int] | None) -> None:
        """`utime`; without times: now."""
        node, now_ns = spot.node, self.clock.wall_ns()
        assert node is not None
        node.accessed_ns, node.modified_ns = times_ns or (now_ns, now_ns)
        node.changed_ns = now_ns
        self._note("utime", f"{self.name(spot.path)} {node.accessed_ns} {node.modified_ns}")

    def status(self, node: Node) -> os.stat_result:
        """`stat`: owner 0, device 1, times of the virtual clock."""
        times = (node.accessed_ns, node.modified_ns, node.changed_ns)
        head = (node.mode, node.number, 1, node.links, 0, 0, node.size)
        seconds = tuple(one // 1_000_000_000 for one in times)
        exact = tuple(one / 1_000_000_000 for one in times)
        blocks = (node.size + SECTOR - 1) // SECTOR
        return os.stat_result((*head, *seconds, *exact, *times, 4_096, blocks, 0))

    # Open files

    def open(
        self, path: str, told: object, flags: int, permissions: int, process: Process
    ) -> Opened:
        """`open`."""
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            return self._open_nameless(path, told, flags, permissions, process)
        if flags & os.O_CREAT and path.endswith("/"):
            raise fail(errno.EISDIR, told)
        is_exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        follow = not flags & os.O_NOFOLLOW and not is_exclusive
        spot = self.tree.walk(path, told, follow=follow)
        node = spot.node
        if node is None:
            spot = self._create(spot, told, flags, permissions)
            node = spot.node
            assert node is not None
        elif is_exclusive:
            raise fail(errno.EEXIST, told)
        elif isinstance(node, Link):
            raise fail(errno.ELOOP, told)
        elif isinstance(node, SocketFile):
            raise fail(errno.ENXIO, told)
        opened = Opened(node, spot.path, flags, process)
        self._check_kind(opened, told)
        if opened.writes:
            proc.refuse_writing(node, told)
        if isinstance(node, File):
            node.content.load()
            if flags & os.O_TRUNC and opened.writes and node.size:
                self._truncate(opened, 0)
        self.opened.append(opened)
        return opened

    def _create(self, spot: Spot, told: object, flags: int, permissions: int) -> Spot:
        if not flags & os.O_CREAT:
            raise fail(errno.ENOENT, told)
        self._may_change(spot, told)
        self._check_room(1, spot.path)
        node = File(self.tree.number(), permissions, self.clock.wall_ns())
        self.tree.put(spot, node)
        self._note("create", self.name(spot.path))
        return Spot(spot.folder, spot.name, node, spot.path)

    def _open_nameless(
        self, path: str, told: object, flags: int, permissions: int, process: Process
    ) -> Opened:
        self.folder_at(path, told)
        node = File(self.tree.number(), permissions, self.clock.wall_ns())
        node.links = 0
        opened = Opened(
            node, f"{path.rstrip('/')}/#{node.number}", flags & ~os.O_DIRECTORY, process
        )
        self.opened.append(opened)
        return opened

    @staticmethod
    def _check_kind(opened: Opened, told: object) -> None:
        is_folder = isinstance(opened.node, Folder)
        if is_folder and (opened.writes or opened.flags & os.O_CREAT):
            raise fail(errno.EISDIR, told)
        if not is_folder and opened.flags & os.O_DIRECTORY:
            raise fail(errno.ENOTDIR, told)

    def close(self, opened: Opened) -> None:
        """The last descriptor of an open file is closed; its locks go."""
        self.opened = [one for one in self.opened if one is not opened]
        if isinstance(opened.node, File):
            opened.node.locks.pop(opened, None)

    def read(self, opened: Opened, size: int, offset: int | None = None) -> bytes:
        """`read`, or `pread` at ``offset``."""
        node = opened.node
        self._check_alive(opened)
        if not opened.reads:
            raise fail(errno.EBADF)
        if isinstance(node, Folder):
            raise fail(errno.EISDIR)
        if isinstance(node, Device):
            return self._read_device(node, size)
        assert isinstance(node, File)
        at = opened.offset if offset is None else offset
        if not at:
            node.content.load()  # a file of /proc says something else each time
        if not is_of_the_machine(node):
            size = self._disturb_read(opened.path, min(size, max(0, node.size - at)))
        payload = bytes(node.content.cached[at : at + size])
        if offset is None:
            opened.offset = at + len(payload)
        if not is_of_the_machine(node):
            self._spend(len(payload))
            self._trace.add_bytes("file.read", f"{self.name(opened.path)} {at}", payload)
        return payload

    def _disturb_read(self, path: str, size: int) -> int:
        self.faults.check("read", path)
        if size > 1 and self.faults.strikes("short read", path):
            return 1 + self.chaos(size - 1)
        return size

    def _read_device(self, device: Device, size: int) -> bytes:
        if device.kind in ("random", "urandom"):
            return self._entropy(size)
        return b"" if device.kind == "null" else bytes(size)

    def write(self, opened: Opened, payload: bytes, offset: int | None = None) -> int:
        """`write`, or `pwrite` at ``offset``; may write less than it was given."""
        node = opened.node
        self._check_alive(opened)
        if not opened.writes:
            raise fail(errno.EBADF)
        if isinstance(node, Device):
            if node.kind == "full":
                raise fail(errno.ENOSPC)
            return len(payload)
        assert isinstance(node, File)
        self._own(node)
        at = node.size if opened.appends else opened.offset if offset is None else offset
        payload = payload[: self._disturb_write(opened.path, node, at, len(payload))]
        self._put(opened, node, at, payload)
        if offset is None:
            opened.offset = at + len(payload)
        node.modified_ns = node.changed_ns = self.clock.wall_ns()
        self._trace.add_bytes("file.write", f"{self.name(opened.path)} {at}", payload)
        self._spend(len(payload))
        if opened.is_direct:
            self.sync(opened)
        return len(payload)

    def _own(self, node: Node) -> None:
        """Before the first change of a file of the real machine: from now on it is the host's."""
        if is_of_the_machine(node):
            node.number = self.tree.number()

    def _disturb_write(self, path: str, node: File, at: int, size: int) -> int:
        self.faults.check("write", path)
        if at + size > FILE_MAX:
            raise fail(errno.EFBIG, path)
        growth = at + size - node.size
        if growth > 0:
            size -= growth - self._check_room(growth, path)
        if size > 1 and self.faults.strikes("short write", path):
            return 1 + self.chaos(size - 1)
        return size

    def _check_room(self, growth: int, path: str) -> int:
        """How much of ``growth`` the disk still takes; ENOSPC when nothing."""
        if self.capacity is None:
            return growth
        room = min(growth, self.capacity - self.tree.used())
        if room <= 0:
            raise fail(errno.ENOSPC, path)
        return room

    def _put(self, opened: Opened, node: File, at: int, payload: bytes) -> None:
        if not payload or not self.faults.strikes("misdirect", opened.path):
            node.content.write(at, payload)
            return
        others = [one for one in self.tree.files().values() if one is not node and one.size]
        if others and self.chaos(2):
            victim = others[self.chaos(len(others))].content
            node.content.write_misplaced(at, payload, at)
            node.content.unsynced.pop()
            victim.write_misplaced(at, payload, at)
            victim.drop_clean_pages()
            return
        lands_at = at % SECTOR + SECTOR * self.chaos(node.size // SECTOR + 2)
        node.content.write_misplaced(at, payload, lands_at)

    def truncate(self, opened: Opened, size: int) -> None:
        """`ftruncate`."""
        self._check_alive(opened)
        if not opened.writes or not isinstance(opened.node, File):
            raise fail(errno.EINVAL)
        self._truncate(opened, size)

    def _truncate(self, opened: Opened, size: int) -> None:
        node = opened.node
        assert isinstance(node, File)
        if size < 0:
            raise fail(errno.EINVAL)
        self._own(node)
        self.faults.check("write", opened.path)
        if size > FILE_MAX:
            raise fail(errno.EFBIG)
        if size > node.size and self._check_room(size - node.size, opened.path) < size - node.size:
            raise fail(errno.ENOSPC)
        node.content.truncate(size)
        node.modified_ns = node.changed_ns = self.clock.wall_ns()
        self._note("truncate", f"{self.name(opened.path)} {size}")
        self._spend()

    def sync(self, opened: Opened) -> None:
        """`fsync`: a file's bytes, or a folder's names, are on the platter when it returns."""
        self._check_alive(opened)
        name, node = self.name(opened.path), opened.node
        jitter_us = self._choices.pick(f"disk.time.{self.host}", _SYNC_SPREAD_US)
        self.clock.now_ns += _SYNC_NS + jitter_us * 1_000 + self.faults.slow_ns
        rule = self.faults.strikes("sync", opened.path)
        if rule is not None:
            if isinstance(node, File):
                node.content.fail_sync(self.chaos)
            self._note("sync failed", name)
            raise fail(rule.number, opened.path)
        if isinstance(node, File):
            node.content.sync()
        elif isinstance(node, Folder):
            self.tree.journal.sync(node)
        self._note("sync", name)

    def sync_all(self) -> None:
        """`sync`."""
        self.clock.now_ns += _SYNC_NS + self.faults.slow_ns
        self.tree.sync_all()
        self._note("sync", "everything")

    @staticmethod
    def _check_alive(opened: Opened) -> None:
        """A file object of a dead process may be finalised late; nothing of it reaches the disk."""
        if not opened.process.alive:
            raise fail(errno.EBADF)

    def lock(self, opened: Opened, *, exclusive: bool) -> bool:
        """Take an advisory lock, or say that another open file holds it."""
        node = opened.node
        if not isinstance(node, File):
            return True
        others = [mode for holder, mode in node.locks.items() if holder is not opened]
        if any(others) or (exclusive and others):
            return False
        node.locks[opened] = exclusive
        self._note("lock", f"{self.name(opened.path)} {'exclusive' if exclusive else 'shared'}")
        return True

    def unlock(self, opened: Opened) -> None:
        """Let an advisory lock go."""
        if isinstance(opened.node, File) and opened.node.locks.pop(opened, None) is not None:
            self._note("unlock", self.name(opened.path))

    def close_all_of(self, process: Process) -> None:
        """What the end of a process does: its open files are closed, the page cache stays."""
        for opened in [one for one in self.opened if one.process is process]:
            self.close(opened)

    def power_cut(self) -> None:
        """Forget the page cache; of what was not synced, CHAOS_SEED decides."""
        self.opened.clear()
        losses = self.tree.power_cut(self.chaos)
        named = [self.name(path) + rest for path, _, rest in map(_split_loss, losses)]
        if named:
            self._note("power cut", "; ".join(named))


def _split_loss(loss: str) -> tuple[str, str, str]:
    path, colon, rest = loss.partition(": ")
    return (path, colon, colon + rest) if colon else ("", "", loss)
