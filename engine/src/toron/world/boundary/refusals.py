"""Refuses what would reach the real world, and names it with the line that tried.

The net under the replacements: CPython announces each such act by an audit event (PEP 578), from C
code too. What is refused raises `EscapeError` where it happened and is remembered, so that a
program which swallows the error still fails its run. Reading code and data of the program itself
is allowed; writing files, other processes, threads and real sockets are not.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from toron.errors import EscapeError
from toron.world.disk.real import realpath
from toron.world.sockets import Inert, SimSocket

_ABSENT = (
    "/etc/hosts",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
)
"""Files of the machine that programs probe for; in a simulated world they do not exist."""

_REFUSED = {
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.exec": "replaces the process",
    "os.posix_spawn": "starts a process",
    "os.spawn": "starts a process",
    "os.fork": "forks the process",
    "os.forkpty": "forks the process",
    "pty.spawn": "starts a process",
    "os.remove": "deletes a real file",
    "os.rename": "renames a real file",
    "os.mkdir": "makes a real folder",
    "os.rmdir": "deletes a real folder",
    "os.link": "links a real file",
    "os.symlink": "links a real file",
    "os.truncate": "truncates a real file",
    "os.chmod": "changes a real file",
    "os.chown": "changes a real file",
    "os.utime": "changes a real file",
    "os.kill": "signals a real process",
    "os.killpg": "signals a real process",
    "socket.connect": "uses a real socket",
    "socket.bind": "uses a real socket",
    "socket.sendto": "uses a real socket",
    "socket.sendmsg": "uses a real socket",
    "socket.getaddrinfo": "asks the real resolver",
    "socket.gethostbyname": "asks the real resolver",
    "socket.gethostbyaddr": "asks the real resolver",
    "socket.getnameinfo": "asks the real resolver",
    "socket.gethostname": "asks the real machine's name",
}


class Refusals:
    """What may be read, and what was refused so far."""

    def __init__(self, place: Callable[[FrameType | None], str], roots: list[Path]) -> None:
        self._place = place
        self.readable: list[str] = [str(root) for root in [*roots, *_own_roots()]]
        """The folders and files that a program may read, as they were named."""
        self._roots: set[str] = set()
        self.escapes: list[tuple[str, str]] = []
        self.before_sqlite: Callable[[], str] = lambda: "opens a real file"
        """Called before SQLite opens anything: why it may not open files, or nothing."""
        self.active = False

    def start(self) -> None:
        """Guard from now on; what Python may import from by now stays readable."""
        self.readable += [entry for entry in sys.path if entry]
        self._roots = {realpath(entry) for entry in self.readable}
        EscapeError.noticed = self._notice
        self.active = True

    def _is_readable(self, name: str) -> bool:
        path = realpath(name or ".")
        return path in self._roots or any(path.startswith(root + os.sep) for root in self._roots)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook: cheap for what is harmless, which is nearly everything."""
        if event == "sqlite3.connect":
            self._judge_database(arguments[0])
        if not self.active:
            return
        if event == "open":
            self._judge_open(arguments)
        elif event in ("os.listdir", "os.scandir"):
            self._judge_listing(arguments[0])
        elif event in _REFUSED:
            self._refuse(f"{event}({_first(arguments)}) {_REFUSED[event]}")
        elif event == "socket.__new__" and not isinstance(arguments[0], (SimSocket, Inert)):
            self._refuse(f"{type(arguments[0]).__qualname__} makes a real socket")

    def _judge_open(self, arguments: tuple[Any, ...]) -> None:
        path, mode, flags = arguments[0], arguments[1], arguments[2]
        if isinstance(path, int):
            return
        name = os.fsdecode(path)
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
        if writes or (isinstance(mode, str) and mode.strip("rbtU")):
            if name != os.devnull:
                self._refuse(f"open({name!r}, {mode!r}) writes a real file")
            return
        if name in _ABSENT:
            raise FileNotFoundError(2, "No such file or directory in the simulated world", name)
        if name != os.devnull and not self._is_readable(name):
            self._refuse(f"open({name!r}) reads a file of the real machine")

    def _judge_database(self, name: Any) -> None:
        reason = self.before_sqlite()
        if self.active and reason and str(name) not in (":memory:", ""):
            self._refuse(f"sqlite3.connect({name!r}) {reason}")

    def _judge_listing(self, path: Any) -> None:
        if path is None or isinstance(path, int):
            return
        name = os.fsdecode(path)
        if not self._is_readable(name):
            self._refuse(f"listing {name!r} reads a folder of the real machine")

    def _refuse(self, what: str) -> None:
        where = self._notice(what)
        self.active = False  # this one is known
        try:
            error = EscapeError(f"{what} (at {where}); a simulated program may not")
        finally:
            self.active = True
        raise error

    def _notice(self, what: str) -> str:
        """Remember an escape, which fails the run even when the program swallows the error."""
        if not self.active:
            return ""
        self.active = False  # what the report itself touches is not the program's doing
        try:
            where = self._place(sys._getframe(2))
        finally:
            self.active = True
        self.escapes.append((what, where))
        return where


def _own_roots() -> list[Path]:
    """Where Python's own code and data lie: a program imports lazily and reads its package data."""
    names = [*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, sys.exec_prefix]
    names += [*site.getsitepackages(), "/usr/share/zoneinfo", "/etc/ssl", "/usr/lib/ssl"]
    return [Path(name) for name in names if name]


def _first(arguments: tuple[Any, ...]) -> str:
    """The first argument, if it says the same in each run: a pid or an address does not."""
    first = arguments[0] if arguments else ""
    if isinstance(first, (str, bytes)):
        return repr(first)[:80] if first else ""
    return str(getattr(first, "__qualname__", ""))
