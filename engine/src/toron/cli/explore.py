"""`toron explore`: execute a kernel under many seeds."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from toron.cli import progress
from toron.cli.codes import FAILED, HOLDS, INCONCLUSIVE, INTERRUPTED
from toron.cli.options import (
    add_kernel,
    add_seeds,
    add_strategy,
    add_verb,
    chaos_seed_of,
    reference_of,
    seeds_of,
)
from toron.cli.printing import print_failure, property_line
from toron.errors import BadKernel
from toron.search.explain.labels import label_failures
from toron.search.explore import Exploration, Search, explore
from toron.search.references import KernelRef
from toron.search.strategies import EXPLORED


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "explore", _explore, "execute a kernel under many seeds")
    add_kernel(verb)
    add_seeds(verb)
    add_strategy(verb, EXPLORED)
    verb.add_argument(
        "--beyond",
        action="store_true",
        help="also what stock asyncio would not do (cancellation: tasks that nobody cancels)",
    )
    verb.add_argument(
        "--stream",
        action="store_true",
        help="JSON, an event a line as it happens: run, failure (a new cause), end",
    )


def _explore(options: argparse.Namespace) -> int:
    reference, default = reference_of(options, asks_for_seeds=options.seeds is None)
    seeds, chaos_seed = seeds_of(options, default), chaos_seed_of(options)
    if options.json and options.stream:
        raise BadKernel("--json is one object, --stream many lines: give one of them")
    varies = options.chaos_seed is None and "CHAOS_SEED" not in os.environ
    search = Search(
        reference, seeds, chaos_seed, options.jobs, options.strategy, options.beyond, varies
    )
    exploration = explore(
        search, progress.as_events if options.stream else progress.on_terminal(len(seeds))
    )
    label_failures(exploration, reference)
    progress.clear_terminal()
    if options.stream:
        progress.emit("end", **exploration.to_json())
    elif options.json:
        print(json.dumps(exploration.to_json()))
    else:
        _print_exploration(exploration, reference)
    if exploration.interrupted:
        return INTERRUPTED
    if exploration.failing_seeds:
        return FAILED
    unclear = exploration.inconclusive_seeds or exploration.learned_nothing
    return INCONCLUSIVE if unclear else HOLDS


def _print_exploration(exploration: Exploration, reference: KernelRef) -> None:
    failing, unclear = len(exploration.failing_seeds), len(exploration.inconclusive_seeds)
    rate = exploration.to_json()["seeds_per_second"]
    is_unclear = unclear or exploration.learned_nothing
    verdict = "FAIL" if failing else "INCONCLUSIVE" if is_unclear else "PASS"
    if exploration.interrupted:
        verdict = "INTERRUPTED"
    # What enumerates takes one seed, and counts its runs from the first on.
    unit = "seeds" if exploration.bound is None else "runs"
    counts = f"{exploration.seeds_run} {unit}, {failing} failing, {unclear} inconclusive"
    print(f"{verdict}  {reference}  {counts}  ({rate:g} seeds/s)")
    if exploration.bound is not None:
        print(f"  {exploration.strategy}: {exploration.bound}")
    for name, counted in exploration.properties.items():
        print(f"  {property_line(name, counted)}")
    for name in exploration.never_reached:
        kind = exploration.properties[name]["kind"]
        print(f"  warning: {kind} {name!r} was not seen in any of {exploration.seeds_run} runs")
    for number, cluster in enumerate(exploration.failures, 1):
        seeds = ", ".join(map(str, cluster.seeds[:8])) + (" …" if len(cluster.seeds) > 8 else "")
        chaos_seed = cluster.outcome.chaos_seed
        under = "" if chaos_seed == exploration.chaos_seed else f"  (chaos seed {chaos_seed})"
        noun = unit if len(cluster.seeds) > 1 else unit.removesuffix("s")
        print(f"\n#{number}  {len(cluster.seeds)} {noun}: {seeds}{under}")
        print_failure(cluster.outcome)
        print(f"    replay: toron replay {cluster.outcome.token}")
        print(f"    explain: toron explain {cluster.outcome.token}")
        print(f"    trace:  toron trace {cluster.outcome.token} --format html")
