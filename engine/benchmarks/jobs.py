"""Prints seeds per second of explorations with one process at a time and with two, and the ratio.

Two kernels: one of a few steps, where starting an execution is nearly all of its cost, and one of
some thousands. Rounds alternate between the numbers of jobs; the ratio is taken per round. Starting
the workers, which is once for each job, is not counted. The ratio is at most the number of idle
cores, so the script prints the load of the machine too.

    python engine/benchmarks/jobs.py [--rounds N] [--jobs N]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from pathlib import Path

from toron.search.explore import Exploration, Search, explore
from toron.search.outcome import Execution
from toron.search.references import KernelRef

HERE = Path(__file__)


async def small() -> None:
    await asyncio.gather(*[asyncio.sleep(0.1 * number) for number in range(5)])


async def larger() -> None:
    async def spin() -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    await asyncio.gather(*[spin() for _ in range(20)])


SEEDS = {"small": 300, "larger": 100}


def seeds_per_second(kernel: str, jobs: int) -> float:
    """Of all seeds but the first, for each job, with which its worker starts."""
    warm, begin = 4 * jobs, 0.0

    def note(exploration: Exploration, execution: Execution) -> None:
        nonlocal begin
        assert execution.outcome.ok, execution.outcome
        if exploration.seeds_run == warm:
            begin = time.perf_counter()

    seeds = range(warm + SEEDS[kernel])
    explore(Search(KernelRef(HERE, kernel), seeds, 0, jobs=jobs), note)
    return SEEDS[kernel] / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    many_jobs, spread_of = f"{options.jobs} jobs", "ratio (least, most)"
    print(f"{'kernel':8} {'seeds/s, 1 job':>16} {many_jobs:>10} {spread_of:>22}")
    for kernel in SEEDS:
        rounds = [
            (seeds_per_second(kernel, 1), seeds_per_second(kernel, options.jobs))
            for _ in range(options.rounds)
        ]
        one, many = (statistics.median(rates) for rates in zip(*rounds, strict=True))
        ratios = [more / less for less, more in rounds]
        spread = f"({min(ratios):.2f}, {max(ratios):.2f})"
        print(f"{kernel:8} {one:16.1f} {many:10.1f} {statistics.median(ratios):9.2f} {spread:>12}")


if __name__ == "__main__":
    main()
