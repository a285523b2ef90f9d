"""Regression or nondeterminism: what executing an execution twice more says about its record.

Both new executions reach the record: the behaviour is the program's, and a delta to its baseline is
a regression. They differ, from each other or from the record: nondeterminism. Who executes, and
whether the code is still the one that was recorded, is told by a `Reexecutor`; what cannot be told
apart is `unknown` and says why, because a wrong word here sends people to the wrong place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Protocol

from testops.domain.errors import BadInput
from testops.domain.review import Cause
from testops.domain.verdict import Verdict
from testops.snapshots.canonical import Json, canonical, form, parse
from testops.snapshots.deltas import Delta, deltas_of, hides_change, reproduce_command
from testops.snapshots.executions import ExecutionId, ExecutionRecord, document_of
from testops.snapshots.manifest import BundleHeader
from testops.snapshots.masks import Masks, apply_masks, counts_of
from testops.snapshots.ports import ExecutionLike

# How many executions one comparison executes again; which ones is chosen by `chosen_of`.
REEXECUTED_MAX = 8
SAME_CODE_FIX = (
    "find what takes part beside the code: another Python patch, a package, a file or the machine"
)
_TEXT_LENGTH_MAX = 300


class Verified(ExecutionLike, Protocol):
    """One execution of now, and whether a second process behaved alike."""

    @property
    def identical(self) -> bool: ...
    @property
    def first_divergence(self) -> Mapping[str, Any] | None: ...


class Reexecutor(Protocol):
    """Executes what a bundle recorded, here and now."""

    @property
    def engine_version(self) -> str: ...
    @property
    def python(self) -> str:
        """The Python minor: `3.11`."""
        ...

    def again(
        self, header: BundleHeader, records: Sequence[ExecutionRecord]
    ) -> Mapping[ExecutionId, Verified | str]:
        """Each record executed in two processes; a text says why one could not be."""
        ...

    def is_same_code(self, identity: str) -> bool | None:
        """Whether the bundle was recorded from the code that is here; None: nobody knows."""
        ...


class Reached(StrEnum):
    """What two new executions have in common with a record."""

    YES = "reached"
    UNSTABLE = "unstable"  # the two differ from each other
    NO = "differs"  # they agree with each other, and not with the record
    UNKNOWN = "unknown"  # there are no two to compare


@dataclass(frozen=True, slots=True)
class Again:
    """One execution, executed again.

    `divergence` is the first event in which the two new ones parted, `delta` the first difference
    from the record to them.
    """

    execution: ExecutionId
    reached: Reached
    reason: str
    divergence: Mapping[str, Json] | None = None
    delta: Delta | None = None
    # The record was reached but for what masks hide, and its trace was left out for that.
    is_trace_hidden: bool = False

    @property
    def where(self) -> str:
        """The line of the program that moved; empty where none is known."""
        return str(self.divergence.get("where", "")) if self.divergence is not None else ""

    def to_json(self) -> dict[str, Json]:
        return {
            **self.execution.to_json(),
            "outcome": self.reached.value,
            "reason": self.reason,
            "where": self.where,
            "first_divergence": None if self.divergence is None else dict(self.divergence),
            "delta": None if self.delta is None else self.delta.to_json(),
        }


def chosen_of(differing: Iterable[ExecutionId], *, limit: int) -> list[ExecutionId]:
    """Which executions are worth executing again: one of every kernel before a second of any."""
    by_kernel: dict[str, list[ExecutionId]] = {}
    for identity in sorted(differing):
        by_kernel.setdefault(identity.kernel, []).append(identity)
    rounds = zip_longest(*by_kernel.values())
    return [identity for turn in rounds for identity in turn if identity is not None][:limit]


def execute_again(
    records: Sequence[ExecutionRecord],
    header: BundleHeader,
    executor: Reexecutor,
    masks: Masks,
) -> list[Again]:
    """What became of each record, in their order."""
    found = executor.again(header, records)
    # What holds across Python minors holds across engine minors too, where somebody asked for it.
    same_python = not refusal_of(header, executor)
    return [
        _held_against(record, found[record.id], header, masks, same_python=same_python)
        for record in records
    ]


def _held_against(
    record: ExecutionRecord,
    verified: Verified | str,
    header: BundleHeader,
    masks: Masks,
    *,
    same_python: bool,
) -> Again:
    if isinstance(verified, str):
        return Again(record.id, Reached.UNKNOWN, verified)
    if not verified.identical:
        divergence = _plain(verified.first_divergence or {})
        return Again(record.id, Reached.UNSTABLE, _parted(divergence), divergence)
    try:
        fresh = parse(canonical(document_of(record.id, verified.outcome, record.source)))
    except BadInput as error:
        return Again(record.id, Reached.UNKNOWN, f"what it does now cannot be stored: {error}")
    # Its hits and hidden changes are of no comparison, so they are counted nowhere.
    documents: tuple[Json, Json] = (dict(record.document), fresh)
    masked = apply_masks(counts_of(masks), record.path, documents)
    is_hidden = hides_change(documents, masked, same_python=same_python)
    found = deltas_of(
        masked,
        record.id,
        reproduce_command(record, header),
        same_python=same_python,
        is_change_hidden=is_hidden,
    )
    delta = next(found, None)
    if delta is None:
        reason = "both executions reach the record"
        return Again(record.id, Reached.YES, reason, is_trace_hidden=is_hidden and same_python)
    if verified.outcome["verdict"] == Verdict.INCONCLUSIVE:
        failure = verified.outcome.get("failure") or {}
        why = str(failure.get("message") or "it did not end in time")
        return Again(record.id, Reached.UNKNOWN, f"it was cut short: {why[:_TEXT_LENGTH_MAX]}")
    return Again(
        record.id,
        Reached.NO,
        f"the two agree with each other, and not with the record: {delta.field} {delta.what()}",
        delta=delta,
    )


def _plain(divergence: Mapping[str, Any]) -> Mapping[str, Json]:
    """The divergence with its texts within bounds."""
    return {
        name: value[:_TEXT_LENGTH_MAX] if isinstance(value, str) else value
        for name, value in divergence.items()
    }


def _parted(divergence: Mapping[str, Json]) -> str:
    where = divergence.get("where") or "an unknown line"
    sides = (form(str(divergence.get(side, "")))[:_TEXT_LENGTH_MAX] for side in ("first", "second"))
    return f"two executions part at {where}: {' against '.join(sides)}"


def cause_of(again: Again, *, same_code: bool | None) -> tuple[Cause, str]:
    """The word for a delta of this execution, and the sentence behind it."""
    match again.reached:
        case Reached.YES:
            return Cause.REGRESSION, "executed twice again, and both reach the target's record"
        case Reached.UNSTABLE:
            return Cause.NONDETERMINISM, again.reason
        case Reached.UNKNOWN:
            return Cause.UNKNOWN, f"it could not be executed again: {again.reason}"
        case Reached.NO if same_code is False:
            return (
                Cause.UNKNOWN,
                "the code here is no longer what the target was recorded from, so executing it "
                f"again says nothing: {again.reason}",
            )
        case Reached.NO:
            doubt = (
                "; the code is the same, so something beside it takes part"
                if same_code
                else "; or the code is no longer the target's"
            )
            return Cause.NONDETERMINISM, f"executed twice again: {again.reason}{doubt}"


def refusal_of(header: BundleHeader, executor: Reexecutor) -> str:
    """Why none of a bundle can be executed here with the same result; empty when it can."""
    if header.engine_version != executor.engine_version:
        return (
            f"the target was made by engine {header.engine_version}, "
            f"and here is {executor.engine_version}"
        )
    if header.python != executor.python:
        return f"the target was made by Python {header.python}, and here is {executor.python}"
    return ""
