"""Where the two sides of a comparison come from: who approved which run, under which programs.

Bundles do not say it, so that equal behaviour is an equal bundle; the approval record beside a
baseline and the run's record do. What neither knows is null.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from testops.snapshots.approve import record_path
from testops.snapshots.bundle import SUFFIX, Bundle
from testops.snapshots.canonical import Json, parse
from testops.snapshots.causes import Reached
from testops.snapshots.compare import Comparison
from testops.snapshots.provenance import provenance_of, run_record_of
from testops.snapshots.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Here:
    """The place that compares: its records of runs, and the programs that it runs with.

    `is_origin`: the target was recorded here, a moment ago.
    """

    runs: Path
    programs: Mapping[str, str]
    is_origin: bool = False


def with_origins(comparison: Comparison, here: Here) -> Comparison:
    """The comparison with what is known about either side, and what follows from it."""
    base, target = comparison.base, comparison.target
    approval = {} if base is None else _approval_of(base)
    record = run_record_of(here.runs, target.identity)
    recorded = provenance_of(target, record) if record else None
    programs = _programs_of_target(comparison, recorded, here)
    notes = list(comparison.notes)
    if comparison.delta_count and (note := _other_programs(approval.get("provenance"), programs)):
        # Before all others: it is the first thing to rule out.
        notes.insert(0, note)
    return replace(
        comparison,
        notes=notes,
        base_origin={
            "approved": {name: approval[name] for name in _APPROVED if name in approval} or None,
            "provenance": approval.get("provenance"),
        },
        target_origin={"approved": None, "provenance": recorded},
    )


_APPROVED = ("who", "why", "at", "approvals")


def _approval_of(base: Bundle) -> Mapping[str, Json]:
    """The record beside the baseline, when it is about this very bundle; else empty.

    A record that is damaged or about another bundle is a finding of the comparison already.
    """
    path = record_path(base.origin)
    if not base.origin.name.endswith(SUFFIX) or not path.is_file():
        return {}
    try:
        record = parse(path.read_bytes())
    except (OSError, Refusal):
        return {}
    is_of_base = isinstance(record, dict) and record.get("identity") == base.identity
    return record if is_of_base and isinstance(record, dict) else {}


def _programs_of_target(
    comparison: Comparison, recorded: Mapping[str, Json] | None, here: Here
) -> Mapping[str, str]:
    """The Python patch and the SQLite of the target; empty where nobody knows them."""
    known = {
        name: text for name in _PROGRAMS if isinstance(text := (recorded or {}).get(name), str)
    }
    # Whoever reaches the record by executing it again shows that these programs give it.
    reaches_it = any(one.reached is Reached.YES for one in comparison.again)
    if here.is_origin or (reaches_it and not known):
        return here.programs
    return known


_PROGRAMS = {"python": "CPython", "sqlite": "SQLite"}


def _other_programs(provenance: Json, target: Mapping[str, str]) -> str:
    if not isinstance(provenance, dict):
        return ""
    both = [name for name in _PROGRAMS if isinstance(provenance.get(name), str) and name in target]
    if all(provenance[name] == target[name] for name in both):
        return ""
    theirs = "/".join(f"{_PROGRAMS[name]} {provenance[name]}" for name in both)
    ours = "/".join(f"{_PROGRAMS[name]} {target[name]}" for name in both)
    return (
        f"the baseline was approved under {theirs}, the target was made under {ours}: equal bytes "
        "take the same CPython patch and the same SQLite; qualify with the versions that you ship"
    )
