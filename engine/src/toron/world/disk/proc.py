"""The `/proc` of a simulated host: what programs ask about their machine and about themselves.

Monitoring (`psutil`, a server's status page) reads these files, and so they must be the same on
every machine and in every run. Sizes are constant, times are those of the virtual clock, and a
process has used all the time that has passed, as `time.process_time` says. There is one process,
under the number that `os.getpid` gives; no event of the trace names it.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from toron.core.clock import MONOTONIC_BASE_NS, SECOND_NS, WALL_BASE_NS, Clock
from toron.world.disk import real
from toron.world.disk.content import Content
from toron.world.disk.nodes import File, Folder, Link, Node

if TYPE_CHECKING:
    from toron.world.disk.tree import Tree

CORES = 4
"""How many a simulated host has: pools size themselves by it, so it may not be the machine's."""
NUMBER_BASE = 1 << 33
"""Inode numbers of these files begin here, above those of the real machine's."""
_TICK_NS = SECOND_NS // 100
_KIB = 1 << 10
_GIB = 1 << 30
_TOTAL, _FREE, _CACHED = 8 * _GIB, 5 * _GIB, 1 * _GIB
_VIRTUAL, _RESIDENT, _SHARED = 512 << 20, 64 << 20, 16 << 20
_COMMAND = "python3"

Make = Callable[[], str]


class _Made(Content):
    """Bytes that are made anew whenever they are read from their beginning."""

    __slots__ = ("_make",)

    def __init__(self, make: Make) -> None:
        super().__init__()
        self._make = make

    def load(self) -> None:
        """What the file says now."""
        self.cached = bytearray(self._make().encode())

    @property
    def size(self) -> int:
        """Nothing, as Linux says of them all."""
        return 0


class ProcFile(File):
    """A file that can only be read."""

    __slots__ = ()


class ProcFolder(Folder):
    """A folder in which nothing can be made, and whose names stand in their own order."""

    __slots__ = ()


def refuse_change(folder: Folder, known: Node | None, told: object) -> None:
    """The system's error for a name that would be made, taken away or changed in `/proc`."""
    if isinstance(folder, ProcFolder):
        number = errno.ENOENT if known is None else errno.EPERM
        raise OSError(number, os.strerror(number), told)


def refuse_writing(node: Node, told: object) -> None:
    """The system's error for opening a file of `/proc` for writing."""
    if isinstance(node, ProcFile):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), told)


def furnish(tree: Tree, clock: Clock) -> None:
    """Put `/proc` into a host's tree."""
    own = str(os.getpid())
    furniture = _Furniture()
    process = {name: make(clock, own) for name, make in _OF_PROCESS.items()}
    folder = furniture.folder(
        {
            **process,
            "exe": f"/usr/bin/{_COMMAND}",
            "cwd": real.getcwd(),
            "root": "/",
            "fd": furniture.folder(dict.fromkeys("012", "/dev/null")),
        }
    )
    network = furniture.folder({"dev": lambda: _NET_DEV})
    machine = {name: make(clock) for name, make in _OF_MACHINE.items()}
    tree.root.place(
        "proc",
        furniture.folder({**machine, "net": network, "self": own, own: folder}),
    )


class _Furniture:
    """Makes nodes, and numbers them."""

    def __init__(self) -> None:
        self._count = 0

    def _number(self) -> int:
        self._count += 1
        return NUMBER_BASE + self._count

    def folder(self, contents: dict[str, Node | Make | str]) -> Node:
        """A folder of nodes, of files by what makes their text, and of links by their targets."""
        folder = ProcFolder(self._number(), 0o555, WALL_BASE_NS)
        for name, content in contents.items():
            folder.place(name, self._node(content))
        return folder

    def _node(self, content: Node | Make | str) -> Node:
        if isinstance(content, Node):
            return content
        if isinstance(content, str):
            return Link(self._number(), content, WALL_BASE_NS)
        return ProcFile(self._number(), stat.S_IRUSR | 0o044, WALL_BASE_NS, _Made(content))


# The machine


def _ticks(clock: Clock) -> int:
    return clock.now_ns // _TICK_NS


def _stat(clock: Clock) -> Make:
    def text() -> str:
        used, begin = _ticks(clock), MONOTONIC_BASE_NS // _TICK_NS
        passed = begin + used
        cores = [f"cpu0 {used} 0 0 {begin} 0 0 0 0 0 0"]
        cores += [f"cpu{core} 0 0 0 {passed} 0 0 0 0 0 0" for core in range(1, CORES)]
        idle = CORES * passed - used
        booted = (WALL_BASE_NS - MONOTONIC_BASE_NS) // SECOND_NS
        rest = f"intr 0\nctxt 0\nbtime {booted}\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n"
        return "\n".join([f"cpu  {used} 0 0 {idle} 0 0 0 0 0 0", *cores, rest]) + "softirq 0\n"

    return text


def _meminfo(_clock: Clock) -> Make:
    sizes = {
        "MemTotal": _TOTAL,
        "MemFree": _FREE,
        "MemAvailable": _FREE + _CACHED,
        "Buffers": 0,
        "Cached": _CACHED,
        "SwapCached": 0,
        "Active": _CACHED,
        "Inactive": 0,
        "SwapTotal": 0,
        "SwapFree": 0,
        "Shmem": 0,
        "Slab": 0,
        "SReclaimable": 0,
    }
    lines = [f"{f'{name}:':<16}{size // _KIB:>8} kB\n" for name, size in sizes.items()]
    return lambda: "".join(lines)


def _cpuinfo(_clock: Clock) -> Make:
    lines = [
        f"processor\t: {core}\nmodel name\t: simulated\ncpu MHz\t\t: 1000.000\n"
        f"physical id\t: 0\ncore id\t\t: {core}\ncpu cores\t: {CORES}\n\n"
        for core in range(CORES)
    ]
    return lambda: "".join(lines)


def _uptime(clock: Clock) -> Make:
    def text() -> str:
        passed = (MONOTONIC_BASE_NS + clock.now_ns) / SECOND_NS
        return f"{passed:.2f} {CORES * passed - clock.now_ns / SECOND_NS:.2f}\n"

    return text


def _constant(text: str) -> Callable[[Clock], Make]:
    return lambda _clock: lambda: text


_OF_MACHINE: dict[str, Callable[[Clock], Make]] = {
    "stat": _stat,
    "meminfo": _meminfo,
    "cpuinfo": _cpuinfo,
    "uptime": _uptime,
    "loadavg": _constant("0.00 0.00 0.00 1/1 1\n"),
    "vmstat": _constant("pswpin 0\npswpout 0\n"),
    "diskstats": _constant(f" 254       0 vda {' '.join('0' * 11)}\n"),
    "filesystems": _constant("\text4\n"),
    "version": _constant("Linux version 6.1.0 (simulated)\n"),
}
_NET_DEV = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|"
    "bytes    packets errs drop fifo colls carrier compressed\n"
    f"    lo: {' '.join('0' * 16)}\n"
    f"  eth0: {' '.join('0' * 16)}\n"
)


# The process


def _own_stat(clock: Clock, own: str) -> Make:
    def text() -> str:
        begin = MONOTONIC_BASE_NS // _TICK_NS
        head = f"{own} ({_COMMAND}) R 1 {own} {own} 0 -1 0 0 0 0 0 {_ticks(clock)} 0 0 0 20 0 1 0"
        rest = f"{begin} {_VIRTUAL} {_RESIDENT // mmap.PAGESIZE} {2**64 - 1} {' '.join('0' * 27)}"
        return f"{head} {rest}\n"

    return text


def _statm(_clock: Clock, _own: str) -> Make:
    pages = [size // mmap.PAGESIZE for size in (_VIRTUAL, _RESIDENT, _SHARED)]
    return lambda: f"{pages[0]} {pages[1]} {pages[2]} 1 0 {pages[1]} 0\n"


def _status(_clock: Clock, own: str) -> Make:
    lines = [
        f"Name:\t{_COMMAND}",
        "Umask:\t0022",
        "State:\tR (running)",
        f"Tgid:\t{own}",
        f"Pid:\t{own}",
        "PPid:\t1",
        "Uid:\t0\t0\t0\t0",
        "Gid:\t0\t0\t0\t0",
        "FDSize:\t64",
        f"VmSize:\t{_VIRTUAL // _KIB:>8} kB",
        f"VmRSS:\t{_RESIDENT // _KIB:>8} kB",
        "Threads:\t1",
        f"Cpus_allowed_list:\t0-{CORES - 1}",
        "voluntary_ctxt_switches:\t0",
        "nonvoluntary_ctxt_switches:\t0",
    ]
    return lambda: "\n".join(lines) + "\n"


def _smaps(_clock: Clock, _own: str) -> Make:
    private = _RESIDENT - _SHARED
    sizes = {
        "Rss": _RESIDENT,
        "Pss": _RESIDENT,
        "Shared_Clean": _SHARED,
        "Shared_Dirty": 0,
        "Private_Clean": 0,
        "Private_Dirty": private,
        "Referenced": _RESIDENT,
        "Anonymous": private,
        "Swap": 0,
    }
    lines = [f"{f'{name}:':<16}{size // _KIB:>8} kB\n" for name, size in sizes.items()]
    return lambda: "00400000-7fff00000000 ---p 00000000 00:00 0 [rollup]\n" + "".join(lines)


def _io(_clock: Clock, _own: str) -> Make:
    names = ("rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes")
    return lambda: "".join(f"{name}: 0\n" for name in (*names, "cancelled_write_bytes"))


_OF_PROCESS: dict[str, Callable[[Clock, str], Make]] = {
    "stat": _own_stat,
    "statm": _statm,
    "status": _status,
    "smaps": _smaps,
    "smaps_rollup": _smaps,
    "io": _io,
    "cmdline": lambda _clock, _own: lambda: f"{_COMMAND}\0",
    "comm": lambda _clock, _own: lambda: f"{_COMMAND}\n",
}
