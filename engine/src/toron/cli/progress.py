"""Tells of an exploration while it goes on: on a terminal, or as events for a program.

The result itself is printed by the verb when it is over.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from toron.search.explore import Exploration
from toron.search.outcome import Execution

Told = Callable[[Exploration, Execution], None]


def is_new_cause(exploration: Exploration, execution: Execution) -> bool:
    """Whether ``execution``, counted last, failed as none before it did."""
    causes = exploration.failures
    return bool(causes) and causes[-1].outcome is execution.outcome


def on_terminal(total: int) -> Told:
    """A count, and a line and the replay command for each new cause; nothing to a file."""

    def tell(exploration: Exploration, execution: Execution) -> None:
        if is_new_cause(exploration, execution):
            failure = execution.outcome.failure
            assert failure is not None
            seed, number = exploration.failures[-1].seeds[0], len(exploration.failures)
            print(
                f"\r\x1b[K#{number}  seed {seed}: {failure.kind}: {failure.message}\n"
                f"    toron replay {execution.outcome.token}",
                file=sys.stderr,
            )
        print(f"\r{exploration.seeds_run}/{total} seeds", end="", file=sys.stderr, flush=True)

    return tell if sys.stderr.isatty() else lambda exploration, execution: None


def counter(noun: str) -> Callable[..., None]:
    """Called once for each thing that is done: shows how many; nothing to a file."""
    done = 0

    def tell(*_: object) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r{done}{noun}", end="", file=sys.stderr, flush=True)

    return tell


def clear_terminal() -> None:
    """Take the count away."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)


def as_events(exploration: Exploration, execution: Execution) -> None:
    """One JSON object a line: `run` for each seed, and `failure` for each new cause."""
    outcome = execution.outcome
    emit(
        "run",
        seeds_run=exploration.seeds_run,
        sim_seed=outcome.sim_seed,
        chaos_seed=outcome.chaos_seed,
        verdict=outcome.verdict,
        trace_digest=outcome.trace_digest,
    )
    if is_new_cause(exploration, execution):
        emit("failure", **exploration.failures[-1].to_json())


def emit(event: str, **fields: Any) -> None:
    """One event on stdout, at once."""
    print(json.dumps({"event": event, **fields}), flush=True)
