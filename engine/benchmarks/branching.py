"""Prints what forking saves: branches against replays, forks at rare states against restarts.

First, 100 branches of runs that take more than a second of CPU time, from a warm worker, at 95 %
and at 99 % of the run, against 100 replays of the same tokens from the start. Counted is the CPU
time of all processes, the run up to the fork included. With forks that cost nothing the ratios
would be 100 / (0.95 + 100 x 0.05) = 16.8 and 50.3; the program ends with 1 when a median is below
10 or 30. Every replay costs what the run costs, so a few are executed, not a hundred. The strategy
is the random walk: a portfolio draws another mixture for each branch, and those with stalls cost
half as much again for a step, which says nothing of forks.

Second, exploration: the same CPU time spent on runs that start over and on runs that are forked at
rare states (`--strategy fork`), both with the look at their states: how many states each saw, and
how many of its runs failed. There is no bound on that ratio; it is what it is.

    python engine/benchmarks/branching.py [--rounds N] [--seconds S]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from toron.search.branch import branch, reseeded
from toron.search.outcome import Execution
from toron.search.pool import Request, Worker
from toron.search.rare_search import ENERGY, FANOUT, tree_of

WORLDS = Path(__file__).parent / "programs" / "branched.py"
ZOO = Path(__file__).parents[1] / "tests" / "bug_zoo" / "programs"
KERNELS = ("network", "tasks", "memory")
BRANCHES = 100
BOUNDS = {0.95: 10.0, 0.99: 30.0}
REPLAYS = 3
EXPLORED = (
    (WORLDS, "bug_after_warm_up"),
    (ZOO / "asyncio_condition.py", "main"),
    (ZOO / "asyncio_condition.py", "quick"),
)
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_s(worker: Worker) -> float:
    """CPU time of a worker and of all processes below it that have ended, in seconds."""
    text = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(") ")[2]
    return sum(map(int, text.split()[11:15])) / _TICKS_A_SECOND


def spent(worker: Worker, work: Callable[[], object]) -> float:
    """CPU time of ``work``."""
    before = cpu_s(worker)
    work()
    return cpu_s(worker) - before


def against_replays(kernel: str, share: float) -> tuple[float, float, float]:
    """CPU seconds of a replay and of all branches, and how many times cheaper these are."""
    base = Request(kernel, 1, 0, strategy="random")
    with Worker(WORLDS) as worker:
        end_ns = worker.execute(base).outcome.virtual_ns
        at_ns = int(end_ns * share)
        salts = range(1, BRANCHES + 1)
        replays = [reseeded(base, at_ns, salt) for salt in salts[:REPLAYS]]
        one = spent(worker, lambda: [worker.execute(each) for each in replays]) / REPLAYS
        all_s = spent(worker, lambda: branch(worker, base, at_ns, salts))
    return one, all_s, BRANCHES * one / all_s


def print_branches(rounds: int) -> bool:
    """Whether every median is above its bound."""
    print(f"{BRANCHES} branches against {BRANCHES} replays, CPU seconds of all processes")
    print(f"{'world':<9} {'fork at':>7} {'replay':>7} {'branches':>9}   ratio (min..max)    bound")
    holds = True
    for kernel in KERNELS:
        for share, bound in BOUNDS.items():
            measured = [against_replays(kernel, share) for _ in range(rounds)]
            one, all_s, middle = map(statistics.median, zip(*measured, strict=True))
            ratios = sorted(ratio for _, _, ratio in measured)
            holds = holds and middle >= bound
            spread = f"{middle:.1f} ({ratios[0]:.1f}..{ratios[-1]:.1f})"
            print(
                f"{kernel:<9} {share:>7.0%} {one:>7.2f} {all_s:>9.2f}   {spread:<18} {bound:>6g}",
                flush=True,
            )
    return holds


def explored(path: Path, kernel: str, energy: int, seconds: float) -> tuple[float, int, int, int]:
    """CPU seconds, runs, states and failing runs of an exploration of about ``seconds``."""
    tree: list[Execution] = []
    with Worker(path) as worker:
        begin, seed = cpu_s(worker), 0
        while cpu_s(worker) - begin < seconds:
            tree += tree_of(worker, Request(kernel, seed, 0), energy=energy, fanout=FANOUT)
            seed += 1
        used = cpu_s(worker) - begin
    failing = sum(execution.outcome.verdict == "fail" for execution in tree)
    return used, len(tree), max(execution.states for execution in tree), failing


def print_explorations(seconds: float) -> None:
    """Runs that start over beside runs that are forked at rare states."""
    print(
        f"\nexploration, about {seconds:g} CPU seconds each: starting over | forking at rare states"
    )
    for path, kernel in EXPLORED:
        rows = [explored(path, kernel, energy, seconds) for energy in (0, ENERGY)]
        (used, _, states, failing), (used_f, _, states_f, failing_f) = rows
        per_s, per_s_f = states / used, states_f / used_f
        failing_s, failing_s_f = failing / used, failing_f / used_f
        ratio = f"{failing_s_f / failing_s:.2f}" if failing else "-"
        print(
            f"{kernel:<18} runs {rows[0][1]:>5} | {rows[1][1]:<5} states/s {per_s:>6.1f} | "
            f"{per_s_f:<6.1f} ratio {per_s_f / per_s:.2f}   failing/s {failing_s:>5.2f} | "
            f"{failing_s_f:<5.2f} ratio {ratio}",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    holds = print_branches(options.rounds)
    print_explorations(options.seconds)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
