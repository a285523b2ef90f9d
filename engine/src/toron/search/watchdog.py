"""Says where a process was stuck that had to be killed: a thread that never hands the baton on.

Code that blocks in C holds the baton for ever, and no line of Python in that process runs again to
say so. So the process asks `faulthandler`, whose own thread needs no interpreter, to write all
stacks to a file in memory shortly before its time is up, and its parent reads them.
"""

from __future__ import annotations

import faulthandler
import os
import re
from pathlib import Path

FIRES_AT = 0.9
"""The share of the time limit after which the stacks are written."""
_BYTES_MAX = 1 << 20
_TORON = str(Path(__file__).resolve().parent.parent) + os.sep
_BATON = f"{_TORON}core{os.sep}baton.py"
_FRAME = re.compile(r'  File "(?P<file>[^"]*)", line (?P<line>\d+) in (?P<name>\S+)')


def report_file() -> int:
    """A descriptor of a file in memory, to be inherited by the process that is watched."""
    return os.memfd_create("toron-stuck")


def watch(report_fd: int, limit_s: float) -> None:
    """Write the stacks of this process to ``report_fd`` when it has run for most of ``limit_s``."""
    faulthandler.dump_traceback_later(limit_s * FIRES_AT, file=report_fd)


def stuck_at(report_fd: int) -> str:
    """Where the thread stood that had the baton, innermost first; empty when nothing was written.

    The other threads stand at their gates, inside `core.baton`.
    """
    text = os.pread(report_fd, _BYTES_MAX, 0).decode("utf-8", "replace")
    stacks = text.rpartition("Timeout (")[2].split("\n\n")
    for stack in stacks:
        frames = [found.groupdict() for found in _FRAME.finditer(stack)]
        if not frames or frames[0]["file"] == _BATON:
            continue
        outside = [frame for frame in frames if not frame["file"].startswith(_TORON)]
        named = [f"{_short(one['file'])}:{one['line']} in {one['name']}" for one in outside[:4]]
        if named:
            return ", called from ".join(named)
    return ""


def _short(file: str) -> str:
    parts = Path(file).parts
    for mark in ("site-packages", "lib"):
        if mark in parts:
            return str(Path(*parts[parts.index(mark) :]))
    return Path(file).name
