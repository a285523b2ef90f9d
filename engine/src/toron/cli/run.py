"""`toron run`: execute a kernel once."""

from __future__ import annotations

import argparse
from typing import Any

from toron.cli.codes import BY_VERDICT
from toron.cli.options import (
    SEED_HELP,
    add_kernel,
    add_strategy,
    add_verb,
    chaos_seed_of,
    reference_of,
    seed_of,
)
from toron.cli.printing import print_execution
from toron.testing import execute


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "run", _run, "execute a kernel once")
    add_kernel(verb)
    add_strategy(verb)
    verb.add_argument("--seed", help="the schedule: " + SEED_HELP.format(variable="SIM_SEED"))


def _run(options: argparse.Namespace) -> int:
    reference, _ = reference_of(options, asks_for_seeds=False)
    seed, chaos_seed = seed_of(options.seed, "SIM_SEED", "--seed"), chaos_seed_of(options)
    execution = execute(reference, seed=seed, chaos_seed=chaos_seed, strategy=options.strategy)
    print_execution(execution, as_json=options.json)
    return BY_VERDICT[execution.outcome.verdict]
