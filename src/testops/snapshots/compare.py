"""Whether a bundle behaves as its baseline does, and if not, what moved, where, and by how much.

Evidence first: no baseline, another engine minor, or seeds that only one side has are never a pass.
Across Python minors, outputs, properties, verdicts and failures are compared; trace digests, steps
and virtual time are not, because the interpreter's own event loop takes part in them (and neither
is how often a property was asked: `behaviour_of`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from testops.domain.review import Cause
from testops.domain.verdict import Verdict
from testops.snapshots.approve import approval_problem
from testops.snapshots.bundle import Bundle
from testops.snapshots.canonical import Json
from testops.snapshots.causes import (
    REEXECUTED_MAX,
    SAME_CODE_FIX,
    Again,
    Reached,
    Reexecutor,
    cause_of,
    chosen_of,
    execute_again,
    refusal_of,
)
from testops.snapshots.deltas import Delta, deltas_of, reproduce_command
from testops.snapshots.executions import ExecutionId, ExecutionRecord, read_executions
from testops.snapshots.locate import (
    NoBaseline,
    approve_command,
    base_candidates,
    pick_base,
    target_at,
)
from testops.snapshots.masks import (
    NO_MASKS,
    MaskCount,
    Masks,
    apply_masks,
    load_masks,
    mask_findings,
)
from testops.snapshots.traces import Divergence, first_divergence

# What a report holds; what was found beyond is counted.
DELTAS_REPORTED_MAX = 1000
DELTAS_PER_EXECUTION_MAX = 100
DIVERGENCES_REPORTED_MAX = 20
_IDS_REPORTED_MAX = 100
_VALUE_LENGTH_MAX = 2000
_TEXT_VALUE_LENGTH_MAX = 160


@dataclass(frozen=True, slots=True)
class TraceDivergence:
    """Where the traces of one execution part."""

    execution: ExecutionId
    divergence: Divergence

    def to_json(self) -> dict[str, Json]:
        return {**self.execution.to_json(), **self.divergence.to_json()}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The judgement and everything that it rests on; `fix` is what to do next, where known."""

    verdict: Verdict
    reason: str
    fix: str
    base: Bundle | None
    target: Bundle
    deltas: Sequence[Delta]
    delta_count: int
    summary: Sequence[Mapping[str, Json]]
    compared_count: int
    differing_count: int
    only_in_base: Sequence[ExecutionId]
    only_in_target: Sequence[ExecutionId]
    divergences: Sequence[TraceDivergence]
    masks: Masks
    mask_counts: Sequence[MaskCount]
    findings: Sequence[Mapping[str, str]]
    notes: Sequence[str]
    differing: Sequence[ExecutionId] = ()
    cause: Cause = Cause.UNKNOWN
    why: str = ""
    again: Sequence[Again] = ()

    @property
    def nondeterministic_count(self) -> int:
        """Executions that were found nondeterministic when they were executed again."""
        moved = (Reached.UNSTABLE, Reached.NO)
        if self.cause is not Cause.NONDETERMINISM:
            return 0
        return sum(one.reached in moved for one in self.again)

    @property
    def base_identity(self) -> str | None:
        return self.base.identity if self.base is not None else None

    @property
    def target_identity(self) -> str:
        return self.target.identity

    def to_json(self) -> dict[str, Json]:
        """Everything a report needs, bounded."""
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "fix": self.fix,
            "cause": self.cause.value,
            "why": self.why,
            "base": _side(self.base),
            "target": _side(self.target),
            "executions": {
                "compared": self.compared_count,
                "equal": self.compared_count - self.differing_count,
                "differing": self.differing_count,
            },
            "only_in_base": [item.to_json() for item in self.only_in_base[:_IDS_REPORTED_MAX]],
            "only_in_base_count": len(self.only_in_base),
            "only_in_target": [item.to_json() for item in self.only_in_target[:_IDS_REPORTED_MAX]],
            "only_in_target_count": len(self.only_in_target),
            "delta_count": self.delta_count,
            "deltas": [delta.to_json() for delta in self.deltas],
            "summary": [dict(line) for line in self.summary],
            "divergences": [item.to_json() for item in self.divergences],
            "again": [item.to_json() for item in self.again],
            "masks": {
                "file": str(self.masks.origin) if self.masks.origin is not None else None,
                "version": self.masks.version,
                "rules": [count.to_json() for count in self.mask_counts],
            },
            "findings": [dict(finding) for finding in self.findings],
            "notes": list(self.notes),
        }


def compare_paths(base: Path, target: Path, *, masks: Path | None = None) -> Comparison:
    """The comparison of what `target` is with its baseline in `base`.

    Both are a bundle, an unpacked bundle or a folder of either. BadInput for what cannot be read,
    is missing or is ambiguous; a baseline that nobody approved yet is an inconclusive comparison.
    """
    rules = load_masks(masks) if masks is not None else NO_MASKS
    candidates = base_candidates(base)
    found = target_at(target, base=[] if isinstance(candidates, NoBaseline) else candidates)
    picked = (
        candidates if isinstance(candidates, NoBaseline) else pick_base(candidates, found, base)
    )
    if isinstance(picked, NoBaseline):
        read_executions(found)  # a target that cannot be read is bad input, baseline or not
        return _without_base(picked, found, rules)
    return compare_bundles(picked, found, masks=rules)


def _without_base(missing: NoBaseline, target: Bundle, masks: Masks) -> Comparison:
    return Comparison(
        verdict=Verdict.INCONCLUSIVE,
        reason=missing.reason,
        fix=missing.fix,
        base=None,
        target=target,
        deltas=(),
        delta_count=0,
        summary=(),
        compared_count=0,
        differing_count=0,
        only_in_base=(),
        only_in_target=(),
        divergences=(),
        masks=masks,
        mask_counts=[MaskCount(rule) for rule in masks.rules],
        findings=(),
        notes=(),
    )


def compare_bundles(base: Bundle, target: Bundle, *, masks: Masks = NO_MASKS) -> Comparison:
    """The comparison of two bundles whose suite, profile and engine are already known to fit."""
    old_records, new_records = read_executions(base), read_executions(target)
    counts = [MaskCount(rule) for rule in masks.rules]
    same_python = base.header.python == target.header.python
    shared = [identity for identity in new_records if identity in old_records]
    tally = _Tally(same_python=same_python, target=target)
    for identity in shared:
        tally.add(old_records[identity], new_records[identity], counts)
    only_in_base = [identity for identity in old_records if identity not in new_records]
    only_in_target = [identity for identity in new_records if identity not in old_records]
    findings = [*(mask_findings(counts) if shared else ()), *_approval_findings(base)]
    verdict, reason, fix = _judge(tally, only_in_base, only_in_target, findings, target)
    return Comparison(
        verdict=verdict,
        reason=reason,
        fix=fix,
        base=base,
        target=target,
        deltas=tally.deltas,
        delta_count=tally.delta_count,
        summary=tally.summary(),
        compared_count=tally.compared_count,
        differing_count=len(tally.differing),
        only_in_base=only_in_base,
        only_in_target=only_in_target,
        divergences=tally.divergences,
        masks=masks,
        mask_counts=counts,
        findings=findings,
        notes=_notes(base, target, same_python=same_python),
        differing=tally.differing,
        why=NOT_AGAIN if tally.delta_count else "",
    )


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
    records = read_executions(comparison.target)
    found = execute_again([records[one] for one in chosen], header, executor, comparison.masks)
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


_DECIDES = (Cause.NONDETERMINISM, Cause.REGRESSION, Cause.UNKNOWN)
NOT_AGAIN = "not executed again"


def _fix_of(first: Again, records: Mapping[ExecutionId, ExecutionRecord]) -> str:
    """Approving is no way out of nondeterminism: the next run would differ from that baseline."""
    identity, source = first.execution, records[first.execution].source
    mend = f"make {first.where} give one value under one seed" if first.where else SAME_CODE_FIX
    if source is None:
        return mend
    seeds = f"--seeds {identity.sim_seed}:{identity.sim_seed + 1}"
    return f"{mend}; see it with `toron verify {source} {seeds} --chaos-seed {identity.chaos_seed}`"


class _Tally:
    """Collects the deltas of all executions, and keeps what is reported within bounds."""

    def __init__(self, *, same_python: bool, target: Bundle) -> None:
        self.same_python = same_python
        self.target = target
        self.deltas: list[Delta] = []
        self.delta_count = 0
        self.compared_count = 0
        self.differing: list[ExecutionId] = []
        self.divergences: list[TraceDivergence] = []
        self._by_field: Counter[tuple[str, str, str]] = Counter()

    def add(self, old: ExecutionRecord, new: ExecutionRecord, counts: Sequence[MaskCount]) -> None:
        self.compared_count += 1
        deltas = self._deltas(old, new, counts)
        if not deltas:
            return
        self.differing.append(new.id)
        self.delta_count += len(deltas)
        room = min(DELTAS_PER_EXECUTION_MAX, DELTAS_REPORTED_MAX - len(self.deltas))
        self.deltas += deltas[:room]
        self._by_field.update({(new.id.kernel, item.field, item.kind) for item in deltas})
        if old.trace is not None and new.trace is not None and self.same_python:
            divergence = first_divergence(old.trace, new.trace)
            if divergence is not None and len(self.divergences) < DIVERGENCES_REPORTED_MAX:
                self.divergences.append(TraceDivergence(new.id, divergence))

    def _deltas(
        self, old: ExecutionRecord, new: ExecutionRecord, counts: Sequence[MaskCount]
    ) -> list[Delta]:
        documents = apply_masks(counts, new.path, (dict(old.document), dict(new.document)))
        reproduce = reproduce_command(new, self.target.header)
        return deltas_of(documents, new.id, reproduce, same_python=self.same_python)

    def summary(self) -> list[Mapping[str, Json]]:
        """The fields that moved, each with the number of executions in which it did."""
        ordered = sorted(self._by_field.items(), key=lambda item: (item[0][0], -item[1], item[0]))
        return [
            {"kernel": kernel, "field": field, "kind": kind, "executions": count}
            for (kernel, field, kind), count in ordered[:DELTAS_REPORTED_MAX]
        ]


def _judge(
    tally: _Tally,
    only_in_base: Sequence[ExecutionId],
    only_in_target: Sequence[ExecutionId],
    findings: Sequence[Mapping[str, str]],
    target: Bundle,
) -> tuple[Verdict, str, str]:
    approve = approve_command(target.origin)
    if tally.delta_count:
        deltas = _count(tally.delta_count, "delta")
        executions = _count(len(tally.differing), "execution")
        reason = f"{deltas} in {executions}; first: {tally.deltas[0].text()}"
        return Verdict.FAIL, reason, f"mend the change; if it is meant, `{approve}`"
    missing = [
        f"{_count(len(ids), 'execution')} of the {here} {_has(ids)} no counterpart in the {there} "
        f"(first: {ids[0].text()})"
        for ids, here, there in (
            (only_in_target, "target", "baseline"),
            (only_in_base, "baseline", "target"),
        )
        if ids
    ]
    if missing:
        fix = f"run the seeds of the baseline; if these are meant, `{approve}`"
        return Verdict.INCONCLUSIVE, "; ".join(missing), fix
    if not tally.compared_count:
        return Verdict.INCONCLUSIVE, "both bundles hold no execution", "run a suite with kernels"
    equal = f"{_count(tally.compared_count, 'execution')} behave as the baseline says"
    if tally.compared_count == 1:
        equal = "the one execution behaves as the baseline says"
    if findings:
        return Verdict.WARN, f"{equal}; {findings[0]['message']}", _FINDING_FIX[findings[0]["kind"]]
    return Verdict.PASS, equal, ""


_FINDING_FIX = {
    "mask_unused": "take it out of the file of masks",
    "mask_broad": "narrow it in the file of masks",
    "baseline_not_approved": "approve it again, or restore both files from version control",
}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _has(ids: Sequence[ExecutionId]) -> str:
    return "has" if len(ids) == 1 else "have"


def _approval_findings(base: Bundle) -> list[Mapping[str, str]]:
    problem = approval_problem(base)
    return [{"kind": "baseline_not_approved", "message": problem}] if problem else []


def _notes(base: Bundle, target: Bundle, *, same_python: bool) -> list[str]:
    notes = []
    if not same_python:
        notes.append(
            f"the baseline is of Python {base.header.python} and the target of "
            f"{target.header.python}: trace digests, steps and virtual time were not compared"
        )
    if base.header.masks_version != target.header.masks_version:
        notes.append("the bundles were recorded under different masks")
    return notes


def _side(bundle: Bundle | None) -> Json:
    if bundle is None:
        return None
    return {"path": str(bundle.origin), "identity": bundle.identity, **bundle.header.to_json()}
