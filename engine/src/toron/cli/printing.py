"""How outcomes read on a terminal."""

from __future__ import annotations

import json
import sys
from typing import Any

from toron.core.clock import SECOND_NS
from toron.search.outcome import Execution, Outcome

TEXT_MAX = 400


def print_execution(execution: Execution, *, as_json: bool) -> None:
    """An outcome, what the program printed, and the last events of a failure."""
    if execution.stderr:
        print(execution.stderr, end="", file=sys.stderr)
    print_outcome(execution.outcome, as_json=as_json)
    if not as_json and execution.outcome.failure is not None:
        print("  last events:")
        for line in execution.tail[-10:]:
            print(f"    {line}")


def print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """One outcome, as lines or as one JSON object."""
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
        cut = text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + " …"
        print(f"  output  {name} = {cut}")
    for name, counts in outcome.properties.items():
        print(f"  {property_line(name, counts)}")
    print_failure(outcome)
    print(f"  digest  {outcome.trace_digest}")
    print(f"  replay  toron replay {outcome.token}")
    print(f"  trace   toron trace {outcome.token} --format html")


def property_line(name: str, counts: dict[str, Any]) -> str:
    """A property and how often it held."""
    state = "never reached" if counts["never_reached"] else f"{counts['pass']} held"
    broke = f", {counts['fail']} broke" if counts["fail"] else ""
    return f"{counts['kind']}  {name}: {state}{broke}"


def print_failure(outcome: Outcome) -> None:
    """Why a run is not a pass; nothing for one that is."""
    failure = outcome.failure
    if failure is None:
        return
    print(f"  {failure.kind} at {failure.virtual_ns / SECOND_NS:.6f} virtual s")
    for line in failure.message.splitlines():
        print(f"    {line}")
    if failure.where:
        print(f"    {failure.where}")
    if failure.legality is not None:
        print(f"    {failure.legality}")
