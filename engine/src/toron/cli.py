"""The command ``toron``: run, explore, verify, replay.

Exit codes: 0 holds, 1 a property failed, 2 bad input, 3 nondeterminism, 4 inconclusive,
70 a bug of Toron, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from toron import ENGINE_VERSION
from toron.core.choices import SEED_MAX
from toron.core.clock import SECOND_NS
from toron.errors import BadKernel, ToronError
from toron.search.explore import Exploration, explore, kernels_of
from toron.search.outcome import Execution, Outcome
from toron.search.references import (
    KernelRef,
    display_path,
    parse_seed,
    parse_seed_range,
    split_reference,
)
from toron.search.verify import Verification, Verified, verify
from toron.testing import ReplayDiffers, execute, replay

HOLDS, FAILED, BAD_INPUT, NONDETERMINISM, INCONCLUSIVE, INTERNAL, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    70,
    130,
)
_EXIT_BY_VERDICT = {"pass": HOLDS, "warn": HOLDS, "fail": FAILED, "inconclusive": INCONCLUSIVE}
_SEED_HELP = "0 to 2^64-1, or `random`; else the environment's {variable}, else 0"
_OUTPUT_TEXT_MAX = 400


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        code: int = options.verb(options)
        sys.stdout.flush()  # a reader that went away is met here, and not when Python exits
    except BadKernel as error:
        return _complain(options, str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return _complain(options, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return HOLDS
    except Exception as error:  # noqa: BLE001  (the door: whatever is left is a bug of ours)
        detail = traceback.format_exc() if os.environ.get("TORON_DEBUG") else ""
        kind = "" if isinstance(error, ToronError) else f"{type(error).__name__}: "
        return _complain(options, f"internal error: {kind}{error}\n{detail}".strip(), INTERNAL)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="toron", description="Deterministic simulation for asyncio."
    )
    parser.add_argument("--version", action="version", version=ENGINE_VERSION)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    run = _verb(verbs, "run", _run, "execute a kernel once")
    _add_kernel(run)
    run.add_argument("--seed", help="the schedule: " + _SEED_HELP.format(variable="SIM_SEED"))
    explorer = _verb(verbs, "explore", _explore, "execute a kernel under many seeds")
    _add_kernel(explorer)
    _add_seeds(explorer)
    explorer.add_argument("--strategy", choices=["random"], default="random")
    verifier = _verb(verbs, "verify", _verify, "execute every seed twice and compare")
    _add_kernel(verifier)
    _add_seeds(verifier)
    verifier.add_argument(
        "--hash-seeds",
        choices=["varied", "fixed"],
        default="varied",
        help="second process: another hash seed and random addresses, or the same (default varied)",
    )
    replayer = _verb(verbs, "replay", _replay, "execute again what a token stands for")
    replayer.add_argument("token", metavar="TOKEN")
    return parser


def _verb(verbs: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text.capitalize())
    verb.set_defaults(verb=function)
    verb.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    return verb


def _add_kernel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kernel", metavar="FILE.py[::NAME]")
    parser.add_argument(
        "--chaos-seed", help="the faults: " + _SEED_HELP.format(variable="CHAOS_SEED")
    )


def _add_seeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds", metavar="A:B", help="half-open; default: what the kernel asks for"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at a time")


def _reference(options: argparse.Namespace, *, asks_for_seeds: bool) -> tuple[KernelRef, int]:
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


def _seed(value: str | None, variable: str, flag: str) -> int:
    if value == "random":
        seed = secrets.randbelow(SEED_MAX + 1)
        print(f"{flag} {seed}", file=sys.stderr)
        return seed
    if value is not None:
        return parse_seed(value, flag)
    return parse_seed(os.environ.get(variable, "0"), variable)


def _chaos_seed(options: argparse.Namespace) -> int:
    return _seed(options.chaos_seed, "CHAOS_SEED", "--chaos-seed")


def _seeds(options: argparse.Namespace, default: int) -> range:
    if options.jobs < 1:
        raise BadKernel(f"--jobs {options.jobs} must be at least 1")
    return range(default) if options.seeds is None else parse_seed_range(options.seeds)


def _run(options: argparse.Namespace) -> int:
    reference, _ = _reference(options, asks_for_seeds=False)
    seed, chaos_seed = _seed(options.seed, "SIM_SEED", "--seed"), _chaos_seed(options)
    execution = execute(reference, seed=seed, chaos_seed=chaos_seed)
    _print_execution(execution, as_json=options.json)
    return _EXIT_BY_VERDICT[execution.outcome.verdict]


def _replay(options: argparse.Namespace) -> int:
    try:
        outcome = replay(options.token)
    except ReplayDiffers as differs:
        _print_outcome(differs.outcome, as_json=options.json)
        print(f"toron: {differs}", file=sys.stderr)
        if not differs.code_changed:
            return NONDETERMINISM
        outcome = differs.outcome
    else:
        _print_outcome(outcome, as_json=options.json)
    return _EXIT_BY_VERDICT[outcome.verdict]


def _explore(options: argparse.Namespace) -> int:
    reference, default = _reference(options, asks_for_seeds=options.seeds is None)
    seeds, chaos_seed = _seeds(options, default), _chaos_seed(options)
    done = 0

    def progress(execution: Execution) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r{done}/{len(seeds)} seeds", end="", file=sys.stderr, flush=True)

    exploration = explore(reference, seeds, chaos_seed, jobs=options.jobs, on_execution=progress)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    if options.json:
        print(json.dumps(exploration.to_json()))
    else:
        _print_exploration(exploration, reference)
    if exploration.interrupted:
        return INTERRUPTED
    if exploration.failing_seeds:
        return FAILED
    return INCONCLUSIVE if exploration.inconclusive_seeds else HOLDS


def _verify(options: argparse.Namespace) -> int:
    reference, default = _reference(options, asks_for_seeds=options.seeds is None)
    seeds, chaos_seed = _seeds(options, default), _chaos_seed(options)
    done = 0

    def progress(_: Verified) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r{done}/{len(seeds)} seeds", end="", file=sys.stderr, flush=True)

    verification = verify(
        reference,
        seeds,
        chaos_seed,
        jobs=options.jobs,
        hash_seeds=options.hash_seeds,
        on_verified=progress,
    )
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    if options.json:
        print(json.dumps(verification.to_json()))
    else:
        _print_verification(verification, reference)
    if verification.first_divergence is not None:
        return NONDETERMINISM
    return INCONCLUSIVE if verification.inconclusive else HOLDS


def _print_execution(execution: Execution, *, as_json: bool) -> None:
    if execution.stderr:
        print(execution.stderr, end="", file=sys.stderr)
    _print_outcome(execution.outcome, as_json=as_json)
    if not as_json and execution.outcome.failure is not None:
        print("  last events:")
        for line in execution.tail[-10:]:
            print(f"    {line}")


def _print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(outcome.to_json()))
        return
    seconds = outcome.virtual_ns / SECOND_NS
    seeds = f"seed {outcome.sim_seed}, chaos seed {outcome.chaos_seed}"
    print(
        f"{outcome.verdict.upper()}  {outcome.kernel}  {seeds}  "
        f"({outcome.steps} steps, {seconds:.6g} virtual s)"
    )
    for line in outcome.faults:
        print(f"  fault   {line}")
    for name, value in outcome.outputs.items():
        text = json.dumps(value)
        cut = text if len(text) <= _OUTPUT_TEXT_MAX else text[:_OUTPUT_TEXT_MAX] + " …"
        print(f"  output  {name} = {cut}")
    for name, counts in outcome.properties.items():
        print(f"  {_property_line(name, counts)}")
    _print_failure(outcome)
    print(f"  digest  {outcome.trace_digest}")
    print(f"  replay  toron replay {outcome.token}")


def _property_line(name: str, counts: dict[str, Any]) -> str:
    state = "never reached" if counts["never_reached"] else f"{counts['pass']} held"
    broke = f", {counts['fail']} broke" if counts["fail"] else ""
    return f"{counts['kind']}  {name}: {state}{broke}"


def _print_failure(outcome: Outcome) -> None:
    failure = outcome.failure
    if failure is None:
        return
    print(f"  {failure.kind} at {failure.virtual_ns / SECOND_NS:.6f} virtual s")
    print(f"    {failure.message}")
    if failure.where:
        print(f"    {failure.where}")


def _print_exploration(exploration: Exploration, reference: KernelRef) -> None:
    failing, unclear = len(exploration.failing_seeds), len(exploration.inconclusive_seeds)
    rate = exploration.to_json()["seeds_per_second"]
    verdict = "FAIL" if failing else "INCONCLUSIVE" if unclear else "PASS"
    if exploration.interrupted:
        verdict = "INTERRUPTED"
    counts = f"{exploration.seeds_run} seeds, {failing} failing, {unclear} inconclusive"
    print(f"{verdict}  {reference}  {counts}  ({rate:g} seeds/s)")
    for name, counted in exploration.properties.items():
        print(f"  {_property_line(name, counted)}")
    for number, cluster in enumerate(exploration.failures, 1):
        seeds = ", ".join(map(str, cluster.seeds[:8])) + (" …" if len(cluster.seeds) > 8 else "")
        print(f"\n#{number}  {len(cluster.seeds)} seeds: {seeds}")
        _print_failure(cluster.outcome)
        print(f"    replay: toron replay {cluster.outcome.token}")


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
    print(f"    first   {first.first[:_OUTPUT_TEXT_MAX]}")
    print(f"    second  {first.second[:_OUTPUT_TEXT_MAX]}")


def _complain(options: argparse.Namespace, message: str, code: int) -> int:
    print(f"toron: {message}", file=sys.stderr)
    if getattr(options, "json", False):
        print(json.dumps({"error": message, "exit": code}))
    return code


if __name__ == "__main__":
    sys.exit(main())
