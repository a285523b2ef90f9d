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
from typing import Any

from testops.domain.stage import StageName
from testops.runner.files import make_folder
from testops.runner.sandbox import Ended, Held, Sandbox, Wanted, held
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

ENTRY = (sys.executable, "-P", "-m", "testops.stage_main")
POLL_S = 0.2
# After its result a child has nothing left to do.
_AFTER_RESULT_S = 5.0
LINE_MAX = 16_000_000
# How much may be told of one stage; beyond it the stage floods us, and is ended.
TOLD_MAX = 1_000_000_000

OnEvent = Callable[[dict[str, Any]], None]
Stop = Callable[[], str | None]


def run_stage(
    job: StageJob,
    *,
    on_event: OnEvent,
    stop: Stop,
    clock: Clock,
    entry: Sequence[str] = ENTRY,
    walls: Sandbox | None = None,
    hidden: Sequence[Path] = (),
) -> Result:
    """Run `job` to its end, to its limits, or until `stop` says why; then nothing of it is left.

    `walls` is what this machine can enforce, found by trying where it is not given. Of the folders
    `hidden` a stage sees, where that can be had, only its project and its output. What `on_event`
    raises ends the stage and goes on upwards.
    """
    with _started(job, entry, walls, hidden) as child:
        early = _follow(child, job.wall_s, on_event, stop, clock)
        ended = child.held.end()
        refused, count = child.held.refused()
        for line in refused:
            text = f"an outside connection was refused: {line}"
            on_event({"type": "stage.log", "stage": job.stage, "text": text})
        if early is not None and (child.result is None or isinstance(early, StageStopped)):
            return early
        if child.result is not None:
            return _result_of(child.result, refused, count)
        return _crashed(ended, job.limits, child.held.last_words)


@dataclass
class _Child:
    held: Held
    events: int
    read: bytearray = field(default_factory=bytearray)
    told: int = 0
    closed: bool = False
    result: Mapping[str, Any] | None = None


@contextlib.contextmanager
def _started(
    job: StageJob, entry: Sequence[str], walls: Sandbox | None, hidden: Sequence[Path]
) -> Iterator[_Child]:
    make_folder(job.output)
    with tempfile.TemporaryFile() as given:
        given.write(job.encode())
        given.seek(0)
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        wanted = Wanted(
            argv=(*entry, str(writable)),
            folder=job.project_root,
            limits=job.limits,
            network=job.network,
            stdin=given,
            passed=(writable,),
            hidden=hidden,
            kept=(job.output, *(path.parent for path in job.executions)),
            read_only=() if job.golden is None else (job.golden,),
            # Toron refuses by itself; a kernel must not see that anybody else looks on.
            counted=job.stage != StageName.SIM,
        )
        try:
            with held(wanted, walls) as one:
                os.close(writable)
                writable = -1
                yield _Child(one, readable)
        finally:
            os.close(readable)
            if writable >= 0:
                os.close(writable)


def _follow(
    child: _Child, wall_s: float, on_event: OnEvent, stop: Stop, clock: Clock
) -> StageStopped | StageCrashed | None:
    """Tell on what the child says; why it is to be ended, or None when it ended by itself."""
    began = next_poll = clock.elapsed_s()
    with selectors.DefaultSelector() as selector:
        selector.register(child.events, selectors.EVENT_READ)
        while True:
            ended = child.held.process.poll() is not None
            read = _next(child, selector, 0 if ended else POLL_S)
            if problem := _tell(child, read, on_event):
                return problem
            if ended and not read:
                return None
            now = clock.elapsed_s()
            if now >= next_poll:
                next_poll = now + POLL_S
                if (why := stop()) is not None:
                    return StageStopped(why)
            if child.result is not None:
                wall_s = min(wall_s, now - began + _AFTER_RESULT_S)
            if now - began >= wall_s:
                return StageCrashed(f"it did not end within {wall_s:g} s", "time")


def _next(child: _Child, selector: selectors.BaseSelector, wait_s: float) -> bytes:
    """What the child said meanwhile; nothing when it was silent, or has closed its end."""
    if not child.closed and selector.select(wait_s):
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(child.events, 1 << 16)
            child.closed = not chunk
            return chunk
    elif child.closed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.held.process.wait(timeout=wait_s)
    return b""


def _tell(child: _Child, chunk: bytes, on_event: OnEvent) -> StageCrashed | None:
    """Tell on the lines that `chunk` completes; why the child cannot be believed any more."""
    child.read += chunk
    child.told += len(chunk)
    if child.told > TOLD_MAX or len(child.read) > LINE_MAX:
        return StageCrashed("it told more than anybody could keep", "output")
    if b"\n" not in chunk:
        return None
    *lines, rest = child.read.split(b"\n")
    child.read = bytearray(rest)
    for line in lines:
        body = _event(bytes(line))
        if body is None:
            return StageCrashed(f"it told what is no event: {bytes(line[:100])!r}", "output")
        if body["type"] == "result":
            child.result = body
        else:
            on_event(body)
    return None


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(body, dict) and isinstance(body.get("type"), str)
    return body if known else None


def _result_of(body: Mapping[str, Any], refused: Sequence[str], count: int) -> Result:
    if body["error"]:
        return StageCrashed(body["message"], "error", body["error"], refused)
    return StageDone(
        report=body["report"],
        artifacts=tuple(Path(path) for path in body["artifacts"]),
        bundle=None if body["bundle"] is None else Path(body["bundle"]),
        bundle_identity=body["bundle_identity"],
        chunk=_chunk_file(body["chunk"]),
        refused=refused,
        refused_count=count,
    )


def _chunk_file(body: Sequence[Any] | None) -> ChunkFile | None:
    if body is None:
        return None
    path, sha256, executions = body
    return ChunkFile(Path(path), sha256, executions)


def _crashed(ended: Ended, limits: Limits, words: str) -> StageCrashed:
    used = f"at most {ended.peak_mb} MB in {ended.peak_processes} processes"
    if ended.how == "memory":
        return StageCrashed(f"it used more than its {limits.memory_mb} MB of memory", "memory")
    if ended.how == "processes":
        return StageCrashed(f"it had more than its {limits.processes} processes", "processes")
    if ended.how == "sandbox":
        return StageCrashed(f"its sandbox could not be set up: {ended.problem}", "sandbox")
    if ended.code is not None and ended.code < 0:
        name = signal.Signals(-ended.code).name
        hint = " (as the kernel does when memory runs out)" if name == "SIGKILL" else ""
        return StageCrashed(f"it was ended by {name}{hint}, with {used}: {words}", "signal")
    return StageCrashed(f"it exited with {ended.code} and no result, with {used}: {words}", "exit")
