"""The commands that keep running: `testops serve`, `api`, `gateway` and `runner`."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from testops import wiring
from testops.wiring import roles

log = logging.getLogger("testops.serving")

Echo = Callable[[str], None]


def serve_runner(settings: roles.Settings, *, echo: Echo) -> None:
    """Execute what is queued until we are told to end; leaves no process behind."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with (
        roles.open_store(settings, may_migrate=False) as store,
        roles.only_runner(settings, store.database),
    ):
        token = f"{wiring.draw_seed():016x}"[:8]
        worker = roles.runner_of(store, token)
        worker.start()
        echo(f"runner ready: {settings.cores} cores, {settings.runs_at_once} runs at once")
        while not stop.wait(0.5):
            pass
        worker.stop()
    # Threads that executed are parked on purpose, and must not be waited for.
    logging.shutdown()
    os._exit(0)
