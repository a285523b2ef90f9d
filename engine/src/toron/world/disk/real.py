"""The functions of the operating system as they were before Toron replaced them.

Captured when this module is first imported, which is before `Edge.install`; modules of Toron are
skipped when replacements are spread. Nothing else in the simulated disk touches the real machine.
"""

from __future__ import annotations

import fcntl as _fcntl
import io
import os
import stat
from types import ModuleType

POSIX = ModuleType("real_os")
POSIX.__dict__.update(
    {name: value for name, value in vars(os).items() if not name.startswith("__")}
)
open_file = io.open
RealFileIO = io.FileIO
fcntl = _fcntl.fcntl
flock = _fcntl.flock
lockf = _fcntl.lockf
lstat = os.lstat
listdir = os.listdir
readlink = os.readlink
getcwd = os.getcwd
close = os.close

_LINKS_MAX = 40


def realpath(name: str) -> str:
    """`os.path.realpath` on the real machine; a part that does not exist stays as it is."""
    waiting = [part for part in os.path.join(getcwd(), name).split("/") if part][::-1]
    path, links = "", 0
    while waiting:
        part = waiting.pop()
        if part == ".":
            continue
        if part == "..":
            path = path.rpartition("/")[0]
            continue
        longer = f"{path}/{part}"
        try:
            is_link = stat.S_ISLNK(lstat(longer).st_mode) and links < _LINKS_MAX
            target = readlink(longer) if is_link else ""
        except OSError:
            is_link, target = False, ""
        if not is_link:
            path = longer
            continue
        links += 1
        waiting += [one for one in target.split("/") if one][::-1]
        if target.startswith("/"):
            path = ""
    return path or "/"
