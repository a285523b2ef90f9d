"""Runs a reproduction script on stock asyncio and says what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toron.search.explain.script import script_of
from toron.search.explain.steps import Account
from toron.search.outcome import Failure

RUNS = 5
_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What is known of the failure on stock asyncio."""

    text: str
    path: Path | None = None
    runs: int = 0
    failed_alike: int = 0
    clock: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "text": self.text,
            "script": None if self.path is None else str(self.path),
            "runs": self.runs,
            "failed_alike": self.failed_alike,
            "clock": self.clock or None,
        }


def reproduced(account: Account, kernel: Path, path: Path) -> Reproduction:
    """Write the script of a run to ``path`` and execute it; with a virtual clock if need be."""
    failure = account.execution.outcome.failure
    assert failure is not None
    best: Reproduction | None = None
    for clock in (None, "virtual"):
        text = script_of(account, kernel, clock=clock)
        path.write_text(text, encoding="utf-8")
        found = _executed(path, failure, "virtual" if "CLOCK = 'virtual'" in text else "real")
        if best is None or found.failed_alike > best.failed_alike:
            best = found
        if found.failed_alike == RUNS or found.clock == "virtual":
            break
    assert best is not None
    path.write_text(script_of(account, kernel, clock=best.clock), encoding="utf-8")
    return best


def _executed(path: Path, failure: Failure, clock: str) -> Reproduction:
    ends = [_end(path) for _ in range(RUNS)]
    wanted = _wanted(failure)
    alike = sum(end.startswith(wanted) for end in ends)
    if not alike:
        last = ends[-1] or "no line"
        text = f"did not reproduce: the script ended with `{last}` ({clock} time)"
    else:
        text = f"fails by itself in {alike} of {RUNS} runs: {_named(failure, wanted)} ({clock} time)"
    return Reproduction(text, path, RUNS, alike, clock)


def _named(failure: Failure, wanted: str) -> str:
    if failure.kind == "deadlock":
        return "hangs as expected (deadlock)"
    return f"same {failure.kind}{wanted.removeprefix(f'FAILED {failure.kind}')}"


def _wanted(failure: Failure) -> str:
    """How the last line of the script begins when it fails alike."""
    if failure.kind == "property":
        return f"FAILED property {failure.property or ''}"
    if failure.kind == "exception":
        name = failure.message.partition(":")[0].partition(" ")[0].partition("(")[0]
        return f"FAILED exception {name}"
    return f"FAILED {failure.kind}"


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
