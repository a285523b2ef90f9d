"""However an execution or the command ends, nobody waits for ever and nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

KERNELS = """
import asyncio, ctypes, os, signal, sys
import toron

@toron.kernel
async def exits(world):
    os._exit(3)

@toron.kernel
async def crashes(world):
    ctypes.string_at(0)

@toron.kernel
async def is_killed(world):
    ctypes.CDLL(None).kill(os.getpid(), signal.SIGKILL)

@toron.kernel
async def alarms(world):
    ctypes.CDLL(None).ualarm(10_000, 0)
    while True:
        pass

@toron.kernel
async def spins(world):
    while True:
        pass

@toron.kernel
async def works(world):
    for number in range(200_000):
        number * number
    await world.sleep(1)
"""


@pytest.fixture
def kernels(program: Callable[..., Path]) -> Path:
    return program(KERNELS, "endings.py")


def processes_of(path: Path) -> list[int]:
    """The processes that name ``path`` on their command line, zombies left out."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if str(path).encode() in command:
                found.append(int(folder.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        ("exits", "exit code 3 (os._exit?)"),
        ("crashes", "SIGSEGV"),
        ("is_killed", "SIGKILL"),
        ("alarms", "SIGALRM"),
    ],
)
def test_an_execution_that_dies_is_inconclusive_and_says_how(
    kernels: Path, toron_command: Callable[..., Any], kernel: str, reason: str
) -> None:
    answer = toron_command("run", f"{kernels}::{kernel}", "--json")
    assert answer.code == 4
    assert answer.json["verdict"] == "inconclusive"
    assert answer.json["failure"]["kind"] == "crash"
    assert reason in answer.json["failure"]["message"]


def test_dying_executions_do_not_stop_an_exploration_or_a_verification(
    kernels: Path, toron_command: Callable[..., Any]
) -> None:
    explored = toron_command("explore", f"{kernels}::exits", "--seeds", "0:3", "--json")
    assert (explored.code, explored.json["inconclusive_seeds"]) == (4, [0, 1, 2])
    verified = toron_command("verify", f"{kernels}::exits", "--seeds", "0:2", "--json")
    assert (verified.code, verified.json["inconclusive"]) == (4, 2)


class Command:
    """A running ``toron`` that a test interrupts."""

    def __init__(self, kernels: Path, *arguments: str) -> None:
        self.kernels = kernels
        self.process = subprocess.Popen(
            [sys.executable, "-m", "toron", *arguments],
            cwd=kernels.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait_for_workers(self, count: int) -> None:
        """Until ``count`` processes beside the command run the program."""
        appeared = wait_until(lambda: len(processes_of(self.kernels)) - 1 >= count, 20)
        assert appeared, (self.process.poll(), processes_of(self.kernels))
        time.sleep(0.3)  # into the execution, past the imports

    def end(self, number: int) -> tuple[int, str, str]:
        os.kill(self.process.pid, number)
        out, err = self.process.communicate(timeout=15)
        return self.process.returncode, out.decode(), err.decode()


@pytest.fixture
def command(kernels: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def start(verb: str, kernel: str, *arguments: str) -> Command:
        started.append(Command(kernels, verb, f"{kernels}::{kernel}", *arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        for stream in (one.process.stdout, one.process.stderr):
            assert stream is not None
            stream.close()


WAYS = [
    ("run", "spins"),
    ("explore", "spins", "--seeds", "0:4", "--jobs", "2"),
    ("verify", "spins", "--seeds", "0:4"),
    ("explore", "works", "--seeds", "0:100000"),
    ("verify", "works", "--seeds", "0:100000", "--jobs", "2"),
]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_ctrl_c_ends_with_130_and_leaves_no_process(
    kernels: Path, command: Callable[..., Command], way: tuple[str, ...]
) -> None:
    running = command(*way)
    running.wait_for_workers(2)
    code, _, err = running.end(signal.SIGINT)
    assert code == 130
    assert "Traceback" not in err
    assert wait_until(lambda: processes_of(kernels) == [], 5), processes_of(kernels)


def test_ctrl_c_in_an_exploration_tells_what_was_learned(command: Callable[..., Command]) -> None:
    running = command("explore", "works", "--seeds", "0:100000", "--json")
    running.wait_for_workers(2)
    code, out, _ = running.end(signal.SIGINT)
    assert code == 130
    learned = json.loads(out)
    assert learned["interrupted"]
    assert 0 < learned["seeds_run"] < 100_000


@pytest.mark.parametrize("way", [WAYS[0], WAYS[4]], ids=" ".join)
def test_killing_the_command_leaves_no_process(
    kernels: Path, command: Callable[..., Command], way: tuple[str, ...]
) -> None:
    running = command(*way)
    running.wait_for_workers(2)
    code, _, _ = running.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert wait_until(lambda: processes_of(kernels) == [], 5), processes_of(kernels)


def test_a_run_that_ends_leaves_no_process(
    kernels: Path, toron_command: Callable[..., Any]
) -> None:
    toron_command("verify", f"{kernels}::works", "--seeds", "0:4", "--jobs", "2")
    assert wait_until(lambda: processes_of(kernels) == [], 5), processes_of(kernels)
