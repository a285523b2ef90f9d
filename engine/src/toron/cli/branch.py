"""`toron branch`: fork a running world at a moment, and let each copy go on by its own chance."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from toron.cli.codes import FAILED, HOLDS, INCONCLUSIVE
from toron.cli.options import (
    SEED_HELP,
    add_kernel,
    add_verb,
    chaos_seed_of,
    reference_of,
    seed_of,
)
from toron.cli.printing import print_failure
from toron.core.clock import SECOND_NS
from toron.search.branch import Branching
from toron.search.outcome import Outcome
from toron.search.references import KernelRef
from toron.testing import branch, branches_of


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "branch", _branch, "fork a running world, each copy under its own seed")
    add_kernel(verb)
    verb.add_argument("--seed", help="the run: " + SEED_HELP.format(variable="SIM_SEED"))
    verb.add_argument(
        "--at", type=float, metavar="SECONDS", required=True, help="virtual time of the fork"
    )
    verb.add_argument(
        "--branches", type=int, metavar="N", help="branches 0 to N-1; 0 is the run itself"
    )
    verb.add_argument("--seeds", metavar="A:B", help="these branches instead, half-open")
    verb.add_argument("--jobs", type=int, default=1, metavar="N", help="branches at a time")


def _branch(options: argparse.Namespace) -> int:
    reference, _ = reference_of(options, asks_for_seeds=False)
    seed, chaos_seed = seed_of(options.seed, "SIM_SEED", "--seed"), chaos_seed_of(options)
    salts = branches_of(options.branches, options.seeds)
    done = 0

    def progress(_salt: int, _outcome: Outcome) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r{done}/{len(salts)} branches", end="", file=sys.stderr, flush=True)

    branching = branch(
        reference,
        seed=seed,
        chaos_seed=chaos_seed,
        at=options.at,
        branches=salts,
        jobs=options.jobs,
        on_branch=progress,
    )
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    if options.json:
        print(json.dumps(branching.to_json()))
    else:
        _print(branching, reference)
    if branching.failing:
        return FAILED
    return INCONCLUSIVE if branching.inconclusive else HOLDS


def _print(branching: Branching, reference: KernelRef) -> None:
    failing, unclear = len(branching.failing), len(branching.inconclusive)
    verdict = "FAIL" if failing else "INCONCLUSIVE" if unclear else "PASS"
    print(
        f"{verdict}  {reference}  seed {branching.sim_seed}, chaos seed {branching.chaos_seed}, "
        f"branched at {branching.at_ns / SECOND_NS:g} s: {len(branching.branches)} branches, "
        f"{failing} failing, {unclear} inconclusive, "
        f"{branching.distinct_digests} different behaviours  ({branching.elapsed_s:.2f} s)"
    )
    if branching.note:
        print(f"  note: {branching.note}")
    shown: dict[tuple[str, str], list[int]] = {}
    first: dict[tuple[str, str], Outcome] = {}
    for salt, outcome in zip(branching.salts, branching.branches, strict=True):
        if outcome.failure is not None:
            cause = outcome.failure.kind, outcome.failure.where
            shown.setdefault(cause, []).append(salt)
            first.setdefault(cause, outcome)
    for number, (cause, salts) in enumerate(shown.items(), 1):
        listed = ", ".join(map(str, salts[:8])) + (" …" if len(salts) > 8 else "")
        print(f"\n#{number}  {len(salts)} branches: {listed}")
        print_failure(first[cause])
        print(f"    replay: toron replay {first[cause].token}")
