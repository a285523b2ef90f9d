"""From a comparison to the review that people decide about: its deltas in groups, bounded.

A group is a kernel, a field and a kind. A number in a pointer becomes `*`, because the same change
in forty items of a list is one change; whether it is the index of a list or a name that consists of
digits cannot be told from a report, and `review_masks` looks at the documents before it hides one.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testops.domain.bundle_key import BundleKey
from testops.domain.review import (
    EXAMPLE_LENGTH_MAX,
    FIELD_LENGTH_MAX,
    MASK_COUNT_MAX,
    TEXT_LENGTH_MAX,
    Cause,
    Group,
    MaskAudit,
    Review,
)
from testops.snapshots.canonical import Json, form
from testops.snapshots.pointers import pointer, segments

ONLY_IN_TARGET = "only_in_target"
ONLY_IN_BASE = "only_in_base"
NOT_REPORTED = "not_reported"
EVERY_KERNEL = "*"
# What a comparison's summary holds at most; a full one may have left something out.
SUMMARY_LINES_MAX = 1000


def review_of(
    comparison: Mapping[str, Any], *, at: str, run_id: str | None, approvals_required: int
) -> Review:
    """The review of `comparison` (`Comparison.to_json()`), with everything in it pending."""
    base, target = comparison["base"], comparison["target"]
    return Review(
        base=None if base is None else base["identity"],
        target=target["identity"],
        key=key_of(target),
        opened_at=at,
        opened_by_run=run_id,
        approvals_required=approvals_required,
        groups=tuple(_groups(comparison)),
        masks=tuple(_audit(rule) for rule in comparison["masks"]["rules"][:MASK_COUNT_MAX]),
    )


def key_of(target: Mapping[str, Any]) -> BundleKey:
    """Which baseline one side of a comparison is about."""
    return BundleKey(
        suite=target["suite"],
        profile=target["profile"],
        engine_version=target["engine_version"],
        python=target["python"],
    )


def generalized(place: str) -> str:
    """The pointer `place` with `*` for every number in it, short enough to be kept."""
    parts = ["*" if part.isascii() and part.isdigit() else part for part in segments(place)]
    while len(pointer(parts)) > FIELD_LENGTH_MAX:
        parts.pop()
    return pointer(parts)


@dataclass(slots=True)
class _Gathered:
    """What is known of one group while the report is read."""

    executions_counted: int = 0
    executions: set[str] = field(default_factory=set)
    changes: list[str] = field(default_factory=list)
    causes: set[str] = field(default_factory=set)
    example: str = ""
    is_whole: bool = True


def _groups(comparison: Mapping[str, Any]) -> Iterator[Group]:
    found: dict[tuple[str, str, str], _Gathered] = {}
    for line in comparison["summary"]:
        group = found.setdefault(_place_of(line), _Gathered())
        group.executions_counted = max(group.executions_counted, line["executions"])
    deltas = comparison["deltas"]
    for delta in deltas:
        _gather(found.setdefault(_place_of(delta), _Gathered()), delta)
    all_reported = comparison["delta_count"] == len(deltas)
    for (kernel, place, kind), group in found.items():
        yield Group(
            kernel=kernel,
            field=place,
            kind=kind,
            executions=max(group.executions_counted, len(group.executions), 1),
            example=group.example,
            digest=_digest(group) if all_reported and group.is_whole else None,
            cause=_cause(group.causes),
        )
    yield from _one_sided(comparison, ONLY_IN_BASE, "baseline")
    yield from _one_sided(comparison, ONLY_IN_TARGET, "target")
    if len(comparison["summary"]) >= SUMMARY_LINES_MAX:
        example = "more fields moved than a report holds; see the comparison"
        yield Group(EVERY_KERNEL, "", NOT_REPORTED, 1, example)


def _place_of(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return item["kernel"], generalized(item["field"]), item["kind"]


def _gather(group: _Gathered, delta: Mapping[str, Any]) -> None:
    execution = f"{delta['sim_seed']}-{delta['chaos_seed']}"
    values = [delta["old"], delta["new"]]
    group.executions.add(execution)
    group.changes.append(form([execution, delta["field"], delta["old_field"], *values]))
    group.causes.add(str(delta.get("cause", Cause.UNKNOWN.value)))
    # Of a value that the report shortened, two different ones may look alike.
    group.is_whole &= not any(isinstance(value, dict) and "truncated" in value for value in values)
    group.example = group.example or plain(str(delta["text"]), EXAMPLE_LENGTH_MAX)


def _digest(group: _Gathered) -> str:
    return hashlib.sha256("\n".join(sorted(group.changes)).encode()).hexdigest()


def _cause(causes: set[str]) -> Cause:
    """The worst that was found; a regression only when every delta was executed again."""
    for cause in (Cause.NONDETERMINISM, Cause.UNKNOWN):
        if cause.value in causes or not causes:
            return cause
    return Cause.REGRESSION


def _one_sided(comparison: Mapping[str, Any], kind: str, side: str) -> Iterator[Group]:
    """Executions that only one side has: to approve is to agree that they come, or go."""
    listed: Sequence[Mapping[str, Json]] = comparison[kind]
    by_kernel: dict[str, list[str]] = {}
    for item in listed:
        execution = f"seed {item['sim_seed']}, chaos seed {item['chaos_seed']}"
        by_kernel.setdefault(str(item["kernel"]), []).append(execution)
    for kernel, seeds in by_kernel.items():
        yield Group(kernel, "", kind, len(seeds), f"only the {side} has {seeds[0]}")
    more = comparison[f"{kind}_count"] - len(listed)
    if more > 0:
        yield Group(EVERY_KERNEL, "", kind, more, f"only the {side} has {more} more executions")


def _audit(rule: Mapping[str, Any]) -> MaskAudit:
    return MaskAudit(
        files=plain(rule["files"], TEXT_LENGTH_MAX),
        pointer=plain(rule["pointer"], TEXT_LENGTH_MAX),
        reason=plain(rule["reason"], TEXT_LENGTH_MAX),
        hits=rule["hits"],
        hid=rule["hid"],
    )


def plain(text: str, longest: int) -> str:
    """`text` on one line, what is not printable escaped: it comes from the program under test."""
    spelled = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text.replace("\n", " ")
    )
    return spelled if len(spelled) <= longest else f"{spelled[: longest - 1]}…"
