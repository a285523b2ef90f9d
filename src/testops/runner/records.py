"""Keeps what was asked and how it went: `snapshots/runs/<id>/attempt-N.json`.

One run at a time works in a project, because a run replaces `snapshots/dev` and the reports. The
lock is the kernel's: it dies with its process, so a run that was killed never blocks the next, and
whatever record still says `running` once the lock is ours belongs to one that was killed.
"""

import contextlib
import fcntl
import json
import os
import platform
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from testops.domain.errors import OutputNotWritable
from testops.domain.run import Run, RunState
from testops.domain.verdict import ExitCode, Verdict
from testops.runner.files import make_folder, not_writable, write_atomically, write_new
from testops.runner.projects import Project
from testops.telemetry.events import Tell

LOCK_WAIT_S = 600.0
_LOCK_POLL_S = 0.2
_ATTEMPTS_MAX = 100_000


class RunStore:
    """The records of one project."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._runs = project.snapshots / "runs"

    @contextlib.contextmanager
    def exclusive(self, *, pause: Callable[[float], None], told: Tell) -> Iterator[None]:
        """Hold the project for one run; waits for another run, at most `LOCK_WAIT_S`."""
        path = make_folder(self._project.snapshots) / ".lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise not_writable(path, error) from error
        try:
            self._acquire(descriptor, path, pause, told)
            yield
        finally:
            os.close(descriptor)

    def _acquire(
        self,
        descriptor: int,
        path: Path,
        pause: Callable[[float], None],
        told: Tell,
    ) -> None:
        for turn in range(int(LOCK_WAIT_S / _LOCK_POLL_S)):
            try:
                # A record lock, not flock: a forked child that outlives us must not hold it.
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                if turn == 0:
                    told(f"another run works in {self._project.root}; waiting for it")
                pause(_LOCK_POLL_S)
            else:
                return
        raise OutputNotWritable(
            f"another run has held it for {LOCK_WAIT_S:g} s",
            where=str(path),
            fix="end that run, then run again",
        )

    def begin(self, run: Run) -> Run:
        """`run` as its next attempt, on the disk as `running`."""
        folder = make_folder(self._runs / run.run_id)
        attempt = 1 + max((number for number, _ in self._attempts(folder)), default=0)
        while attempt <= _ATTEMPTS_MAX:
            begun = replace(run, attempt=attempt).moved_to(RunState.RUNNING)
            if write_new(self._path(begun), _encode(_kept(begun))):
                return begun
            attempt += 1
        raise OutputNotWritable(
            f"{_ATTEMPTS_MAX} attempts are recorded", where=str(folder), fix="remove old ones"
        )

    def save(self, run: Run) -> None:
        write_atomically(self._path(run), _encode(_kept(run)))

    def bury_the_killed(self, now: datetime) -> list[str]:
        """Mark every attempt that still says `running` as errored; call it holding the lock."""
        buried = []
        for folder in sorted(self._runs.iterdir()) if self._runs.is_dir() else []:
            for number, path in self._attempts(folder):
                record = _read(path)
                if record is None or record.get("state") not in ("queued", "running"):
                    continue
                record |= {
                    "state": RunState.ERRORED.value,
                    "verdict": Verdict.INCONCLUSIVE.value,
                    "exit_code": int(ExitCode.INCONCLUSIVE),
                    "reason": "its process ended before it could say how it went",
                    "finished_at": now.isoformat(),
                }
                write_atomically(path, _encode(record))
                buried.append(f"{folder.name} attempt {number}")
        return buried

    def sweep(self) -> None:
        """Remove the temporary files that killed runs left; call it holding the lock."""
        for pattern in (".tmp-*", "runs/*/.tmp-*"):
            for path in self._project.snapshots.glob(pattern):
                if path.is_file():
                    path.unlink(missing_ok=True)

    def newest_first(self) -> Iterator[dict[str, object]]:
        """Every record that can be read, the one that was written last first.

        By the time that the disk says: a record is written when its run ends, and reading them all
        to sort them would take the longer the longer a project lives.
        """
        written = []
        for path in self._runs.glob("*/attempt-*.json"):
            with contextlib.suppress(FileNotFoundError):
                written.append((-path.stat().st_mtime_ns, str(path), path))
        for _, _, path in sorted(written):
            record = _read(path)
            if record is not None:
                yield record

    def latest(self, run_id: str) -> dict[str, object] | None:
        """The record of the last attempt of `run_id`."""
        attempts = self._attempts(self._runs / run_id)
        return _read(attempts[-1][1]) if attempts else None

    def attempts(self, run_id: str) -> list[dict[str, object]]:
        """The records of `run_id` that can be read, the first attempt first."""
        read = (_read(path) for _, path in self._attempts(self._runs / run_id))
        return [record for record in read if record is not None]

    def records(self) -> Iterator[dict[str, object]]:
        """Every attempt that is recorded, in the order of ids; what cannot be read is left out."""
        for folder in sorted(self._runs.iterdir()) if self._runs.is_dir() else []:
            for _, path in self._attempts(folder):
                record = _read(path)
                if record is not None:
                    yield record

    def _path(self, run: Run) -> Path:
        return self._runs / run.run_id / f"attempt-{run.attempt}.json"

    @staticmethod
    def _attempts(folder: Path) -> list[tuple[int, Path]]:
        found = []
        for path in folder.glob("attempt-*.json"):
            number = path.stem.removeprefix("attempt-")
            if number.isdigit():
                found.append((int(number), path))
        return sorted(found)


def _kept(run: Run) -> dict[str, Any]:
    """The run, and what it was made with: a baseline remembers that of the run that left it."""
    made_with = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    return {**run.to_full_json(), "environment": made_with}


def _encode(record: object) -> bytes:
    return json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n"


def _read(path: Path) -> dict[str, object] | None:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
