"""Makes libraries forget what they measured on the real machine while they were imported.

The first answer of `psutil.cpu_percent` is the change since the import, when `/proc` was the real
one.
"""

from __future__ import annotations

import sys

_KEPT = ("_last_cpu_times", "_last_per_cpu_times", "_last_cpu_times_2", "_last_per_cpu_times_2")


def forget() -> None:
    """Call at the beginning of a run."""
    psutil = sys.modules.get("psutil")
    if psutil is None:
        return
    for name in _KEPT:
        getattr(psutil, name, {}).clear()
    if hasattr(psutil, "_TOTAL_PHYMEM"):
        setattr(psutil, "_TOTAL_PHYMEM", None)  # noqa: B010  (of a module unknown here)
