"""Whether a bundle behaves as its baseline does, and if not, what moved, where, and by how much.

Evidence first: no baseline, another engine minor, or seeds that only one side has are never a pass.
Across Python minors, outputs, properties, verdicts and failures are compared; trace digests, steps
and virtual time are not, because the interpreter's own event loop takes part in them (and neither
is how often a property was asked: `deltas.behaviour_of`). Why something moved is told by `again`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testops.domain.review import Cause
from testops.domain.verdict import Verdict
from testops.snapshots.approve import approval_problem
from testops.snapshots.bundle import Bundle
from testops.snapshots.canonical import Json
from testops.snapshots.causes import Again, Reached
from testops.snapshots.deltas import Delta
from testops.snapshots.executions import ExecutionId, execution_paths, read_execution
from testops.snapshots.locate import (
    NoBaseline,
    approve_command,
    base_candidates,
    pick_base,
    target_at,
)
from testops.snapshots.masks import (
    NO_MASKS,
    MaskAudit,
    Masks,
    counts_of,
    hidden_traces_note,
    load_masks,
    mask_findings,
)
from testops.snapshots.memory import Memory
from testops.snapshots.tally import Tally, TraceDivergence

# What a report holds; what was found beyond is counted.
_IDS_REPORTED_MAX = 100


NOT_AGAIN = "not executed again"


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
    audit: MaskAudit
    findings: Sequence[Mapping[str, str]]
    notes: Sequence[str]
    differing: Sequence[ExecutionId] = ()
    cause: Cause = Cause.UNKNOWN
    why: str = ""
    again: Sequence[Again] = ()
    base_origin: Mapping[str, Json] | None = None
    target_origin: Mapping[str, Json] | None = None

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
            "base": _side(self.base, self.base_origin),
            "target": _side(self.target, self.target_origin),
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
                "hidden": self.audit.hidden,
                "changed": self.audit.changed,
                "rules": [count.to_json() for count in self.audit.counts],
            },
            "findings": [dict(finding) for finding in self.findings],
            "notes": list(self.notes),
        }


def compare_paths(
    base: Path, target: Path, *, masks: Path | None = None, memory: Memory | None = None
) -> Comparison:
    """The comparison of what `target` is with its baseline in `base`.

    Both are a bundle, an unpacked bundle or a folder of either. BadInput for what cannot be read,
    is missing or is ambiguous; a baseline that nobody approved yet is an inconclusive comparison.
    With a `memory`, files that did not change since it saw them are not read again.
    """
    rules = load_masks(masks) if masks is not None else NO_MASKS
    candidates = base_candidates(base, memory)
    known = [] if isinstance(candidates, NoBaseline) else candidates
    found = target_at(target, base=known, memory=memory)
    picked = (
        candidates if isinstance(candidates, NoBaseline) else pick_base(candidates, found, base)
    )
    if isinstance(picked, NoBaseline):
        for identity in execution_paths(found):  # what cannot be read is bad input, baseline or not
            read_execution(found, identity)
        return _without_base(picked, found, rules)
    return compare_bundles(picked, found, masks=rules, memory=memory)


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
        audit=MaskAudit(counts_of(masks)),
        findings=(),
        notes=(),
    )


def compare_bundles(
    base: Bundle, target: Bundle, *, masks: Masks = NO_MASKS, memory: Memory | None = None
) -> Comparison:
    """The comparison of two bundles whose suite, profile and engine are already known to fit.

    What both have in the same bytes is not read, but for masks that are about it, and for contents
    that nobody has found to be an execution yet.
    """
    tally = Tally(base, target, MaskAudit(counts_of(masks)), memory)
    tally.run()
    audit = tally.audit
    findings = [
        *(mask_findings(audit.counts) if tally.compared_count else ()),
        *_approval_findings(base),
    ]
    verdict, reason, fix = _judge(tally, findings, target)
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
        only_in_base=tally.only_in_base,
        only_in_target=tally.only_in_target,
        divergences=tally.divergences,
        masks=masks,
        audit=audit,
        findings=findings,
        notes=_notes(base, target, tally.hidden_trace_count),
        differing=tally.differing,
        why=NOT_AGAIN if tally.delta_count else "",
    )


def _judge(
    tally: Tally,
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
            (tally.only_in_target, "target", "baseline"),
            (tally.only_in_base, "baseline", "target"),
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
    unapproved = [one for one in findings if one["kind"] == "baseline_not_approved"]
    if unapproved:  # what nobody approved is no evidence, however well it fits
        return Verdict.INCONCLUSIVE, unapproved[0]["message"], _FINDING_FIX[unapproved[0]["kind"]]
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


def _notes(base: Bundle, target: Bundle, hidden_trace_count: int) -> list[str]:
    notes = []
    if hidden_trace_count:
        notes.append(hidden_traces_note(hidden_trace_count))
    if base.header.python != target.header.python:
        notes.append(
            f"the baseline is of Python {base.header.python} and the target of "
            f"{target.header.python}: trace digests, steps and virtual time were not compared"
        )
    if base.header.masks_version != target.header.masks_version:
        notes.append("the bundles were recorded under different masks")
    return notes


def _side(bundle: Bundle | None, origin: Mapping[str, Json] | None) -> Json:
    if bundle is None:
        return None
    return {
        "path": str(bundle.origin),
        "identity": bundle.identity,
        "schema_version": bundle.schema_version,
        **bundle.header.to_json(),
        **({"approved": None, "provenance": None} if origin is None else origin),
    }
