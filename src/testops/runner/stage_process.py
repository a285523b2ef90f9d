"""Runs one stage of one attempt in a child process, and lets nothing of it survive.

Blocking: call it from a thread that lives as long as the call, because the kernel ends the child
when that thread ends. The child never sees the database; what it says comes as lines of JSON on a
pipe and is told on from here.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from testops.runner import leash
from testops.runner.stage_jobs import (
    ChunkFile,
    Limits,
    Result,
    SeedChunk,
    StageCrashed,
    StageDone,
    StageJob,
    StageStopped,
)
from testops.telemetry.clock import Clock

__all__ = [
    "ChunkFile",
    "Limits",
    "Result",
    "SeedChunk",
    "StageCrashed",
    "StageDone",
    "StageJob",
    "StageStopped",
    "run_stage",
]

ENTRY = ("-P", "-m", "testops.stage_main")
POLL_S = 0.2
GRACE_S = 2.0
# After its result a child has nothing left to do.
_AFTER_RESULT_S = 5.0
LINE_MAX = 16_000_000
_LAST_WORDS_MAX = 64_000

OnEvent = Callable[[dict[str, Any]], None]
Stop = Callable[[], str | None]


def run_stage(
    job: StageJob,
    *,
    on_event: OnEvent,
    stop: Stop,
    clock: Clock,
    entry: Sequence[str] = ENTRY,
) -> Result:
    """Run `job` to its end, to its limits, or until `stop` says why; then nothing of it is left."""
    with _started(job, entry) as child:
        ended = _follow(child, job.wall_s, on_event, stop, clock)
    if child.result is not None and not isinstance(ended, StageStopped):
        return _result_of(child.result)
    return ended or _crashed(child)


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    events: int
    output: IO[bytes]
    held: bytearray = field(default_factory=bytearray)
    result: Mapping[str, Any] | None = None


@contextlib.contextmanager
def _started(job: StageJob, entry: Sequence[str]) -> Iterator[_Child]:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
        given.write(job.encode())
        given.seek(0)
        readable, writable = os.pipe()
        try:
            argv = [sys.executable, *entry, str(writable)]
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *argv],
                cwd=job.project_root,
                stdin=given,
                stdout=output,
                stderr=output,
                pass_fds=(writable,),
                start_new_session=True,
            )
        except BaseException:
            os.close(readable)
            raise
        finally:
            os.close(writable)
        try:
            os.set_blocking(readable, False)
            yield _Child(process, readable, output)
        finally:
            _end(process)
            os.close(readable)


def _follow(
    child: _Child, wall_s: float, on_event: OnEvent, stop: Stop, clock: Clock
) -> StageStopped | StageCrashed | None:
    """Tell on what the child says; why it was ended, or None when it ended by itself."""
    began = clock.elapsed_s()
    with selectors.DefaultSelector() as selector:
        selector.register(child.events, selectors.EVENT_READ)
        next_poll = began
        while True:
            ended = child.process.poll() is not None
            ready = selector.select(0 if ended else POLL_S)
            if not (ready and _read(child, on_event)) and ended:
                return None
            now = clock.elapsed_s()
            if child.result is not None:
                wall_s = min(wall_s, now - began + _AFTER_RESULT_S)
            if now >= next_poll:
                next_poll = now + POLL_S
                if (why := stop()) is not None:
                    return StageStopped(why)
            if now - began >= wall_s:
                return StageCrashed(f"it did not end within {wall_s:g} s", "time")


def _read(child: _Child, on_event: OnEvent) -> bool:
    """Take what the pipe holds; whether there was anything."""
    try:
        chunk = os.read(child.events, 1 << 16)
    except BlockingIOError:
        return False
    child.held += chunk
    *lines, rest = child.held.split(b"\n")
    child.held = bytearray(rest)
    for line in lines:
        body = json.loads(line)
        if body["type"] == "result":
            child.result = body
        else:
            on_event(body)
    return bool(chunk)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=GRACE_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _result_of(body: Mapping[str, Any]) -> Result:
    if body["error"]:
        return StageCrashed(body["message"], "error", body["error"])
    return StageDone(
        report=body["report"],
        gates=body["gates"],
        artifacts=tuple(Path(path) for path in body["artifacts"]),
        bundle=None if body["bundle"] is None else Path(body["bundle"]),
        bundle_identity=body["bundle_identity"],
    )


def _crashed(child: _Child) -> StageCrashed:
    code = child.process.returncode
    words = _last_words(child.output)
    if code < 0:
        return StageCrashed(f"it was ended by {signal.Signals(-code).name}: {words}", "signal")
    return StageCrashed(f"it exited with {code} and no result: {words}", "exit")


def _last_words(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _LAST_WORDS_MAX))
    lines = [line for line in output.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "it wrote nothing"
