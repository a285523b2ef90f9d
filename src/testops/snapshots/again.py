"""Gives every delta of a comparison its cause, by executing some of what differs again."""

from collections.abc import Mapping
from dataclasses import replace

from testops.domain.review import Cause
from testops.snapshots.causes import (
    REEXECUTED_MAX,
    SAME_CODE_FIX,
    Again,
    Reexecutor,
    cause_of,
    chosen_of,
    execute_again,
    refusal_of,
)
from testops.snapshots.compare import Comparison
from testops.snapshots.executions import ExecutionId, ExecutionRecord, read_execution


def with_causes(
    comparison: Comparison, executor: Reexecutor, *, limit: int = REEXECUTED_MAX
) -> Comparison:
    """The comparison with the cause of its deltas: at most `limit` executions are executed again.

    Nondeterminism found in one execution decides for all; what was not executed again is unknown.
    """
    if not comparison.delta_count:
        return comparison
    header = comparison.target.header
    if refused := refusal_of(header, executor):
        return replace(comparison, why=f"not executed again: {refused}")
    chosen = chosen_of(comparison.differing, limit=limit)
    records = {one: read_execution(comparison.target, one) for one in chosen}
    found = execute_again(list(records.values()), header, executor, comparison.masks)
    same_code = executor.is_same_code(comparison.target.identity)
    causes = {one.execution: cause_of(one, same_code=same_code) for one in found}
    left_out = f"not executed again: {len(chosen)} of {len(comparison.differing)} were"
    unasked = (Cause.UNKNOWN, left_out)
    deltas = []
    for delta in comparison.deltas:
        cause, why = causes.get(delta.execution, unasked)
        deltas.append(replace(delta, cause=cause, why=why))
    decisive = next(one for one in _DECIDES if one in {cause for cause, _ in causes.values()})
    first = next(one for one in found if causes[one.execution][0] is decisive)
    why = f"{first.execution.text()}: {causes[first.execution][1]}"
    fix = _fix_of(first, records) if decisive is Cause.NONDETERMINISM else comparison.fix
    return replace(comparison, deltas=deltas, cause=decisive, why=why, fix=fix, again=found)


# The cause of one execution decides for the whole comparison in this order.
_DECIDES = (Cause.NONDETERMINISM, Cause.REGRESSION, Cause.UNKNOWN)


def _fix_of(first: Again, records: Mapping[ExecutionId, ExecutionRecord]) -> str:
    """Approving is no way out of nondeterminism: the next run would differ from that baseline."""
    identity, source = first.execution, records[first.execution].source
    mend = f"make {first.where} give one value under one seed" if first.where else SAME_CODE_FIX
    if source is None:
        return mend
    seeds = f"--seeds {identity.sim_seed}:{identity.sim_seed + 1}"
    return f"{mend}; see it with `toron verify {source} {seeds} --chaos-seed {identity.chaos_seed}`"
