"""What the verbs have in common: naming a kernel, seeds, `--json`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from typing import Any

from toron.core.choices import SEED_MAX
from toron.errors import BadKernel
from toron.search.explore import kernels_of
from toron.search.references import (
    KernelRef,
    display_path,
    parse_seed,
    parse_seed_range,
    split_reference,
)
from toron.search.strategies import DEFAULT_STRATEGY, STRATEGIES

SEED_HELP = "0 to 2^64-1, or `random`; else the environment's {variable}, else 0"


def add_verb(verbs: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    """A subcommand that calls ``function`` and takes `--json`."""
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text.capitalize())
    verb.set_defaults(verb=function)
    verb.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    return verb


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """The kernel and its chaos seed."""
    parser.add_argument("kernel", metavar="FILE.py[::NAME]")
    parser.add_argument(
        "--chaos-seed", help="the faults: " + SEED_HELP.format(variable="CHAOS_SEED")
    )


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """A range of seeds, and how many processes at a time."""
    parser.add_argument(
        "--seeds", metavar="A:B", help="half-open; default: what the kernel asks for"
    )
    add_jobs(parser)


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """How many processes at a time."""
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at a time")


def add_strategy(parser: argparse.ArgumentParser, names: Sequence[str] = tuple(STRATEGIES)) -> None:
    """What chooses the schedule."""
    parser.add_argument(
        "--strategy",
        choices=list(names),
        default=DEFAULT_STRATEGY,
        help=f"what chooses the schedule (default {DEFAULT_STRATEGY})",
    )


def reference_of(options: argparse.Namespace, *, asks_for_seeds: bool) -> tuple[KernelRef, int]:
    """The kernel that is meant, and how many seeds it asks for."""
    path, name = split_reference(options.kernel)
    if name is not None and not asks_for_seeds:
        return KernelRef(path, name), 0  # whether it exists shows when it is executed
    kernels = kernels_of(path)
    if name is None:
        if len(kernels) != 1:
            listing = ", ".join(kernels) or "none"
            raise BadKernel(
                f"{display_path(path)} has {len(kernels)} kernels ({listing}); "
                f"name one, as in {display_path(path)}::NAME"
            )
        name = next(iter(kernels))
    return KernelRef(path, name), kernels.get(name, 100)


def seed_of(value: str | None, variable: str, flag: str) -> int:
    """The seed of a flag, else of the environment; BadKernel names the one that is wrong."""
    if value == "random":
        seed = secrets.randbelow(SEED_MAX + 1)
        print(f"{flag} {seed}", file=sys.stderr)
        return seed
    if value is not None:
        return parse_seed(value, flag)
    return parse_seed(os.environ.get(variable, "0"), variable)


def chaos_seed_of(options: argparse.Namespace) -> int:
    """The chaos seed of the command line, else of the environment."""
    return seed_of(options.chaos_seed, "CHAOS_SEED", "--chaos-seed")


def seeds_of(options: argparse.Namespace, default: int) -> range:
    """The range of seeds that is asked for, else ``default`` of them."""
    if options.jobs < 1:
        raise BadKernel(f"--jobs {options.jobs} must be at least 1")
    return range(default) if options.seeds is None else parse_seed_range(options.seeds)
