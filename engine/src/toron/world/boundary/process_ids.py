"""The numbers of the process and of its parent, which a branch of a run keeps.

They stay real, because libraries need them. Libraries also compare them to notice that they were
forked, and then throw their connections away; a branch is the same process going on, so it is told
the numbers of the process whose run it goes on with.
"""

from __future__ import annotations

import os

from toron.world.boundary.aliases import Stand, replace
from toron.world.disk.real import POSIX


class _Pinned:
    own = parent = 0


def install() -> None:
    """Replace them; until a run begins they are the real ones."""

    def own() -> int:
        return _Pinned.own or POSIX.getpid()

    def parent() -> int:
        return _Pinned.parent or POSIX.getppid()

    replace(os, "getpid", Stand(os.getpid, own))
    replace(os, "getppid", Stand(os.getppid, parent))


def begin() -> None:
    """The run that begins now has the numbers that this process has."""
    _Pinned.own, _Pinned.parent = POSIX.getpid(), POSIX.getppid()
