"""The acceptance matrix: real programs × interpreters, against stock asyncio, printed as a table.

A program *works* when its `main` passes under Toron with the result that stock asyncio gives on
real loopback; it is *clean* when two fresh processes at one hash seed also agree on everything,
nothing escaped and no run took more than two seconds; *with faults*, its kernels `partitioned` and
`crashed` hold the same way. Each is counted over the seeds. An interpreter that is absent is
`not run`, and never counts as passed.

`python matrix.py [NAME...] [--seeds N] [--python 3.N] [--wide]`; exit 0 when every program that
could run is clean, 1 when one is not, 4 when the libraries could not be installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toron.errors import ToronError
from toron.search.outcome import Outcome
from toron.search.pool import Request, Worker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SUPPORTED = ("3.11", "3.12", "3.13")
CURRENT = f"{sys.version_info[0]}.{sys.version_info[1]}"
SEEDS = 20
WALL_MAX_S = 2.0
STOCK_LIMIT_S = 60.0
CHAOS_SEED = 0
REFUSED = {"s14_psycopg": "libpq", "s24_aiodns": "c-ares"}
"""Programs that reach the network in C: what works is an error that names the library."""

STOCK = """
import asyncio, importlib.util, json, sys
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = sys.modules["program"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)
from toron.core.values import canonical
print(json.dumps(canonical(asyncio.run(program.main()))))
"""


@dataclass(slots=True)
class Row:
    """What one program came to on one interpreter; counts are seeds."""

    program: str
    seeds: int
    works: int = 0
    clean: int = 0
    faults: int = 0
    fault_kernels: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    problem: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether everything held under every seed."""
        return self.works == self.clean == self.seeds and (
            not self.fault_kernels or self.faults == self.seeds
        )

    def blame(self, problem: str) -> None:
        """Remember the first problem."""
        self.problem = self.problem or problem


@dataclass(slots=True)
class Twice:
    """One seed executed in two fresh processes."""

    outcome: Outcome
    is_identical: bool
    wall_s: float


class Program:
    """One file, and the two worker processes in which it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workers = (Worker(path, wall_limit_s=60.0), Worker(path, wall_limit_s=60.0))

    def execute(self, kernel: str, seed: int) -> Twice:
        outcomes, wall_s = [], 0.0
        for worker in self.workers:
            begin = time.perf_counter()
            outcomes.append(worker.execute(Request(kernel, seed, CHAOS_SEED)).outcome)
            wall_s = max(wall_s, time.perf_counter() - begin)
        first, second = outcomes
        return Twice(first, not first.differs_from(second), wall_s)

    def measure(self, seeds: int) -> Row:
        row = Row(self.path.stem, seeds)
        try:
            expected = stock_result(self.path)
            for worker in self.workers:
                worker.start()  # what importing costs is not part of a run
            row.fault_kernels = [
                name for name in ("partitioned", "crashed") if name in self.workers[0].kernels
            ]
            for seed in range(1, seeds + 1):
                self._judge_main(row, seed, expected)
                self._judge_faults(row, seed)
        except (ToronError, Unusable) as error:
            row.blame(str(error).strip().replace("\n", " "))
        finally:
            for worker in self.workers:
                worker.stop()
        return row

    def _judge_main(self, row: Row, seed: int, expected: Any) -> None:
        twice = self.execute("main", seed)
        row.slowest_s = max(row.slowest_s, twice.wall_s)
        library = REFUSED.get(row.program)
        if library is not None:
            self._judge_refusal(row, seed, twice, library)
            return
        if not _passed(row, "main", seed, twice):
            return
        result = twice.outcome.outputs.get("result")
        if result != expected:
            row.blame(f"seed {seed}: result {_short(result)}, stock asyncio {_short(expected)}")
            return
        row.works += 1
        row.clean += _held(row, "main", seed, twice)

    def _judge_refusal(self, row: Row, seed: int, twice: Twice, library: str) -> None:
        failure = twice.outcome.failure
        if failure is None or failure.kind != "escape" or library not in failure.message:
            told = "nothing" if failure is None else f"{failure.kind}: {failure.message}"
            row.blame(f"main seed {seed}: expected an escape that names {library}, got {told}")
            return
        row.works += 1
        row.clean += _held(row, "main", seed, twice)

    def _judge_faults(self, row: Row, seed: int) -> None:
        held = True
        for kernel in row.fault_kernels:
            twice = self.execute(kernel, seed)
            row.slowest_s = max(row.slowest_s, twice.wall_s)
            held &= _passed(row, kernel, seed, twice) and _held(row, kernel, seed, twice)
        row.faults += held and bool(row.fault_kernels)


class Unusable(Exception):
    """Stock asyncio itself does not run the program here."""


def stock_result(path: Path) -> Any:
    """What the program's `main` returns under stock asyncio, in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", STOCK, str(path)],
            env={**os.environ, "PYTHONPATH": python_path()},
            capture_output=True,
            text=True,
            timeout=STOCK_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unusable(f"stock asyncio gave no result in {STOCK_LIMIT_S:g} s") from error
    if done.returncode != 0:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise Unusable(f"stock asyncio fails too: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _passed(row: Row, kernel: str, seed: int, twice: Twice) -> bool:
    failure = twice.outcome.failure
    if failure is not None:
        row.blame(f"{kernel} seed {seed}: {failure.kind}: {failure.message} ({failure.where})")
    return twice.outcome.ok


def _held(row: Row, kernel: str, seed: int, twice: Twice) -> bool:
    if not twice.is_identical:
        row.blame(f"{kernel} seed {seed}: two processes behaved differently")
    if twice.wall_s > WALL_MAX_S:
        row.blame(f"{kernel} seed {seed}: took {twice.wall_s:.1f} s")
    return twice.is_identical and twice.wall_s <= WALL_MAX_S


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."


# Interpreters


def interpreter(version: str) -> str | None:
    """A python of ``version`` that starts: this one, in PATH, or among pyenv's versions."""
    if version == CURRENT:
        return sys.executable
    candidates = [shutil.which(f"python{version}")]
    installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*"))
    candidates += [str(folder / "bin" / "python") for folder in installed]
    for candidate in filter(None, candidates):
        command = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.stdout.strip() == version:
            return candidate
    return None


def environment_for(version: str, python: str, *, wide: bool) -> Path | None:
    """The python of an environment with the libraries, made on first use; None: it failed."""
    if version == CURRENT and not wide:
        return Path(sys.executable)
    folder = ROOT / (f".venv-wide-{version}" if wide else f".venv-compat-{version}")
    command = [ROOT / "tools" / "make_compat_environment.sh", folder, python]
    done = subprocess.run([*map(str, command), *(["wide"] if wide else [])], cwd=ROOT, check=False)
    return folder / "bin" / "python" if done.returncode == 0 else None


def python_path() -> str:
    """Where Toron is imported from, whichever interpreter runs it."""
    return str(ROOT / "engine" / "src")


def programs(names: list[str], *, wide: bool) -> list[Path]:
    """The files to run: those whose name begins with one of ``names``, or all."""
    folder = HERE / ("wide" if wide else "programs")
    files = sorted(folder.glob("[sx][0-9][0-9]_*.py"))
    return [file for file in files if not names or file.stem.startswith(tuple(names))]


def rows_of(python: Path, files: list[Path], seeds: int) -> Iterator[Row]:
    """The rows of one interpreter, as they come."""
    command = [str(python), str(HERE / "matrix.py"), "--here", "--seeds", str(seeds)]
    with subprocess.Popen(
        [*command, *map(str, files)],
        env={**os.environ, "PYTHONPATH": python_path()},
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield Row(**json.loads(line))


HEADING = ("program", "python", "works", "clean", "with faults", "slowest")
WIDTHS = (26, 8, 8, 8, 12, 8)


def line_of(cells: tuple[str, ...]) -> str:
    """One line of the table."""
    return "".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def cells_of(version: str, row: Row) -> tuple[str, ...]:
    """A row as text."""
    faults = f"{row.faults}/{row.seeds}" if row.fault_kernels else "-"
    counted = (f"{row.works}/{row.seeds}", f"{row.clean}/{row.seeds}", faults)
    return (row.program, version, *counted, f"{row.slowest_s:.2f} s")


def print_matrix(files: list[Path], versions: list[str], seeds: int, *, wide: bool) -> int:
    """Print the table; the exit code."""
    sums, status = [], 0
    print(line_of(HEADING))
    for version in versions:
        python = interpreter(version)
        if python is None:
            sums.append(f"Python {version}: not run: no Python {version} on this machine")
            continue
        prepared = environment_for(version, python, wide=wide)
        if prepared is None:
            sums.append(f"Python {version}: not run: its libraries could not be installed")
            status = status or 4
            continue
        rows = []
        for row in rows_of(prepared, files, seeds):
            rows.append(row)
            print(line_of(cells_of(version, row)), flush=True)
            if row.problem:
                print(f"    {row.problem[:400]}", flush=True)
        clean = sum(row.is_clean for row in rows)
        works = sum(row.works == row.seeds for row in rows)
        sums.append(f"Python {version}: {works} of {len(files)} work, {clean} clean, {seeds} seeds")
        if clean < len(files):
            status = 1
    print("\n".join(sums))
    return status


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="the acceptance matrix of Toron")
    parser.add_argument("names", nargs="*", help="programs by the beginning of their names")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--python", action="append", choices=SUPPORTED, help="default: all")
    parser.add_argument("--wide", action="store_true", help="the other programs, main only")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.here:
        for name in options.names:
            print(json.dumps(asdict(Program(Path(name)).measure(options.seeds))), flush=True)
        return 0
    files = programs(options.names, wide=options.wide)
    if not files or options.seeds < 1:
        parser.error("no such program" if not files else "--seeds must be 1 or more")
    versions = options.python or ([CURRENT] if options.wide else list(SUPPORTED))
    return print_matrix(files, versions, options.seeds, wide=options.wide)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
