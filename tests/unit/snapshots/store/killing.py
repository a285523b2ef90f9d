"""Kill -9 at a moment that can be chosen: before the n-th change of the disk by a process."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR


def killed_at(moment: int, work: Callable[[], Any]) -> bool:
    """Do `work` in a process that is killed before its change number `moment`; whether it was."""
    with warnings.catch_warnings():
        # pytest and its plugins have threads; what the child does takes none of their locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _work_until(moment, work)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the work failed before it was killed"
    return False


def _work_until(moment: int, work: Callable[[], Any]) -> None:
    left = moment
    lock = threading.Lock()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        is_opened = event == "open" and (arguments[2] or 0) & _WRITING
        if event in _CHANGES or is_opened:
            with lock:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    status = 1
    try:
        sys.addaudithook(hook)
        work()
        status = 0
    finally:
        os._exit(status)
