"""Prints how often the bugs of the zoo are found by Toron and by its peers.

The same program file for all, on one Python 3.12, N runs each: how many of them show the bug, and
how many a second of processor time (every process of the engine and its start are counted, so more
runs make all engines look better). Toron runs as a user runs it, `toron explore` with its default
strategy; a peer explores in one process with its own default; `det.random` is detangle's random
walk, because its default repeats asyncio's own order every fifth run. What an engine fails on with
the fixed version too it cannot express; of a bug whose fix needs another Python that is not known.

    python engine/benchmarks/zoo_against_peers.py [--runs N] [BUG...]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import importlib.util
import inspect
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
REPOSITORY = HERE.parents[2]
ZOO = REPOSITORY / "engine" / "tests" / "bug_zoo"
VENV = REPOSITORY / ".venv-bench-3.12"
PYTHON = VENV / "bin" / "python"
sys.path.insert(0, str(ZOO))

ENGINES = ("toron", "simloom", "simloop", "detangle", "det.random")
RUNS, TWIN_RUNS = 100, 20
CHANCE = 1.645
"""Standard deviations that two shares may differ by chance (one-sided, 5 %)."""
CELL_LIMIT_S = 120.0
ANSWERED = (0, 1, 4)
"""Exit codes of an engine that has said what it found; 4: some runs came to no conclusion."""
DEADLOCKS = {"SimDeadlockError", "SimulationDeadlockError", "DeadlockError"}
TOLD_MAX = 4_000


# What a peer does, in a process of its own


def on_simloom(main: Callable[[], Any], runs: int) -> Iterator[BaseException | None]:
    """Its default scheduler, and all the time and chance that it can take over."""
    import simloom

    for seed in range(runs):
        result = simloom.run(
            main, seed=seed, raise_on_error=False, virtual_time=True, seed_randomness=True
        )
        yield result.error


def on_simloop(main: Callable[[], Any], runs: int) -> Iterator[BaseException | None]:
    """Its default policy; it leaves `random` alone, so that is seeded for it."""
    import simloop

    for seed in range(runs):
        random.seed(seed)
        try:
            report = simloop.explore(main, seeds=[seed])
        except asyncio.CancelledError as error:  # of a task that was still there at the end
            yield error
        else:
            yield None if report is None else report.exception


def on_detangle(
    main: Callable[[], Any], runs: int, strategy: str = "auto"
) -> Iterator[BaseException | None]:
    """What its `explore` does for each run, without stopping at the first failure."""
    from detangle import SimConfig, execute
    from detangle.strategies import make_strategy

    chosen, config = make_strategy(strategy, 0), SimConfig(patch_time=True)
    for index in range(runs):
        chosen.start(index)
        result = execute(main, config=config, strategy=chosen)
        chosen.finish(result.decisions, result.failure is not None)
        failure = result.failure
        yield None if failure is None else failure.exception or RuntimeError(failure.message)


def on_random_detangle(main: Callable[[], Any], runs: int) -> Iterator[BaseException | None]:
    """Its random walk alone."""
    return on_detangle(main, runs, "random")


PEERS = {
    "simloom": on_simloom,
    "simloop": on_simloop,
    "detangle": on_detangle,
    "det.random": on_random_detangle,
}


def cell(engine: str, file: str, kernel: str, runs: int) -> list[dict[str, str]]:
    """The failures of one peer on one program, in this process."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if engine == "simloop" and hasattr(module, "HOST"):
        module.HOST = "driver"  # it has no 127.0.0.1, only names of machines; this is the first one
    main = getattr(module, kernel)
    if inspect.signature(main).parameters:
        raise SystemExit("the program needs toron.World")
    failures = []
    for error in PEERS[engine](main, runs):
        if error is not None:
            kind = "deadlock" if type(error).__name__ in DEADLOCKS else "exception"
            told = "".join(traceback.format_exception(error))
            failures.append({"kind": kind, "told": told[-TOLD_MAX:]})
    return failures


# Measuring one engine from outside


class NotRun(Exception):
    """An engine cannot express a bug, and why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one engine came to on one bug."""

    failing: int
    runs: int
    cpu_s: float

    @property
    def per_cpu_s(self) -> float:
        """Failing runs a second of processor time."""
        return self.failing / self.cpu_s


def measured(command: list[str], folder: Path | None, limit_s: float) -> tuple[int, str, float]:
    """Exit status, stdout and the processor seconds of a command and all its children."""
    folders = [REPOSITORY / "engine" / "src", *([] if folder is None else [folder])]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": os.environ.get("HOME", ""),
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore",
    }
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as complaints:
        # `timeout` ends the whole group of a program that hangs, and its usage is its children's.
        process = subprocess.Popen(
            ["timeout", "-k", "5", str(limit_s), *command],
            env=environment,
            cwd=REPOSITORY,
            stdout=out,
            stderr=complaints,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        told = out.read()
        if process.returncode == 124:
            raise NotRun(f"no end within {limit_s:g} s")
        if process.returncode not in ANSWERED or not told.strip():
            complaints.seek(0)
            said = complaints.read().strip().splitlines() or [f"exit {process.returncode}"]
            raise NotRun(said[-1][:160])
    return process.returncode, told, used.ru_utime + used.ru_stime


def failures_of(
    engine: str, program: Path, kernel: str, folder: Path | None, runs: int
) -> tuple[list[dict[str, str]], float]:
    """The failing runs of an engine on a program, and its processor seconds."""
    if engine != "toron":
        command = [str(PYTHON), str(HERE), "--cell", engine, str(program), kernel, str(runs)]
        _, told, cpu_s = measured(command, folder, CELL_LIMIT_S)
        return json.loads(told.splitlines()[-1]), cpu_s
    command = [str(PYTHON), "-m", "toron", "explore", f"{program}::{kernel}"]
    command += ["--seeds", f"0:{runs}", "--json"]
    _, told, cpu_s = measured(command, folder, CELL_LIMIT_S)
    clusters = json.loads(told)["failures"]
    failures = []
    for cluster in clusters:
        failure = cluster["failure"]
        text = f"{failure['message']} {failure['property']} {failure['where']}"
        failures += [{"kind": failure["kind"], "told": text}] * len(cluster["seeds"])
    return failures, cpu_s


def is_shown(bug: Any, failure: dict[str, str]) -> bool:
    """Whether a failure is the bug; every engine words a deadlock in its own way."""
    if failure["kind"] not in bug.expects:
        return False
    return failure["kind"] == "deadlock" or bug.symptom in failure["told"]


def figure(engine: str, bug: Any, sides: Any, runs: int) -> Figure:
    """The figure of one engine on one bug; NotRun when it cannot express it."""
    if sides.fixed is not None:
        kernel = bug.fixed.kernel or bug.kernel
        failures, _ = failures_of(engine, bug.path, kernel, sides.fixed.folder, TWIN_RUNS)
        wrong = [failure for failure in failures if is_shown(bug, failure)]
        if wrong or len(failures) == TWIN_RUNS:
            last = (wrong or failures)[0]["told"].strip().splitlines()[-1][:120]
            count = len(wrong or failures)
            raise NotRun(f"{count} of {TWIN_RUNS} runs of the fixed version fail: {last}")
    failures, cpu_s = failures_of(engine, bug.path, bug.kernel, sides.buggy.folder, runs)
    shown = sum(is_shown(bug, failure) for failure in failures)
    if len(failures) == runs and shown == 0:
        last = failures[0]["told"].strip().splitlines()[-1][:120]
        raise NotRun(f"every run fails in another way: {last}")
    return Figure(shown, runs, cpu_s)


@dataclass(frozen=True, slots=True)
class Sides:
    """Where the two versions of a bug are on Python 3.12; the fixed one may not be there."""

    buggy: Any
    fixed: Any | None


def sides_of(bug: Any, version: str) -> Sides:
    """The libraries of both versions for Python 3.12; NotRun when the bug is not in that Python."""
    import environments

    def place(side: Any, name: str) -> Any:
        if not any(version == told or version.startswith(f"{told}.") for told in side.pythons):
            raise NotRun(f"it needs CPython {' or '.join(side.pythons)}; this is {version}")
        try:
            return environments.place_for(bug, dataclasses.replace(side, pythons=("3.12",)), name)
        except environments.NotRun as why:
            raise NotRun(str(why)) from why

    buggy = place(bug.buggy, "buggy")
    try:
        return Sides(buggy, place(bug.fixed, "fixed"))
    except NotRun:
        return Sides(buggy, None)


def compare(bug: Any, version: str, runs: int) -> dict[str, Figure]:
    """Measure and print one bug on all engines."""
    figures: dict[str, Figure] = {}
    try:
        sides = sides_of(bug, version)
    except NotRun as why:
        print(f"{bug.id:<24} not run: {why}", flush=True)
        return figures
    for engine in ENGINES:
        try:
            found = figures[engine] = figure(engine, bug, sides, runs)
        except NotRun as why:
            print(f"{bug.id:<24} {engine:<10} not run: {why}", flush=True)
            continue
        line = f"{bug.id:<24} {engine:<10} {found.failing:>5}/{found.runs:<5}"
        print(f"{line} {found.failing / found.runs:>6.1%} {found.per_cpu_s:>9.2f}", flush=True)
    print(f"{bug.id:<24} {verdict_of(figures)}", flush=True)
    return figures


def verdict_of(figures: dict[str, Figure]) -> str:
    """Toron over the best peer, for runs and for processor time."""
    peers = [found for engine, found in figures.items() if engine != "toron"]
    ours = figures.get("toron")
    if ours is None or not peers:
        return "toron / best peer: nothing to compare"
    runs = ratio(ours.failing, max(peer.failing for peer in peers))
    cpu = ratio(ours.per_cpu_s, max(peer.per_cpu_s for peer in peers))
    return f"toron / best peer: {runs} a run, {cpu} a CPU second"


def ratio(ours: float, theirs: float) -> str:
    """One figure over another, where both may be nothing."""
    if theirs == 0:
        return "only toron" if ours else "neither"
    return f"{ours / theirs:.2f}"


def is_behind(ours: Figure, theirs: Figure) -> bool:
    """Whether the other finds more, and chance does not explain it."""
    both = (ours.failing + theirs.failing) / (ours.runs + theirs.runs)
    spread = math.sqrt(both * (1 - both) * (1 / ours.runs + 1 / theirs.runs))
    return theirs.failing / theirs.runs - ours.failing / ours.runs > CHANCE * spread


def summary_of(all_figures: dict[str, dict[str, Figure]]) -> str:
    """On how many bugs Toron does not fall short."""
    compared, alone, fewer, behind = 0, 0, 0, []
    for bug, figures in all_figures.items():
        peers = [found for engine, found in figures.items() if engine != "toron"]
        if "toron" not in figures or not peers:
            continue
        ours, best = figures["toron"], max(peers, key=lambda peer: peer.failing)
        compared += 1
        alone += ours.failing > 0 == best.failing
        if is_behind(ours, best):
            behind.append(bug)
        elif ours.failing < best.failing:
            fewer += 1
    names = f": {', '.join(behind)}" if behind else ""
    return (
        f"{compared} bugs that a peer can express: a run of toron finds as much as one of the best "
        f"peer, or more, on {compared - fewer - len(behind)} ({alone} of them no peer finds), less "
        f"but within chance on {fewer}, less on {len(behind)}{names}"
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bugs", nargs="*", metavar="BUG", help="ids, or beginnings of ids")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--cell", nargs=4, metavar=("ENGINE", "FILE", "KERNEL", "RUNS"))
    options = parser.parse_args()
    if options.cell:
        engine, file, kernel, runs = options.cell
        print(json.dumps(cell(engine, file, kernel, int(runs))))
        return 0
    made = subprocess.run(
        [str(REPOSITORY / "tools" / "make_bench_environment.sh"), str(VENV)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        print(f"zoo against peers: not run: {made.stderr.strip().splitlines()[-1]}")
        return 0
    import catalogue

    ask = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    asked = subprocess.run([str(PYTHON), "-c", ask], stdout=subprocess.PIPE, text=True, check=True)
    print(f"{'bug':<24} {'engine':<10} {'failing runs':>11} {'share':>6} {'per CPU s':>9}")
    wanted = tuple(options.bugs)
    bugs = [bug for bug in catalogue.every_bug() if not wanted or bug.id.startswith(wanted)]
    version = asked.stdout.strip()
    print(summary_of({bug.id: compare(bug, version, options.runs) for bug in bugs}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
