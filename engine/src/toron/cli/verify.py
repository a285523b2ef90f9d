"""`toron verify`: execute every seed twice and compare."""

from __future__ import annotations

import argparse
import json
from typing import Any

from toron.cli import progress
from toron.cli.codes import HOLDS, INCONCLUSIVE, NONDETERMINISM
from toron.cli.options import (
    add_kernel,
    add_seeds,
    add_strategy,
    add_verb,
    chaos_seed_of,
    reference_of,
    seeds_of,
)
from toron.cli.printing import TEXT_MAX
from toron.search.references import KernelRef
from toron.search.verify import Verification, verify


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "verify", _verify, "execute every seed twice and compare")
    add_kernel(verb)
    add_seeds(verb)
    add_strategy(verb)
    verb.add_argument(
        "--hash-seeds",
        choices=["varied", "fixed"],
        default="varied",
        help="second process: another hash seed and random addresses, or the same (default varied)",
    )


def _verify(options: argparse.Namespace) -> int:
    reference, default = reference_of(options, asks_for_seeds=options.seeds is None)
    seeds, chaos_seed = seeds_of(options, default), chaos_seed_of(options)
    verification = verify(
        reference,
        seeds,
        chaos_seed,
        jobs=options.jobs,
        hash_seeds=options.hash_seeds,
        strategy=options.strategy,
        on_verified=progress.counter(f"/{len(seeds)} seeds"),
    )
    progress.clear_terminal()
    if options.json:
        print(json.dumps(verification.to_json()))
    else:
        _print_verification(verification, reference)
    if verification.first_divergence is not None:
        return NONDETERMINISM
    return INCONCLUSIVE if verification.inconclusive else HOLDS


def _print_verification(verification: Verification, reference: KernelRef) -> None:
    percent = verification.determinism_percent
    verdict = "NONDETERMINISTIC" if verification.first_divergence else "IDENTICAL"
    if verification.inconclusive and verification.first_divergence is None:
        verdict = "INCONCLUSIVE"
    print(
        f"{verdict}  {reference}  {verification.identical} of {verification.executions} executions "
        f"identical ({percent:g} %)"
    )
    first = verification.first_divergence
    if first is None:
        return
    when = (
        "under another hash seed or other addresses"
        if first.moves == "hash_seed"
        else "even under equal conditions"
    )
    print(f"  seed {first.sim_seed} behaves differently {when}")
    print(f"  at {first.where or '(no line of the program)'}, event {first.event}")
    print(f"    first   {first.first[:TEXT_MAX]}")
    print(f"    second  {first.second[:TEXT_MAX]}")
