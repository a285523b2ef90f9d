"""Whether a bundle behaves as its baseline does, and if not, what moved, where, and by how much.

Evidence first: no baseline, another engine minor, or seeds that only one side has are never a pass.
Across Python minors, outputs, properties, verdicts and failures are compared; trace digests, steps
and virtual time are not, because the interpreter's own event loop takes part in them (and neither
is how often a property was asked: `behaviour_of`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testops.domain.verdict import Verdict
from testops.snapshots.approve import approval_problem
from testops.snapshots.bundle import Bundle
from testops.snapshots.canonical import Json, form, integer_json
from testops.snapshots.differ import Change, diff
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
from testops.snapshots.pointers import pointer
from testops.snapshots.traces import Divergence, first_divergence

# What a report holds; what was found beyond is counted.
DELTAS_REPORTED_MAX = 1000
DELTAS_PER_EXECUTION_MAX = 100
DIVERGENCES_REPORTED_MAX = 20
_IDS_REPORTED_MAX = 100
_VALUE_LENGTH_MAX = 2000
_TEXT_VALUE_LENGTH_MAX = 160

# Kernel and seeds are the key of a record, and `source` says where it stood, not what it did.
_BEHAVIOUR = ("verdict", "outputs", "properties", "failure", "faults")
_INTERPRETER = ("trace_digest", "steps", "virtual_ns")
_LINE = re.compile(r":\d+(?= in |$)")


@dataclass(frozen=True, slots=True)
class Delta:
    """One difference of one execution. `field` is a pointer into its kernel file.

    `old_field` is None when the baseline has nothing there, `field` names the target's place, or
    the baseline's when the target has nothing there.
    """

    kind: str
    execution: ExecutionId
    field: str
    old_field: str | None
    has_new: bool
    old: Json
    new: Json
    percent: float | None
    note: str
    reproduce: str

    def text(self) -> str:
        """One line that needs no other: kernel, seed, field, old and new value, how to see it."""
        note = f" ({self.note})" if self.note else ""
        return (
            f"kernel {self.execution.text()}: {self.field} {self.what()}{note}; "
            f"reproduce: {self.reproduce}"
        )

    def what(self) -> str:
        """What happened, with the values."""
        old, new = _short(self.old), _short(self.new)
        match self.kind:
            case "added":
                return f"was absent, is {new}"
            case "removed":
                return f"was {old}, is absent"
            case "moved":
                return f"moved from index {old} to {new}"
            case "drifted" if self.percent is not None:
                return f"was {old}, is {new} ({self.percent:+.4g} %)"
            case "retyped":
                return f"was {_typed(self.old)}, is {_typed(self.new)}"
            case "trace":
                return f"outputs are equal, but the trace differs: was {old}, is {new}"
            case _:
                return f"was {old}, is {new}"

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": self.kind,
            **self.execution.to_json(),
            "field": self.field,
            "old_field": self.old_field,
            "old": _bounded(self.old) if self.old_field is not None else None,
            "new": _bounded(self.new) if self.has_new else None,
            "has_old": self.old_field is not None,
            "has_new": self.has_new,
            "percent": self.percent,
            "note": self.note,
            "reproduce": self.reproduce,
            "text": self.text(),
        }


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
        differing_count=tally.differing_count,
        only_in_base=only_in_base,
        only_in_target=only_in_target,
        divergences=tally.divergences,
        masks=masks,
        mask_counts=counts,
        findings=findings,
        notes=_notes(base, target, same_python=same_python),
    )


class _Tally:
    """Collects the deltas of all executions, and keeps what is reported within bounds."""

    def __init__(self, *, same_python: bool, target: Bundle) -> None:
        self.same_python = same_python
        self.target = target
        self.deltas: list[Delta] = []
        self.delta_count = 0
        self.compared_count = 0
        self.differing_count = 0
        self.divergences: list[TraceDivergence] = []
        self._by_field: Counter[tuple[str, str, str]] = Counter()

    def add(self, old: ExecutionRecord, new: ExecutionRecord, counts: Sequence[MaskCount]) -> None:
        self.compared_count += 1
        deltas = list(self._deltas(old, new, counts))
        if not deltas:
            return
        self.differing_count += 1
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
    ) -> Iterator[Delta]:
        documents = apply_masks(counts, new.path, (dict(old.document), dict(new.document)))
        reproduce = reproduce_command(new, self.target)
        behaviour = [
            behaviour_of(document, across_pythons=not self.same_python) for document in documents
        ]
        changes = diff(behaviour[0], behaviour[1])
        yield from (_delta_of(change, new.id, reproduce) for change in changes)
        # What a program does and which way it took there are one change, not two: the trace is
        # only news of its own when nothing else moved.
        if not changes and self.same_python:
            traces = [_section(document, _INTERPRETER) for document in documents]
            yield from _trace_delta(diff(traces[0], traces[1]), traces, new.id, reproduce)

    def summary(self) -> list[Mapping[str, Json]]:
        """The fields that moved, each with the number of executions in which it did."""
        ordered = sorted(self._by_field.items(), key=lambda item: (item[0][0], -item[1], item[0]))
        return [
            {"kernel": kernel, "field": field, "kind": kind, "executions": count}
            for (kernel, field, kind), count in ordered[:DELTAS_REPORTED_MAX]
        ]


def behaviour_of(document: Json, *, across_pythons: bool) -> dict[str, Json]:
    """What of a kernel file is compared as behaviour.

    A failure's line number is left out, since a comment above it moves it. Across Pythons, so is
    what counts the interpreter's steps: when a failure came, and how often a property was asked.
    """
    behaviour = _section(document, _BEHAVIOUR)
    failure = behaviour.get("failure")
    if isinstance(failure, dict):
        left_out = ("where", "virtual_ns") if across_pythons else ("where",)
        kept = {name: value for name, value in failure.items() if name not in left_out}
        if isinstance(where := failure.get("where"), str):
            kept["where"] = _LINE.sub("", where)
        behaviour["failure"] = kept
    properties = behaviour.get("properties")
    if across_pythons and isinstance(properties, dict):
        behaviour["properties"] = {
            name: _property_across_pythons(value) for name, value in properties.items()
        }
    return behaviour


def _property_across_pythons(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    rest = {name: item for name, item in value.items() if name not in ("pass", "fail")}
    return {**rest, "fails": bool(value.get("fail"))}


def _section(document: Json, names: Iterable[str]) -> dict[str, Json]:
    assert isinstance(document, dict), document
    return {name: document[name] for name in names if name in document}


def _delta_of(change: Change, identity: ExecutionId, reproduce: str) -> Delta:
    place = change.new_place if change.new_place is not None else change.old_place
    assert place is not None, change
    return Delta(
        kind=change.kind.value,
        execution=identity,
        field=pointer(place),
        old_field=pointer(change.old_place) if change.old_place is not None else None,
        has_new=change.new_place is not None,
        old=change.old,
        new=change.new,
        percent=change.percent,
        note=change.note,
        reproduce=reproduce,
    )


def _trace_delta(
    changes: Sequence[Change],
    traces: Sequence[Mapping[str, Json]],
    identity: ExecutionId,
    reproduce: str,
) -> Iterator[Delta]:
    if not changes:
        return
    moved = [pointer(change.new_place or change.old_place or ())[1:] for change in changes]
    field = "trace_digest" if "trace_digest" in moved else moved[0]
    old, new = traces
    yield Delta(
        kind="trace",
        execution=identity,
        field=f"/{field}",
        old_field=f"/{field}",
        has_new=True,
        old=old.get(field),
        new=new.get(field),
        percent=None,
        note=", ".join(
            f"{name} {old.get(name)} -> {new.get(name)}" for name in moved if name != field
        ),
        reproduce=reproduce,
    )


def reproduce_command(record: ExecutionRecord, bundle: Bundle) -> str:
    """What to type to see this execution again."""
    seeds = f"--seed {record.id.sim_seed} --chaos-seed {record.id.chaos_seed}"
    if record.source is not None:
        return f"toron run {record.source} {seeds}"
    header = bundle.header
    return f"python sim/run_suite.py --profile {header.profile} --suite {header.suite} {seeds}"


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
        executions = _count(tally.differing_count, "execution")
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


def _bounded(value: Json) -> Json:
    """The value itself, or its beginning and its length when a report cannot hold it."""
    spelled = form(value)
    if len(spelled) <= _VALUE_LENGTH_MAX:
        return integer_json(value) if type(value) is int else value
    return {"truncated": spelled[:_VALUE_LENGTH_MAX], "length": len(spelled)}


def _short(value: Json) -> str:
    spelled = form(value)
    if len(spelled) <= _TEXT_VALUE_LENGTH_MAX:
        return spelled
    return f"{spelled[:_TEXT_VALUE_LENGTH_MAX]}… ({len(spelled)} characters)"


def _typed(value: Json) -> str:
    match value:
        case None | bool():
            return _short(value)
        case int() | float():
            return f"the number {_short(value)}"
        case str():
            return f"the text {_short(value)}"
        case list():
            return f"the list {_short(value)}"
        case dict():
            return f"the object {_short(value)}"
