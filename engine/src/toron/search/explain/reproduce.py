"""Runs a reproduction script on stock asyncio and says what came of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toron.errors import BadKernel
from toron.search.explain.script import is_too_long, script_of
from toron.search.explain.steps import Account
from toron.search.outcome import Failure

RUNS = 5
_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What is known of the failure on stock asyncio."""

    text: str
    script: str = ""
    """The program, when there can be one."""
    path: Path | None = None
    """Where it was written to, if it was asked for."""
    runs: int = 0
    failed_alike: int = 0
    clock: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "text": self.text,
            "script": self.script or None,
            "path": None if self.path is None else str(self.path),
            "runs": self.runs,
            "failed_alike": self.failed_alike,
            "clock": self.clock or None,
        }


def reproduced(account: Account, kernel: Path, path: Path | None) -> Reproduction:
    """Execute the script of a run, with a virtual clock if need be, and write it to ``path``."""
    best, in_real = Reproduction(""), 0
    for clock in ("real", "virtual"):
        if clock == "real" and is_too_long(account):
            continue
        found = _executed(account, kernel, clock)
        in_real += found.failed_alike if clock == "real" else 0
        if found.failed_alike > best.failed_alike or not best.script:
            best = found
        if found.failed_alike == RUNS:
            break
    if best.clock == "virtual" and in_real:
        best = replace(best, text=f"{best.text}; in real time {in_real} of {RUNS}")
    if path is None:
        return best
    try:
        path.write_text(best.script, encoding="utf-8")
    except OSError as error:
        raise BadKernel(
            f"--script {path}: {error.strerror}; name a file that can be written"
        ) from (error)
    return replace(best, path=path)


def _executed(account: Account, kernel: Path, clock: str) -> Reproduction:
    failure = account.execution.outcome.failure
    assert failure is not None
    script = script_of(account, kernel, clock=clock)
    with tempfile.TemporaryDirectory(prefix="toron-explain-") as folder:
        path = Path(folder) / "reproduce.py"
        path.write_text(script, encoding="utf-8")
        ends = [_end(path) for _ in range(RUNS)]
    alike = sum(_is_alike(end, failure) for end in ends)
    if alike:
        ended = next(end for end in ends if _is_alike(end, failure))
        text = f"fails by itself in {alike} of {RUNS} runs: {_named(failure, ended)} ({clock} time)"
    else:
        last = ends[-1] or "no line"
        text = f"did not reproduce in {RUNS} runs: the script ended with `{last}` ({clock} time)"
    return Reproduction(text, script, None, RUNS, alike, clock)


def _is_alike(end: str, failure: Failure) -> bool:
    """Whether the last line of a script tells of ``failure``."""
    told = end.removeprefix(f"FAILED {failure.kind} ")
    if told == end:
        return False
    if failure.kind == "exception":
        return told in re.findall(r"\w+", failure.message)
    return failure.kind != "property" or told == failure.property


def _named(failure: Failure, end: str) -> str:
    if failure.kind == "deadlock":
        return "hangs as expected (deadlock)"
    return "same " + end.removeprefix("FAILED ")


def _end(path: Path) -> str:
    """The last line of one execution."""
    try:
        done = subprocess.run(
            [sys.executable, "-X", "utf8", str(path)],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    except subprocess.TimeoutExpired:
        return f"no end within {_LIMIT_S:g} s"
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return lines[-1] if lines else ""
