"""Reads a review back from its JSON, strictly: a record in which two fields disagree is refused."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from testops.domain.bundle_key import BundleKey
from testops.domain.review import (
    APPROVAL_COUNT_MAX,
    EXAMPLE_LENGTH_MAX,
    FIELD_LENGTH_MAX,
    GROUP_COUNT_MAX,
    MASK_COUNT_MAX,
    REVIEW_SCHEMA_VERSION,
    TEXT_LENGTH_MAX,
    Cause,
    Decision,
    Group,
    GroupState,
    MaskAudit,
    Review,
    person_key,
)
from testops.domain.review_fields import (
    RECORD_FIX,
    array,
    count,
    digest,
    fields_of,
    member,
    moment,
    place,
    refused,
    text,
)

Value = TypeVar("Value")


def review_from_json(document: object) -> Review:
    """The review that `document` spells; BadInput points at the field that is wrong."""
    fields = fields_of(document, "", _REVIEW_FIELDS)
    if fields["schema_version"] != REVIEW_SCHEMA_VERSION or fields["schema_version"] is True:
        newer = isinstance(fields["schema_version"], int)
        problem = f"is {str(fields['schema_version'])[:40]}, and {REVIEW_SCHEMA_VERSION} is known"
        fix = "update ryuzen-testops" if newer else RECORD_FIX
        raise refused("/schema_version", problem, fix)
    review = Review(
        base=_optional(digest, fields["base"], "/base"),
        target=digest(fields["target"], "/target"),
        key=_key(fields["key"]),
        opened_at=moment(fields["opened_at"], "/opened_at"),
        opened_by_run=_optional(text, fields["opened_by_run"], "/opened_by_run"),
        approvals_required=count(fields["approvals_required"], "/approvals_required", low=1),
        groups=_unique_groups(fields["groups"]),
        approvals=_distinct_approvals(fields["approvals"]),
        masks=tuple(
            _mask(item, f"/masks/{index}")
            for index, item in enumerate(array(fields["masks"], "/masks", MASK_COUNT_MAX))
        ),
        superseded_by=_optional(digest, fields["superseded_by"], "/superseded_by"),
    )
    if fields["state"] != review.state.value:
        said = str(fields["state"])[:40]
        raise refused("/state", f"is {said!r}, and its groups and approvals say {review.state}")
    return review


def _optional(read: Callable[[object, str], Value], value: object, at: str) -> Value | None:
    return None if value is None else read(value, at)


def _key(value: object) -> BundleKey:
    fields = fields_of(value, "/key", ("suite", "profile", "engine_version", "python"))
    return BundleKey(**{name: text(fields[name], f"/key/{name}") for name in fields})


def _unique_groups(value: object) -> tuple[Group, ...]:
    groups = tuple(
        _group(item, f"/groups/{index}")
        for index, item in enumerate(array(value, "/groups", GROUP_COUNT_MAX))
    )
    _require_distinct(((group.kernel, group.field, group.kind) for group in groups), "/groups")
    return groups


def _group(value: object, at: str) -> Group:
    fields = fields_of(value, at, _GROUP_FIELDS)
    state = GroupState(member(fields["state"], f"{at}/state", list(GroupState)))
    decision = None
    if state is not GroupState.PENDING:
        decision = _decision({name: fields[name] for name in ("who", "why", "at")}, at)
    elif any(fields[name] is not None for name in ("who", "why", "at")):
        raise refused(f"{at}/state", "is pending, and yet somebody decided")
    return Group(
        kernel=text(fields["kernel"], f"{at}/kernel"),
        field=place(fields["field"], f"{at}/field", FIELD_LENGTH_MAX),
        kind=text(fields["kind"], f"{at}/kind"),
        executions=count(fields["executions"], f"{at}/executions", low=1),
        example=text(fields["example"], f"{at}/example", empty=True, longest=EXAMPLE_LENGTH_MAX),
        digest=_optional(digest, fields["digest"], f"{at}/digest"),
        cause=Cause(member(fields["cause"], f"{at}/cause", list(Cause))),
        state=state,
        decision=decision,
    )


def _distinct_approvals(value: object) -> tuple[Decision, ...]:
    approvals = tuple(
        _decision(item, f"/approvals/{index}")
        for index, item in enumerate(array(value, "/approvals", APPROVAL_COUNT_MAX))
    )
    # One person twice would be two-person approval by one person.
    _require_distinct((person_key(approval.who) for approval in approvals), "/approvals")
    return approvals


def _require_distinct(keys: Iterable[object], at: str) -> None:
    seen: dict[object, int] = {}
    for index, key in enumerate(keys):
        if seen.setdefault(key, index) != index:
            raise refused(f"{at}/{index}", f"repeats {at}/{seen[key]}")


def _decision(value: object, at: str) -> Decision:
    fields = fields_of(value, at, ("who", "why", "at"))
    return Decision(
        who=text(fields["who"], f"{at}/who", longest=TEXT_LENGTH_MAX),
        why=text(fields["why"], f"{at}/why", longest=TEXT_LENGTH_MAX, lines=True),
        at=moment(fields["at"], f"{at}/at"),
    )


def _mask(value: object, at: str) -> MaskAudit:
    fields = fields_of(value, at, ("files", "pointer", "reason", "hits", "hid"))
    return MaskAudit(
        files=text(fields["files"], f"{at}/files"),
        pointer=text(fields["pointer"], f"{at}/pointer"),
        reason=text(fields["reason"], f"{at}/reason", longest=TEXT_LENGTH_MAX, lines=True),
        hits=count(fields["hits"], f"{at}/hits", low=0),
        hid=count(fields["hid"], f"{at}/hid", low=0),
    )


_REVIEW_FIELDS = (
    "schema_version",
    "base",
    "target",
    "key",
    "opened_at",
    "opened_by_run",
    "approvals_required",
    "groups",
    "approvals",
    "masks",
    "superseded_by",
    "state",
)
_GROUP_FIELDS = (
    "kernel",
    "field",
    "kind",
    "executions",
    "example",
    "digest",
    "cause",
    "state",
    "who",
    "why",
    "at",
)
