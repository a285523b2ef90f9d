"""Runs a tool in a process group of its own, with a time limit and bounded output.

What its exit code means is not decided here: stages parse what the tool wrote.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from testops.runner import leash
from testops.telemetry.clock import Clock

OUTPUT_MAX = 32_000_000
_TICK_S = 0.1
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Completed:
    """How a tool ended."""

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool

    @property
    def last_words(self) -> str:
        """The last line it wrote, for a message."""
        lines = [line for line in (self.stderr + "\n" + self.stdout).splitlines() if line.strip()]
        own = [line for line in self.stderr.splitlines() if line.strip()]
        return (own or lines or ["it wrote nothing"])[-1].strip()[:300]


def run_tool(
    argv: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float,
    clock: Clock,
    tick: Callable[[], None] = lambda: None,
) -> Completed:
    """Run `argv` to its end or its limit; nothing that it started outlives this call."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *argv],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            timed_out = _wait(process, timeout_s, clock, tick)
        finally:
            _end_group(process)
        return Completed(process.returncode, _text(out), _text(err), timed_out)


def _wait(
    process: subprocess.Popen[bytes], timeout_s: float, clock: Clock, tick: Callable[[], None]
) -> bool:
    deadline = clock.elapsed_s() + timeout_s
    while True:
        try:
            process.wait(timeout=_TICK_S)
        except subprocess.TimeoutExpired:
            tick()
            if clock.elapsed_s() >= deadline:
                return True
        else:
            return False


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of the group: politely while its leader lives, then for certain."""
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE_S)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        # Nobody is left in it.
        return


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(OUTPUT_MAX).decode("utf-8", "replace")
