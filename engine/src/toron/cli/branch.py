"""`toron branch`: fork a running world at a moment, and let each copy go on by its own chance."""

from __future__ import annotations

import argparse
import json
from typing import Any

from toron.cli import progress
from toron.cli.codes import FAILED, HOLDS, INCONCLUSIVE, INTERRUPTED
from toron.cli.options import (
    SEED_HELP,
    add_kernel,
    add_strategy,
    add_verb,
    chaos_seed_of,
    reference_of,
    seed_of,
)
from toron.cli.printing import print_failure
from toron.core.clock import SECOND_NS
from toron.errors import BadKernel
from toron.search.branch import Branching
from toron.search.inevitable import Inevitability, seconds
from toron.search.references import KernelRef
from toron.testing import branch, branches_of, inevitable

BAR_WIDTH = 40


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "branch", _branch, "fork a running world, each copy under its own seed")
    add_kernel(verb)
    add_strategy(verb)
    verb.add_argument("--seed", help="the run: " + SEED_HELP.format(variable="SIM_SEED"))
    verb.add_argument("--at", type=float, metavar="SECONDS", help="virtual time of the fork")
    verb.add_argument(
        "--branches", type=int, metavar="N", help="branches 0 to N-1; 0 is the run itself"
    )
    verb.add_argument("--seeds", metavar="A:B", help="these branches instead, half-open")
    verb.add_argument(
        "--inevitable",
        action="store_true",
        help="of a run that fails: from when on does every branch fail?",
    )
    verb.add_argument(
        "--points", type=int, default=12, metavar="N", help="moments of --inevitable (default 12)"
    )
    verb.add_argument("--jobs", type=int, default=1, metavar="N", help="branches at a time")


def _branch(options: argparse.Namespace) -> int:
    reference, _ = reference_of(options, asks_for_seeds=False)
    seed, chaos_seed = seed_of(options.seed, "SIM_SEED", "--seed"), chaos_seed_of(options)
    if options.inevitable:
        return _inevitable(options, reference, seed, chaos_seed)
    if options.at is None:
        raise BadKernel("--at SECONDS is missing: when to fork the run (or ask for --inevitable)")
    salts = branches_of(options.branches, options.seeds)
    branching = branch(
        reference,
        seed=seed,
        chaos_seed=chaos_seed,
        strategy=options.strategy,
        at=options.at,
        branches=salts,
        jobs=options.jobs,
        on_branch=progress.counter(f"/{len(salts)} branches"),
    )
    progress.clear_terminal()
    if options.json:
        print(json.dumps(branching.to_json()))
    else:
        _print(branching, reference)
    if branching.interrupted:
        return INTERRUPTED
    if branching.failing:
        return FAILED
    return INCONCLUSIVE if branching.inconclusive else HOLDS


def _inevitable(
    options: argparse.Namespace, reference: KernelRef, seed: int, chaos_seed: int
) -> int:
    if options.at is not None or options.seeds is not None:
        raise BadKernel("--inevitable chooses the moments itself; leave out --at and --seeds")
    found = inevitable(
        reference,
        seed=seed,
        chaos_seed=chaos_seed,
        strategy=options.strategy,
        points=options.points,
        branches=20 if options.branches is None else options.branches,
        jobs=options.jobs,
        on_point=progress.counter(" moments"),
    )
    progress.clear_terminal()
    if options.json:
        print(json.dumps(found.to_json()))
    else:
        _print_inevitability(found, reference)
    return FAILED


def _print_inevitability(found: Inevitability, reference: KernelRef) -> None:
    outcome = found.outcome
    failure = outcome.failure
    assert failure is not None
    print(f"FAIL  {reference}  seed {outcome.sim_seed}, chaos seed {outcome.chaos_seed}")
    print_failure(outcome)
    print(f"\n  failure rate of branches by the time of the fork ({found.curve[0].branches} each)")
    for point in found.curve:
        share = point.failing / point.branches
        bar = "█" * round(share * BAR_WIDTH)
        print(f"  {seconds(point.at_ns):>16}  {share:>4.0%}  {bar}")
    print(f"  {seconds(failure.virtual_ns):>16}  the run fails")
    moment, before = found.moment, found.before
    if moment is None:
        print("\n  at no moment before the failure did every branch fail")
    elif before is None:
        print(f"\n  lost from the start: all {moment.branches} branches fail whatever comes")
    else:
        print(
            f"\n  inevitable from {seconds(moment.now_ns)} on: all {moment.branches} branches "
            f"fail; from {seconds(before.now_ns)} only {before.failing} of {before.branches} did"
        )
        print("  what happened between:")
        for event in found.events:
            print(f"    {event.text}   {event.where}")
    if not found.forked:
        print("  note: the program has threads; branches were executed from the start")
    print(f"  replay  toron replay {outcome.token}   ({found.elapsed_s:.2f} s)")


def _print(branching: Branching, reference: KernelRef) -> None:
    failing, unclear = len(branching.failing), len(branching.inconclusive)
    verdict = "FAIL" if failing else "INCONCLUSIVE" if unclear else "PASS"
    verdict = "INTERRUPTED" if branching.interrupted else verdict
    print(
        f"{verdict}  {reference}  seed {branching.sim_seed}, chaos seed {branching.chaos_seed}, "
        f"branched at {branching.at_ns / SECOND_NS:g} s: {len(branching.branches)} branches, "
        f"{failing} failing, {unclear} inconclusive, "
        f"{branching.distinct_digests} different behaviours  ({branching.elapsed_s:.2f} s)"
    )
    if branching.note:
        print(f"  note: {branching.note}")
    for number, group in enumerate(branching.causes(), 1):
        salts = [salt for salt, _ in group]
        listed = ", ".join(map(str, salts[:8])) + (" …" if len(salts) > 8 else "")
        print(f"\n#{number}  {len(salts)} branches: {listed}")
        print_failure(group[0][1])
        print(f"    replay: toron replay {group[0][1].token}")
