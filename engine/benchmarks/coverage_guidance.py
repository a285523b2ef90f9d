"""Prints whether coverage guidance finds more for its CPU time than the strategies that there are.

The experiment behind ADR 0032. A corpus is kept of the tapes of runs that reached something new: an
edge of the code in a state (where the tasks of the host wait), as American Fuzzy Lop keeps inputs.
They are mutated: left to another seed from some choice on, often the one at which the new thing was
reached; deviations dropped, changed, added at random, or taken from another tape. A share of the
runs is of the portfolio. Edges come from `sys.monitoring`, and before Python 3.12 from
`sys.settrace`; `guidance/following.py` is the worker.

The hunt for the first failure of each bug is repeated with each strategy, over other seeds each
time and bounded. A find costs all that was spent, divided by the finds; a ratio above 1 means that
guidance is cheaper than the portfolio. `followed` is the portfolio with what following costs.
After that, the distinct states that each strategy reaches in a CPU second. There is no bound on any
ratio: they are what they are. By default a short version of that; the ADR has the command for all.

    python engine/benchmarks/coverage_guidance.py [BUG...] [--repeats N] [--runs N] [--seconds S]
        [--strategies S...] [--states S]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toron.core.tape import Deviation
from toron.search.outcome import Execution
from toron.search.pool import Request, Worker
from toron.search.rare_search import RareSearch, search_rare
from toron.search.strategies import DEFAULT_STRATEGY

HERE = Path(__file__).resolve()
REPOSITORY = HERE.parents[2]
FOLLOWING = HERE.parent / "guidance" / "following.py"
BROKEN_LOG = HERE.parent / "guidance" / "broken_log.py"
CORE = REPOSITORY / "sim" / "kernels" / "regression_core"
sys.path.insert(0, str(REPOSITORY / "engine" / "tests" / "bug_zoo"))

QUICK = ("asyncio-condition-quick", "asyncio-taskgroup-shutdown")
LOG = "broken-log"
DEEP = ("replicated_log", "leader_election", "bank_transfers")
STRATEGIES = ("portfolio", "fork", "coverage")
GUIDES = {"coverage": "pairs", "states": "states", "followed": "pairs"}
WARM_UP = 8
"""Runs of the portfolio before the first mutation."""
FRESH = 0.3
"""The share of the portfolio after them."""
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


# What to run next


@dataclass(frozen=True, slots=True)
class Guided(Request):
    """A request, with what becomes of a tape."""

    plan: dict[str, Any] | None = None
    forgets: bool = False


class GuidedWorker(Worker):
    """A worker that follows what its runs reach, and keeps what else it answers."""

    guide = "none"
    answer: dict[str, Any]

    def _spawn(self, command: list[str], inherited: list[int]) -> subprocess.Popen[bytes]:
        at = command.index("-m")
        command = [*command[:at], str(FOLLOWING), self.guide, *command[at + 2 :]]
        return super()._spawn(command, inherited)

    def execution_from(self, answer: dict[str, Any], request: Request) -> Execution:
        """See `Worker`."""
        self.answer = answer
        return super().execution_from(answer, request)


@dataclass(slots=True)
class Entry:
    """A run that reached something new."""

    sim_seed: int
    tape: list[Deviation]
    asked: int
    """How many choices it made."""
    moments: list[int]
    """How many of them, when it reached each new thing."""
    tries: int = 0
    finds: int = 0

    @property
    def energy(self) -> float:
        """More for what is newer, or has led to what is new; less with each try."""
        return (1 + math.log2(len(self.moments)) + 4 * self.finds) / (1 + self.tries)


@dataclass(slots=True)
class Corpus:
    """Proposes runs and learns from them."""

    seeds: Iterator[int]
    dice: random.Random
    fresh: float
    entries: list[Entry] = field(default_factory=list)
    proposed: int = 0

    def propose(self) -> tuple[int, dict[str, Any], Entry | None]:
        """The program's seed, a plan for the choices, and the entry that it is made of."""
        seed = next(self.seeds)
        self.proposed += 1
        if self.proposed <= WARM_UP or not self.entries or self.dice.random() < self.fresh:
            return seed, {"seed": seed, "tape": [], "until": 0, "noise": 0.0}, None
        energies = [entry.energy for entry in self.entries]
        entry = self.dice.choices(self.entries, energies)[0]
        entry.tries += 1
        return entry.sim_seed, {"seed": seed, **self._mutated(entry)}, entry

    def learn(self, sim_seed: int, parent: Entry | None, answer: dict[str, Any]) -> None:
        """Keep the run if it reached something new."""
        if answer["new"] and answer["asked"]:
            tape = [(key, value) for key, value in answer["tape"]]
            self.entries.append(Entry(sim_seed, tape, answer["asked"], answer["new"]))
            if parent is not None:
                parent.finds += 1

    def _mutated(self, entry: Entry) -> dict[str, Any]:
        dice, tape, until, noise = self.dice, entry.tape, entry.asked, 0.0
        kind = dice.randrange(8)
        if kind < 2:
            until = dice.randrange(entry.asked)
        elif kind < 4:
            until = dice.choice(entry.moments) + dice.choice((-4, -1, 0, 0, 1, 4))
        elif kind == 4:
            dropped = dice.choice((1 / 16, 1 / 4, 1 / 2))
            tape = [one for one in tape if dice.random() >= dropped]
        elif kind == 5:
            noise = dice.choice((1 / 64, 1 / 16, 1 / 4))
        elif kind == 6:
            other = dice.choice(self.entries).tape
            tape = tape[: dice.randrange(len(tape) + 1)] + other[dice.randrange(len(other) + 1) :]
        else:
            tape = [self._changed(one) for one in tape]
        return {"tape": tape, "until": until, "noise": noise}

    def _changed(self, one: Deviation) -> Deviation:
        key, value = one
        return (key, self.dice.randrange(2 * value + 2)) if self.dice.random() < 1 / 8 else one


def guided(lane: GuidedWorker, name: str, seeds: range, fresh: float) -> Iterator[Execution]:
    """Runs out of a corpus; all are of the portfolio when everything is fresh."""
    corpus = Corpus(iter(seeds), random.Random(seeds.start), fresh)
    for _ in seeds:
        sim_seed, plan, parent = corpus.propose()
        execution = lane.execute(Guided(name, sim_seed, 0, plan=plan), forgives=False)
        corpus.learn(sim_seed, parent, lane.answer)
        yield execution


def runs_of(strategy: str, lane: GuidedWorker, name: str, seeds: range) -> Iterator[Execution]:
    """What a strategy executes, at most a run for each seed."""
    if strategy == "fork":
        yield from search_rare(RareSearch(name, seeds, 0, DEFAULT_STRATEGY), lambda _: lane)
    elif strategy == "portfolio":
        for seed in seeds:
            yield lane.execute(Request(name, seed, 0), forgives=False)
    else:
        yield from guided(lane, name, seeds, 1.0 if strategy == "followed" else FRESH)


# In a process with the interpreter and the libraries of a bug


@dataclass(frozen=True, slots=True)
class Hunt:
    """What is hunted, and for how long."""

    file: str
    kernel: str
    strategies: list[str]
    repeats: int
    runs: int
    seconds: float
    counts: bool = False
    """Whether to count states for all of the time, instead of ending at the first failure."""


def cpu_s(lane: Worker) -> float:
    """CPU time of this process, and of a worker with all below it that have ended."""
    text = Path(f"/proc/{lane.pid}/stat").read_text().rpartition(") ")[2]
    return time.process_time() + sum(map(int, text.split()[11:15])) / _TICKS_A_SECOND


def once(hunt: Hunt, strategy: str, lane: GuidedWorker, seeds: range) -> dict[str, Any]:
    """One hunt, which knows nothing of those before it."""
    lane.execute(Guided(hunt.kernel, 0, 0, forgets=True))
    begin, runs, failed = cpu_s(lane), 0, None
    for execution in runs_of(strategy, lane, hunt.kernel, seeds):
        runs += 1
        if execution.outcome.verdict == "fail":
            failed = failed or execution
        if (failed and not hunt.counts) or cpu_s(lane) - begin > hunt.seconds:
            break
    used, distinct = cpu_s(lane) - begin, lane.answer["distinct"]
    told = {"strategy": strategy, "runs": runs, "cpu_s": used, "states": distinct, "failure": None}
    if failed is not None:
        told["failure"] = {**failed.outcome.to_json()["failure"], "replays": True}
        if strategy == "coverage":
            told["failure"]["replays"] = _replays(failed, lane)
    return told


def _replays(failed: Execution, lane: GuidedWorker) -> bool:
    outcome = failed.outcome
    request = Request(outcome.kernel, outcome.sim_seed, 0, tape=tuple(failed.tape))
    return lane.execute(request).outcome.trace_digest == outcome.trace_digest


def hunt_here(hunt: Hunt) -> None:
    """All repetitions, the strategies by turns, so that they meet the same noise."""
    lanes = {strategy: GuidedWorker(Path(hunt.file)) for strategy in hunt.strategies}
    for strategy, lane in lanes.items():
        lane.guide = GUIDES.get(strategy, "states" if hunt.counts else "none")
    for repeat in range(hunt.repeats):
        seeds = range(repeat * 1_000_000, repeat * 1_000_000 + hunt.runs)
        for strategy, lane in lanes.items():
            print(json.dumps(once(hunt, strategy, lane, seeds)), flush=True)
    for lane in lanes.values():
        lane.stop()


# The table


@dataclass(slots=True)
class Spent:
    """What one strategy spent on one bug."""

    runs: int = 0
    cpu_s: float = 0.0
    finds: int = 0
    states: int = 0

    def __str__(self) -> str:
        if not self.finds:
            return f"no find in {self.runs} runs, {self.cpu_s:.1f} s"
        return f"{self.finds:>3} {self.runs / self.finds:>6.1f} {self.cpu_s / self.finds:>7.2f}"


def spells(python: str, environment: dict[str, str], hunt: Hunt) -> Iterator[dict[str, Any]]:
    """What the process of a hunt tells."""
    fields = {name: getattr(hunt, name) for name in Hunt.__slots__}
    command = [python, str(HERE), "--hunt", json.dumps(fields)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"the hunt in {hunt.file} ended with {process.returncode}")


def place_of(name: str) -> tuple[str, dict[str, str], str, str, Any]:
    """Interpreter, environment, file and kernel of a target, and the bug if it is of the zoo."""
    from catalogue import every_bug
    from environments import Place, interpreter, place_for

    bug = next((bug for bug in every_bug() if bug.id == name), None)
    if bug is not None:
        # One with `sys.monitoring`, if the bug shows there.
        pythons = [python for python in bug.buggy.pythons if python.startswith("3.12")]
        side = replace(bug.buggy, pythons=tuple(pythons) or bug.buggy.pythons)
        place = place_for(bug, side, "buggy")
        return place.python, place.environment(), str(bug.path), bug.kernel, bug
    python, version = interpreter(("3.12", "3.13", "3.11"))
    environment = Place(python, version, None).environment()
    environment["PYTHONPATH"] += os.pathsep + str(REPOSITORY)
    if name == LOG:
        return python, environment, str(BROKEN_LOG), "one_decides", None
    if name in DEEP:
        return python, environment, str(CORE / f"{name}.py"), name, None
    raise SystemExit(f"{name} is no bug of the zoo, nor one of {', '.join((LOG, *DEEP))}")


def measured(name: str, options: argparse.Namespace, *, counts: bool = False) -> dict[str, Spent]:
    """What each strategy spent on a target."""
    python, environment, file, kernel, bug = place_of(name)
    strategies = options.strategies
    hunt = Hunt(file, kernel, strategies, options.repeats, options.runs, options.seconds)
    if counts:
        hunt = Hunt(file, kernel, strategies, 1, 1_000_000, options.states, counts=True)
    rows = {strategy: Spent() for strategy in options.strategies}
    for told in spells(python, environment, hunt):
        row, failure = rows[told["strategy"]], told["failure"]
        row.runs += told["runs"]
        row.cpu_s += told["cpu_s"]
        row.states += told["states"]
        if failure is not None and (bug is None or bug.is_shown_by(failure)):
            row.finds += 1
            if not failure["replays"]:
                raise SystemExit(f"{name}: a failure of coverage does not replay from its tape")
    return rows


def print_hunts(options: argparse.Namespace) -> None:
    """Runs and CPU seconds a find, and the ratios to the portfolio."""
    from environments import NotRun

    others = [strategy for strategy in options.strategies if strategy != "portfolio"]
    columns = "".join(f"{strategy + ' finds, runs, CPU s':<32}" for strategy in options.strategies)
    print(f"{'bug':<28}{columns}portfolio's CPU s over {', '.join(others)}")
    logs: dict[str, list[float]] = {strategy: [] for strategy in others}
    for name in options.bugs:
        try:
            rows = measured(name, options)
        except NotRun as why:
            print(f"{name:<28}not run: {why}")
            continue
        base, ratios = rows["portfolio"], []
        for strategy in others:
            row = rows[strategy]
            if base.finds and row.finds:
                ratio = base.cpu_s / base.finds / (row.cpu_s / row.finds)
                logs[strategy].append(math.log(ratio))
                ratios.append(f"{ratio:.2f}")
            else:
                ratios.append("-")
        told = "".join(f"{rows[strategy]!s:<32}" for strategy in options.strategies)
        print(f"{name:<28}{told}{', '.join(ratios)}", flush=True)
    for strategy, values in logs.items():
        if values:
            mean = math.exp(sum(values) / len(values))
            print(f"geometric mean for {strategy}: {mean:.2f} over {len(values)} bugs")


def print_states(options: argparse.Namespace) -> None:
    """Distinct states a CPU second."""
    print(f"\ndistinct states of hosts, about {options.states:g} CPU seconds each: runs, states/s")
    for name in DEEP:
        rows = measured(name, options, counts=True)
        told = "   ".join(
            f"{strategy} {row.runs:>4} {row.states / row.cpu_s:>7.1f}"
            for strategy, row in rows.items()
        )
        print(f"{name:<28}{told}", flush=True)


def main() -> int:
    if sys.argv[1:2] == ["--hunt"]:
        hunt_here(Hunt(**json.loads(sys.argv[2])))
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("bugs", nargs="*", default=QUICK)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--states", type=float, default=2, help="CPU seconds; 0: no states")
    options = parser.parse_args()
    if "portfolio" not in options.strategies:
        parser.error("--strategies: the portfolio is what the others are compared with")
    print_hunts(options)
    if options.states:
        print_states(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
