"""What moved between two records of one execution: behaviour first, the way it took only then."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from testops.domain.review import Cause
from testops.snapshots.canonical import Json, form, integer_json
from testops.snapshots.differ import Change, changes, diff
from testops.snapshots.executions import ExecutionId, ExecutionRecord
from testops.snapshots.manifest import BundleHeader
from testops.snapshots.pointers import pattern, pointer

_VALUE_LENGTH_MAX = 2000
_TEXT_VALUE_LENGTH_MAX = 160
_PERCENT_SEEN = 0.01

# Kernel and seeds are the key of a record, and `source` says where it stood, not what it did.
_BEHAVIOUR = ("verdict", "outputs", "properties", "failure", "faults")
_INTERPRETER = ("trace_digest", "steps", "virtual_ns")
_TIMING = ("virtual_ns",)
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
    # The field with `*` for the indexes of lists: what one change in many items has in common.
    pattern: str = ""
    # Of a number that drifted: the distance in steps of a double, or exactly between integers.
    ulps: int | None = None
    difference: int | None = None
    # Executing again tells; `why` says how it told, or why it could not.
    cause: Cause = Cause.UNKNOWN
    why: str = ""

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
            case "drifted":
                return f"was {old}, is {new}{self._drift()}"
            case "retyped":
                return f"was {_typed(self.old)}, is {_typed(self.new)}"
            case "trace":
                return f"outputs are equal, but the trace differs: was {old}, is {new}"
            case _:
                return f"was {old}, is {new}"

    def _drift(self) -> str:
        """How far a number moved, in what says most about it."""
        parts = [] if self.percent is None else [f"{self.percent:+.4g} %"]
        if self.ulps is not None:
            parts.append(f"{self.ulps} ULP")
        # A person sees ten more than a hundred; one more than 2^52 nobody does.
        if self.difference is not None and abs(self.percent or 0) < _PERCENT_SEEN:
            parts.append(f"{self.difference:+d}")
        return f" ({', '.join(parts)})" if parts else ""

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": self.kind,
            **self.execution.to_json(),
            "field": self.field,
            "pattern": self.pattern or self.field,
            "old_field": self.old_field,
            "old": _bounded(self.old) if self.old_field is not None else None,
            "new": _bounded(self.new) if self.has_new else None,
            "has_old": self.old_field is not None,
            "has_new": self.has_new,
            "percent": self.percent,
            "ulps": None if self.ulps is None else integer_json(self.ulps),
            "difference": None if self.difference is None else integer_json(self.difference),
            "cause": self.cause.value,
            "why": self.why,
            "note": self.note,
            "reproduce": self.reproduce,
            "text": self.text(),
        }


def deltas_of(
    documents: tuple[Json, Json],
    identity: ExecutionId,
    reproduce: str,
    *,
    same_python: bool,
    is_change_hidden: bool = False,
) -> Iterator[Delta]:
    """Every delta from the first kernel file to the second, masks already applied; none: equal.

    With `is_change_hidden` (see `hides_change`), the trace is held to its virtual time only.
    """
    old, new = (behaviour_of(one, across_pythons=not same_python) for one in documents)
    is_equal = True
    for change in changes(old, new):
        is_equal = False
        yield _delta_of(change, identity, reproduce)
    # What a program does and which way it took there are one change, not two: the trace is only
    # news of its own when nothing else moved.
    if is_equal and same_python:
        names = _TIMING if is_change_hidden else _INTERPRETER
        traces = [_section(document, names) for document in documents]
        yield from _trace_delta(diff(traces[0], traces[1]), traces, identity, reproduce)


def hides_change(
    documents: tuple[Json, Json], masked: tuple[Json, Json], *, same_python: bool
) -> bool:
    """Whether all that moved in the behaviour of an execution is what masks hide of it.

    A trace holds the values of a program, so its digest says again what the mask hides.
    """
    if documents is masked:
        return False
    (old, new), (masked_old, masked_new) = (
        [behaviour_of(one, across_pythons=not same_python) for one in pair]
        for pair in (documents, masked)
    )
    is_equal = next(changes(masked_old, masked_new), None) is None
    return is_equal and next(changes(old, new), None) is not None


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
        pattern=pattern(place),
        old_field=pointer(change.old_place) if change.old_place is not None else None,
        has_new=change.new_place is not None,
        old=change.old,
        new=change.new,
        percent=change.percent,
        ulps=change.ulps,
        difference=change.difference,
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


def reproduce_command(record: ExecutionRecord, header: BundleHeader) -> str:
    """What to type to see this execution again."""
    seeds = f"--seed {record.id.sim_seed} --chaos-seed {record.id.chaos_seed}"
    if record.source is not None:
        return f"toron run {record.source} {seeds}"
    return f"python sim/run_suite.py --profile {header.profile} --suite {header.suite} {seeds}"


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
