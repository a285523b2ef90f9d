"""Executes one kernel under seeds, on the interpreter of one side of a bug; prints one JSON object.

`python hunt.py FILE KERNEL FROM:TO [--strategy NAME] [--first] [--jobs N]`. The caller measures the
processor time of this process and its children from outside, so nothing else is done here.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toron.search.explore import Search, run_many
from toron.search.references import KernelRef

CHAOS_SEED = 0
KINDS_KEPT = 5


def hunt(options: argparse.Namespace) -> dict[str, Any]:
    """What the seeds came to; with ``first``, the seeds after the first failure are not run."""
    begin, end = map(int, options.seeds.split(":"))
    runs = 0
    failing: list[dict[str, Any]] = []
    inconclusive: dict[str, int] = {}
    reference = KernelRef(Path(options.file).resolve(), options.kernel)
    search = Search(
        reference, range(begin, end), CHAOS_SEED, jobs=options.jobs, strategy=options.strategy
    )
    for execution in run_many(search):
        outcome = execution.outcome
        runs += 1
        if outcome.verdict == "inconclusive":
            text = "no failure was recorded" if outcome.failure is None else outcome.failure.message
            inconclusive[text] = inconclusive.get(text, 0) + 1
        elif outcome.failure is not None:
            failure = {**asdict(outcome.failure), "seed": outcome.sim_seed, "token": outcome.token}
            failing.append({**failure, "strategy": outcome.strategy, "run": runs})
            if options.first:
                break
    return {
        "runs": runs,
        "failing": failing,
        "inconclusive": sum(inconclusive.values()),
        "inconclusive_why": dict(list(inconclusive.items())[:KINDS_KEPT]),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("kernel")
    parser.add_argument("seeds", metavar="FROM:TO")
    parser.add_argument("--strategy", default="portfolio")
    parser.add_argument("--first", action="store_true", help="stop at the first failure")
    parser.add_argument("--jobs", type=int, default=1)
    print(json.dumps(hunt(parser.parse_args())))


if __name__ == "__main__":
    main()
