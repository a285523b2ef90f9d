"""The runner beside a server is always there, or about to be; and one ends when it shall."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from testops.cli import serving
from testops.cli.serving import RunnerBeside
from testops.domain.verdict import ExitCode
from testops.wiring import roles


def test_a_runner_that_cannot_be_started_just_now_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    refused: list[int] = []

    def start(_: RunnerBeside) -> subprocess.Popen[bytes]:
        if not refused:
            refused.append(1)
            raise BlockingIOError("Resource temporarily unavailable")
        started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        return started[-1]

    monkeypatch.setattr(serving, "_RESTART_FIRST_S", 0.05)
    monkeypatch.setattr(RunnerBeside, "_start", start)
    beside = RunnerBeside(roles.settings_for(tmp_path, {}))

    async def live() -> None:
        async with beside():
            async with asyncio.timeout(20):
                while not started:
                    await asyncio.sleep(0.05)

    asyncio.run(live())
    assert started[0].poll() is not None
    started[0].communicate()


class Refusing:
    """A worker whose store is away when it starts, after its threads were."""

    def start(self) -> None:
        raise RuntimeError("the queue cannot be reached")


def test_a_runner_that_fails_says_so_by_its_exit_code_and_does_not_hang() -> None:
    code = serving._work_until(Refusing(), threading.Event(), lambda: None)  # type: ignore[arg-type]
    assert code == ExitCode.INTERNAL
