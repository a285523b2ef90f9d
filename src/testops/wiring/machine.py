"""What this machine lets one process use, and the programs that a behaviour depends on here."""

import os
import platform
import sqlite3
from collections.abc import Mapping


def cpu_count() -> int:
    """The processors that this process may use: in a container the machine's are not ours."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def programs() -> Mapping[str, str]:
    """What equal bytes take beside equal code, to the patch."""
    return {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
