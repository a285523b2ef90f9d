"""Hunts every bug of the zoo in its buggy version, and shows that its fixed version stays clean.

`python zoo.py [BUG...] [--runs N] [--seeds FROM:TO] [--share N] [--clean-max N] [--jobs N]
[--strategy NAME] [--no-shrink] [--json] [--list]`

For each bug: how many runs and processor seconds until it was found (the start of the processes
included), in what share of the runs, how many deviations from asyncio's own order are left of it
after shrinking, and that the fixed version is clean in ten times as many runs. Exit 0 when all of
them hold, 1 when a bug was not found or a fixed version was not clean, 4 when something could not
run here: it is `not run`, and counts neither as found nor as clean.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toron.search.strategies import DEFAULT_STRATEGY, EXPLORED

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from catalogue import Bug, every_bug  # noqa: E402  (the folder of this file, however it is loaded)
from environments import ROOT, NotRun, Place, place_for  # noqa: E402

RUNS, SHARE, CLEAN_MAX, CLEAN_MIN, CLEAN_FACTOR = 2_000, 300, 3_000, 100, 10
HUNT_LIMIT_S = 3_600.0


@dataclass(slots=True)
class Row:
    """What one bug came to."""

    bug: str
    library: str
    issue: str
    python: str = ""
    fixed_python: str = ""
    found: bool = False
    runs_to_first: int | None = None
    cpu_s_to_first: float | None = None
    strategy: str = ""
    failing: int = 0
    runs: int = 0
    other_failures: list[str] = field(default_factory=list)
    failure: str = ""
    token: str = ""
    deviations: int | None = None
    shrinking: str = "not shrunk"
    clean_runs: int = 0
    fixed_failures: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether what could run is not as it should be."""
        return (self.runs > 0 and not self.found) or bool(self.fixed_failures)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much to run."""

    seeds: range
    share: int
    clean_max: int
    jobs: int
    strategy: str
    shrinks: bool = True


@dataclass(frozen=True, slots=True)
class Hunted:
    """The answer of one process of `hunt.py`, and the processor time of all its processes."""

    answer: dict[str, Any]
    cpu_s: float


def hunt(
    bug: Bug,
    place: Place,
    seeds: range,
    budget: Budget,
    *,
    first: bool = False,
    kernel: str = "",
) -> Hunted:
    """Execute a bug's program under ``seeds`` at ``place``."""
    command = [place.python, HERE / "hunt.py", bug.path, kernel or bug.kernel]
    command += [f"{seeds.start}:{seeds.stop}", "--strategy", budget.strategy]
    # One process at a time until the first failure: what others do meanwhile would be counted.
    command += ["--first"] if first else ["--jobs", budget.jobs]
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            [*map(str, command)],
            stdout=told,
            stderr=complaints,
            env=place.environment(),
            cwd=ROOT,
        )
        _, status, used = os.wait4(process.pid, 0)  # only this tells what its children used
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        complaints.seek(0)
        if process.returncode != 0:
            last = (complaints.read().strip() or "no message").splitlines()[-1]
            raise NotRun(f"the hunt ended with {process.returncode}: {last}")
        return Hunted(json.load(told), used.ru_utime + used.ru_stime)


def measure(bug: Bug, budget: Budget) -> Row:
    """Hunt one bug and watch its twin."""
    row = Row(bug.id, bug.library, bug.issue)
    try:
        place = place_for(bug, bug.buggy, "buggy")
        row.python = place.version
        _find(row, bug, place, budget)
    except NotRun as why:
        row.not_run.append(f"buggy version: {why}")
    try:
        twin = place_for(bug, bug.fixed, "fixed")
        row.fixed_python = twin.version
        _watch_twin(row, bug, twin, budget)
    except NotRun as why:
        row.not_run.append(f"fixed version: {why}")
    return row


def _find(row: Row, bug: Bug, place: Place, budget: Budget) -> None:
    cpu_s, seeds = 0.0, budget.seeds
    while len(seeds) and not row.found:
        hunted = hunt(bug, place, seeds, budget, first=True)
        cpu_s += hunted.cpu_s
        seeds = seeds[hunted.answer["runs"] :]
        _count(row, bug, hunted.answer)
        if row.found:
            row.runs_to_first, row.cpu_s_to_first = row.runs, round(cpu_s, 2)
    rest = seeds[: max(0, budget.share - row.runs)]
    if len(rest):
        _count(row, bug, hunt(bug, place, rest, budget).answer)
    if row.found and budget.shrinks:
        row.deviations, row.shrinking = shrunk(row.token, place)


def _count(row: Row, bug: Bug, answer: dict[str, Any]) -> None:
    row.runs += answer["runs"]
    for failure in answer["failing"]:
        if not bug.is_shown_by(failure):
            row.other_failures.append(_brief(failure))
            continue
        row.failing += 1
        if not row.found:
            row.found, row.failure, row.token = True, _brief(failure), failure["token"]
            row.strategy = failure["strategy"]


def _watch_twin(row: Row, bug: Bug, twin: Place, budget: Budget) -> None:
    wanted = CLEAN_FACTOR * (row.runs_to_first or CLEAN_MIN)
    count = min(max(wanted, CLEAN_MIN), budget.clean_max)
    seeds = range(budget.seeds.start, budget.seeds.start + count)
    answer = hunt(bug, twin, seeds, budget, kernel=bug.fixed.kernel).answer
    row.clean_runs = answer["runs"] - len(answer["failing"]) - answer["inconclusive"]
    row.fixed_failures = [_brief(failure) for failure in answer["failing"]]
    row.fixed_failures += [f"inconclusive: {why}" for why in answer["inconclusive_why"]]


def _brief(failure: dict[str, Any]) -> str:
    return f"{failure['kind']}: {failure['message'][:200]} (seed {failure['seed']})"


def shrunk(token: str, place: Place) -> tuple[int | None, str]:
    """How many deviations are left of a failure, and how that was learned."""
    toron = [place.python, "-m", "toron"]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*toron, "shrink", *arguments],
            env=place.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=HUNT_LIMIT_S,
        )

    if call("--help").returncode != 0:
        return None, "not shrunk: this Toron has no `shrink`"
    done = call(token, "--json")
    try:
        told = json.loads(done.stdout)
        return len(told["deviations"]), "shrunk"
    except (ValueError, KeyError):
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        return None, f"not shrunk: {last}"


# The table

HEADING = (
    "bug",
    "python",
    "first at run",
    "CPU s",
    "failing",
    "strategy",
    "deviations",
    "fixed version",
)
WIDTHS = (28, 8, 14, 8, 18, 14, 12, 0)


def line_of(cells: tuple[str, ...]) -> str:
    """One line of the table."""
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True))
    return " ".join(padded).rstrip()


def cells_of(row: Row) -> tuple[str, ...]:
    """A row as text."""
    if row.found:
        first, cpu = str(row.runs_to_first), f"{row.cpu_s_to_first:.2f}"
    else:
        first, cpu = ("not run" if not row.runs else f"not in {row.runs}"), "-"
    share = f"{row.failing}/{row.runs} ({row.failing / row.runs:.1%})" if row.runs else "-"
    deviations = "not shrunk" if row.deviations is None else str(row.deviations)
    if not row.found:
        deviations = "-"
    if row.fixed_failures:
        twin = f"NOT CLEAN: {len(row.fixed_failures)} of {_twin_runs(row)} runs"
    else:
        twin = f"clean in {row.clean_runs} runs" if row.clean_runs else "not run"
    return row.bug, row.python or "-", first, cpu, share, row.strategy or "-", deviations, twin


def _twin_runs(row: Row) -> int:
    return row.clean_runs + len(row.fixed_failures)


def remarks_of(row: Row) -> list[str]:
    """What has to be said below its line."""
    remarks = [f"not run: {why}" for why in row.not_run]
    remarks += [f"another failure: {text}" for text in row.other_failures[:2]]
    remarks += [f"fixed version: {text}" for text in row.fixed_failures[:2]]
    if row.found:
        remarks.append(f"{row.failure}")
        if row.deviations is None:
            remarks.append(row.shrinking)
    return remarks


def summary_of(rows: list[Row], budget: Budget) -> str:
    """The last line before the exit code."""
    ran = [row for row in rows if not row.not_run]
    found = sum(row.found for row in ran)
    dirty = sum(bool(row.fixed_failures) for row in rows)
    return (
        f"{found} of {len(ran)} bugs found within {len(budget.seeds)} runs each, "
        f"{dirty} fixed versions not clean, {len(rows) - len(ran)} not run"
    )


def options_of(arguments: list[str]) -> argparse.Namespace:
    """The command line as values."""
    parser = argparse.ArgumentParser(description="the bug zoo of Toron")
    parser.add_argument("bugs", nargs="*", metavar="BUG", help="ids, or beginnings of ids")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"the bound (default {RUNS})")
    parser.add_argument("--seeds", metavar="FROM:TO", help="instead of --runs")
    parser.add_argument("--share", type=int, default=SHARE, help="runs for the share that fails")
    parser.add_argument("--clean-max", type=int, default=CLEAN_MAX, help="most runs of a twin")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--strategy", choices=EXPLORED, default=DEFAULT_STRATEGY)
    parser.add_argument("--no-shrink", action="store_true", help="count no deviations")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--list", action="store_true", help="the entries, and nothing is run")
    return parser.parse_args(arguments)


def budget_of(options: argparse.Namespace) -> Budget:
    """What the options allow; SystemExit 2 on nonsense."""
    begin, _, end = (options.seeds or f"0:{options.runs}").partition(":")
    if not (begin.isdecimal() and end.isdecimal() and int(begin) < int(end)):
        raise SystemExit(_complain(f"--seeds {options.seeds}: FROM:TO with FROM below TO"))
    if options.share < 0 or options.clean_max < 1 or options.jobs < 1:
        raise SystemExit(_complain("--share is at least 0, --clean-max and --jobs at least 1"))
    seeds = range(int(begin), int(end))
    shrinks = not options.no_shrink
    return Budget(seeds, options.share, options.clean_max, options.jobs, options.strategy, shrinks)


def _complain(text: str) -> int:
    print(f"zoo: {text}", file=sys.stderr)
    return 2


def main(arguments: list[str], say: Callable[[str], None] = print) -> int:
    """The command line."""
    options = options_of(arguments)
    budget = budget_of(options)
    wanted = tuple(options.bugs)
    bugs = [bug for bug in every_bug() if not wanted or bug.id.startswith(wanted)]
    if not bugs:
        return _complain(f"no bug begins with {' or '.join(wanted)}; --list names them")
    if options.list:
        for bug in bugs:
            say(f"{bug.id:<28} {bug.library:<36} {bug.issue}")
        return 0
    rows = []
    if not options.json:
        say(line_of(HEADING))
    for bug in bugs:
        row = measure(bug, budget)
        rows.append(row)
        if not options.json:
            say(line_of(cells_of(row)))
            for remark in remarks_of(row):
                say(f"    {remark}")
    if options.json:
        say(json.dumps({"bugs": [asdict(row) for row in rows], "runs_max": len(budget.seeds)}))
    else:
        say(summary_of(rows, budget))
    if any(row.has_failed for row in rows):
        return 1
    return 4 if any(row.not_run for row in rows) else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:]))
