"""What the tests of Toron share: its command line, its workers, and small programs on disk."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from toron.search.outcome import Execution
from toron.search.pool import Request, Worker

# The same examples each time, and none written to disk: a test is a function of its commit.
settings.register_profile("toron", deadline=None, derandomize=True, database=None)
settings.load_profile("toron")

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Answer:
    """What the command ``toron`` left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The only line of stdout as one object; anything else on stdout fails here."""
        loaded: dict[str, Any] = json.loads(self.out)
        assert self.out.count("\n") == 1
        return loaded


def toron_environment(**more: str) -> dict[str, str]:
    dropped = ("SIM_SEED", "CHAOS_SEED", "PYTHONHASHSEED")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, **more}


@pytest.fixture
def toron_command(tmp_path: Path) -> Callable[..., Answer]:
    """Run ``toron ARGUMENTS`` in an empty folder."""

    def command(*arguments: object, **environment: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "toron", *map(str, arguments)],
            cwd=tmp_path,
            env=toron_environment(**environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return command


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Path]:
    """Write a program under test and return its file."""

    def write(text: str, name: str = "program.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture(scope="session")
def execute_program() -> Iterator[Callable[..., Execution]]:
    """Execute a kernel of ``programs/NAME.py`` in a worker that is started once for the file."""
    workers: dict[str, Worker] = {}

    def execute(file: str, kernel: str, seed: int = 1, level: str = "digest") -> Execution:
        if file not in workers:
            workers[file] = Worker(PROGRAMS / f"{file}.py", wall_limit_s=30)
        return workers[file].execute(Request(kernel, seed, 0, level))

    yield execute
    for worker in workers.values():
        worker.stop()


@pytest.fixture
def programs() -> Path:
    """The folder of the programs under test."""
    return PROGRAMS
