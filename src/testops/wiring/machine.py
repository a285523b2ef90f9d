"""What this machine lets one process use."""

import os


def cpu_count() -> int:
    """The processors that this process may use: in a container the machine's are not ours."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
