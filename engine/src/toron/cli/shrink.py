"""`toron shrink`: the same failure with fewer and smaller deviations from the harmless run."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from toron.cli.codes import BY_VERDICT, INTERRUPTED, NONDETERMINISM
from toron.cli.options import add_jobs, add_verb
from toron.cli.printing import print_outcome
from toron.search.shrink import BUDGET_RUNS, NotReproduced, Shrunk
from toron.search.shrink_words import words_of
from toron.testing import shrunk


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "shrink", _shrink, "make the failure of a token as simple as possible")
    verb.add_argument("token", metavar="TOKEN")
    verb.add_argument(
        "--budget",
        type=int,
        default=BUDGET_RUNS,
        metavar="RUNS",
        help=f"executions at most (default {BUDGET_RUNS})",
    )
    add_jobs(verb)


def _shrink(options: argparse.Namespace) -> int:
    try:
        result = shrunk(options.token, budget=options.budget, jobs=options.jobs)
    except NotReproduced as error:
        print(f"toron: {error}", file=sys.stderr)
        if options.json:
            print(json.dumps({"error": str(error), "exit": NONDETERMINISM}))
        return NONDETERMINISM
    if options.json:
        print(json.dumps(result.to_json()))
    else:
        _print(result)
    return INTERRUPTED if result.interrupted else BY_VERDICT[result.outcome.verdict]


def _print(result: Shrunk) -> None:
    print_outcome(result.outcome, as_json=False)
    left = len(result.deviations)
    state = "" if result.finished else ", and the budget ended it"
    if result.interrupted:
        state = ", and it was interrupted"
    print(f"\n{left} of {result.before} deviations are left after {result.runs} runs{state}")
    if not left:
        print("  it fails on asyncio's own order, without any delay or fault")
    for number, (key, value) in enumerate(result.deviations, 1):
        print(f"  {number}. {words_of(key, value)}")
    for outcome in result.also_found:
        assert outcome.failure is not None
        print(f"  also found: {outcome.failure.cause}")
        print(f"    replay: toron replay {outcome.token}")
