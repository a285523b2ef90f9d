"""Executes one kernel under seeds, on the interpreter of one side of a bug; prints one JSON object.

`python hunt.py FILE KERNEL FROM:TO [--strategy NAME] [--first] [--jobs N]`. The caller measures the
processor time of this process and its children from outside, so nothing else is done here.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toron.search.explore import Exploration, Search, explore
from toron.search.outcome import Execution
from toron.search.references import KernelRef
from toron.search.strategies import DEFAULT_STRATEGY, check_strategy

CHAOS_SEED = 0
REASONS_KEPT = 5
PR_SET_PDEATHSIG = 1


class Enough(Exception):
    """The first failure is there, and no more was asked for."""


def hunt(search: Search, *, first: bool) -> dict[str, Any]:
    """What the seeds came to; with ``first``, nothing is run after the first failure."""
    runs = 0
    failing: list[dict[str, Any]] = []
    inconclusive: dict[str, int] = {}

    def take(_: Exploration, execution: Execution) -> None:
        nonlocal runs
        outcome, failure = execution.outcome, execution.outcome.failure
        runs += 1
        if outcome.verdict == "inconclusive":
            text = "no failure was recorded" if failure is None else failure.message
            inconclusive[text] = inconclusive.get(text, 0) + 1
        elif failure is not None:
            whence = {"seed": outcome.sim_seed, "run": runs, "token": outcome.token}
            failing.append({**asdict(failure), **whence, "strategy": outcome.strategy})
            if first:
                raise Enough

    try:
        if explore(search, take).interrupted:
            raise SystemExit(130)
    except Enough:
        pass
    return {
        "runs": runs,
        "failing": failing,
        "inconclusive": sum(inconclusive.values()),
        "inconclusive_why": list(inconclusive)[:REASONS_KEPT],
    }


def main() -> None:
    """The command line."""
    # A zoo that was killed must not leave a hunt of thousands of runs behind.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("kernel")
    parser.add_argument("seeds", metavar="FROM:TO")
    parser.add_argument("--strategy", default=DEFAULT_STRATEGY)
    parser.add_argument("--first", action="store_true", help="stop at the first failure")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    begin, end = map(int, options.seeds.split(":"))
    reference = KernelRef(Path(options.file).resolve(), options.kernel)
    strategy = check_strategy(options.strategy, explores=True)
    search = Search(reference, range(begin, end), CHAOS_SEED, options.jobs, strategy)
    print(json.dumps(hunt(search, first=options.first)))


if __name__ == "__main__":
    main()
