"""A review: what moved between a baseline and a run, and what people decided about each part.

Deltas are decided in groups, one for each (kernel, field, kind), because one change of a program
moves the same field under every seed. A review holds values and pure transitions only: who opens
one, where it is kept and what becomes of an accepted one belong to `snapshots` and `storage`.

    group:   pending -> accepted | rejected | masked;  accepted -> rejected
    review:  pending -> accepted | rejected;           superseded by the review of a later target

A person may take an acceptance back, never a rejection: a rejected group blocks approval until the
behaviour is gone. The state of a review is what its groups and approvals say, and never a field
that could contradict them; `review_record` reads one back, and refuses a file in which it does.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput, IllegalMove

REVIEW_SCHEMA_VERSION = 1
GROUP_COUNT_MAX = 2000
APPROVAL_COUNT_MAX = 100
MASK_COUNT_MAX = 1000
TEXT_LENGTH_MAX = 2000
EXAMPLE_LENGTH_MAX = 4000
FIELD_LENGTH_MAX = 1000
_SPACES = re.compile(r"\s+")


class GroupState(StrEnum):
    """What was decided about one group of deltas."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    MASKED = "masked"


class ReviewState(StrEnum):
    """Where a review stands; only a pending one takes decisions."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


class Cause(StrEnum):
    """Why a group of deltas is there, as far as executing it again has told."""

    REGRESSION = "regression"
    NONDETERMINISM = "nondeterminism"
    UNKNOWN = "unknown"


MOVES: Mapping[GroupState, frozenset[GroupState]] = {
    GroupState.PENDING: frozenset({GroupState.ACCEPTED, GroupState.REJECTED, GroupState.MASKED}),
    GroupState.ACCEPTED: frozenset({GroupState.REJECTED}),
    GroupState.REJECTED: frozenset(),
    GroupState.MASKED: frozenset(),
}


def same_person(one: str, other: str) -> bool:
    """Whether two spellings are one person: width, case and spacing make nobody a second one."""
    return person_key(one) == person_key(other)


def person_key(name: str) -> str:
    """What is equal exactly when two names are one person's."""
    # Compatibility forms first: casefolding alone would leave a full-width A beside a plain one.
    folded = unicodedata.normalize("NFKC", name).casefold()
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", folded)).strip()


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decided, why, and when (RFC 3339, UTC). Made by `decided`, which checks all three."""

    who: str
    why: str
    at: str

    def to_json(self) -> dict[str, Any]:
        return {"who": self.who, "why": self.why, "at": self.at}


def decided(who: str, why: str, at: datetime) -> Decision:
    """A decision of a person; BadInput for an empty, overlong or unprintable `who` or `why`."""
    return Decision(_spoken(who, "--who"), _spoken(why, "--why"), moment_of(at))


def moment_of(at: datetime) -> str:
    """A time as records have it: RFC 3339, in UTC, to the second."""
    if at.tzinfo is None:
        raise BadInput("has no time zone", where="at", fix="pass an aware time")
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _spoken(said: str, where: str) -> str:
    stripped = said.strip()
    if not stripped:
        fix = "what people decide has a name and a reason"
        raise BadInput("is empty", where=where, fix=fix)
    if len(stripped) > TEXT_LENGTH_MAX:
        problem = f"is longer than {TEXT_LENGTH_MAX} characters"
        raise BadInput(problem, where=where, fix="shorten it")
    if not all(letter.isprintable() or letter == "\n" for letter in stripped):
        raise BadInput("holds control characters", where=where, fix="write plain text")
    return stripped


@dataclass(frozen=True, slots=True)
class Group:
    """The deltas of one kind at one field of one kernel, in `executions` executions.

    `field` is a pointer into the kernel file with list indexes as `*`; "" is the whole execution,
    which only one side has. `digest` is of what changed into what: groups of two reviews with one
    digest are one behaviour, so that a decision about it holds in both. It is None when a report
    could not hold every delta.
    """

    kernel: str
    field: str
    kind: str
    executions: int
    example: str
    digest: str | None = None
    cause: Cause = Cause.UNKNOWN
    state: GroupState = GroupState.PENDING
    decision: Decision | None = None

    @property
    def name(self) -> str:
        return f"kernel {self.kernel}, field {self.field or '(whole execution)'} ({self.kind})"

    def moved_to(self, state: GroupState, decision: Decision) -> "Group":
        if state not in MOVES[self.state]:
            raise IllegalMove(
                f"cannot go from {self.state} to {state}", where=self.name, fix=_fix_of(self)
            )
        return replace(self, state=state, decision=decision)

    def to_json(self) -> dict[str, Any]:
        decision = self.decision
        return {
            "kernel": self.kernel,
            "field": self.field,
            "kind": self.kind,
            "executions": self.executions,
            "example": self.example,
            "digest": self.digest,
            "cause": self.cause.value,
            "state": self.state.value,
            "who": None if decision is None else decision.who,
            "why": None if decision is None else decision.why,
            "at": None if decision is None else decision.at,
        }


def _fix_of(group: Group) -> str:
    if group.state is GroupState.REJECTED and group.decision is not None:
        return f"{group.decision.who} rejected it: mend the behaviour and run again"
    return "nothing is to be done about it"


@dataclass(frozen=True, slots=True)
class MaskAudit:
    """What one mask did in the comparison under review: how often it hit, and hid a change."""

    files: str
    pointer: str
    reason: str
    hits: int
    hid: int

    def to_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "pointer": self.pointer,
            "reason": self.reason,
            "hits": self.hits,
            "hid": self.hid,
        }


@dataclass(frozen=True, slots=True)
class Review:
    """One target against its baseline; `base` is None where there is no baseline yet."""

    base: str | None
    target: str
    key: BundleKey
    opened_at: str
    opened_by_run: str | None
    approvals_required: int = 1
    groups: tuple[Group, ...] = ()
    approvals: tuple[Decision, ...] = ()
    masks: tuple[MaskAudit, ...] = ()
    superseded_by: str | None = None

    @property
    def state(self) -> ReviewState:
        if self.superseded_by is not None:
            return ReviewState.SUPERSEDED
        states = {group.state for group in self.groups}
        if GroupState.REJECTED in states:
            return ReviewState.REJECTED
        if GroupState.PENDING in states or self.approvals_missing:
            return ReviewState.PENDING
        return ReviewState.ACCEPTED

    @property
    def approvals_missing(self) -> int:
        """How many different people have to approve yet."""
        return max(0, self.approvals_required - len(self.approvals))

    @property
    def is_open(self) -> bool:
        """Whether a person still has something to do: to decide, or to mend what was rejected."""
        return self.state in (ReviewState.PENDING, ReviewState.REJECTED)

    @property
    def unstable(self) -> tuple[Group, ...]:
        """What no run reaches twice, and no mask hides: nothing could match such a baseline."""
        return tuple(
            group
            for group in self.groups
            if group.cause is Cause.NONDETERMINISM and group.state is not GroupState.MASKED
        )

    def named(self, *, kernel: str | None = None, field: str | None = None) -> tuple[Group, ...]:
        """The groups of `kernel` and `field`; BadInput when there is none."""
        found = tuple(
            group
            for group in self.groups
            if kernel in (None, group.kernel) and field in (None, group.field)
        )
        if found or (kernel is None and field is None):
            return found
        wanted = " and ".join(
            f"{noun} {value!r}" for noun, value in (("kernel", kernel), ("field", field)) if value
        )
        known = "; ".join(group.name for group in self.groups[:5]) or "none"
        if len(self.groups) > 5:
            known = f"{known}; and {len(self.groups) - 5} more"
        raise BadInput(f"there is no delta of {wanted}", fix=f"name one of its groups: {known}")

    def decide(
        self,
        state: GroupState,
        decision: Decision,
        *,
        kernel: str | None = None,
        field: str | None = None,
    ) -> "Review":
        """The review with the groups of `kernel` and `field` (None: all of them) in `state`."""
        self._require_taking(f"to move deltas to {state}")
        moved = {
            id(group): group.moved_to(state, decision) for group in self._chosen(kernel, field)
        }
        return replace(self, groups=tuple(moved.get(id(group), group) for group in self.groups))

    def _chosen(self, kernel: str | None, field: str | None) -> tuple[Group, ...]:
        found = self.named(kernel=kernel, field=field)
        if not found:
            raise IllegalMove("has no delta to decide about", where=f"review {self.target[:16]}")
        # Of several groups that were named together, one that is decided already is passed over.
        pending = tuple(group for group in found if group.state is GroupState.PENDING)
        return pending or found

    def approve(self, decision: Decision) -> "Review":
        """The review with everything pending accepted, and one approval more.

        IllegalMove when a group is rejected, or the same person has approved already.
        """
        rejected = [group for group in self.groups if group.state is GroupState.REJECTED]
        if rejected:
            raise IllegalMove(
                f"cannot go from rejected to accepted: {rejected[0].name}",
                where=f"review {self.target[:16]}",
                fix=_fix_of(rejected[0]),
            )
        self._require_taking("to be approved")
        for approval in self.approvals:
            if same_person(approval.who, decision.who):
                raise IllegalMove(
                    f"was approved by {approval.who} already, on {approval.at}",
                    where=f"review {self.target[:16]}",
                    fix=f"another person has to approve it ({self.approvals_missing} to go)",
                )
        groups = tuple(
            group.moved_to(GroupState.ACCEPTED, decision)
            if group.state is GroupState.PENDING
            else group
            for group in self.groups
        )
        return replace(self, groups=groups, approvals=(*self.approvals, decision))

    def superseded(self, by: str) -> "Review":
        """The review after a run with another target; only an open one gives way."""
        if not self.is_open or by == self.target:
            raise IllegalMove(
                f"cannot go from {self.state} to superseded", where=f"review {self.target[:16]}"
            )
        return replace(self, superseded_by=by)

    def reopened(self) -> "Review":
        """A superseded review whose target came back: what was decided about it still holds."""
        if self.superseded_by is None:
            raise IllegalMove(
                f"cannot go from {self.state} to pending", where=f"review {self.target[:16]}"
            )
        return replace(self, superseded_by=None)

    def requiring(self, approvals: int) -> "Review":
        """The review under the number of approvals that is configured now, if it is open."""
        return self if not self.is_open else replace(self, approvals_required=approvals)

    def carried_from(self, former: "Review") -> "Review":
        """The review with what `former` decided about the very same behaviour."""
        if self.base != former.base:
            return self
        # Of one target and one base, every delta is the same one, also where no digest could be
        # taken; of two targets only those that are known to be.
        by_place = self.target == former.target
        known = {
            _identity_of(group, by_place=by_place): group
            for group in former.groups
            if by_place or group.digest is not None
        }
        return replace(
            self,
            groups=tuple(
                _carried(group, known.get(_identity_of(group, by_place=by_place)))
                for group in self.groups
            ),
        )

    def renewed(self, fresh: "Review") -> "Review":
        """The review after comparing again: `fresh` is what that found of the same target.

        Decisions hold. Approvals do too, unless something new is under review: nobody approved
        that. What a mask hides now stays as masked, and what was rejected stays whatever hides it:
        the behaviour of one target is not gone. Another baseline makes another review.
        """
        if self.base != fresh.base or self.state is ReviewState.ACCEPTED:
            return fresh
        carried = _as_unstable_as(self, fresh.carried_from(self))
        places = {_place(group) for group in fresh.groups}
        lasting = (GroupState.MASKED, GroupState.REJECTED)
        hidden = tuple(
            group for group in self.groups if group.state in lasting and _place(group) not in places
        )
        is_new = bool(places - {_place(group) for group in self.groups})
        return replace(
            carried,
            opened_at=self.opened_at,
            opened_by_run=self.opened_by_run,
            groups=(*carried.groups, *hidden),
            approvals=() if is_new else self.approvals,
        )

    def _require_taking(self, what: str) -> None:
        if self.state in (ReviewState.PENDING, ReviewState.REJECTED):
            return
        by = ", ".join(approval.who for approval in self.approvals)
        fix = f"it was approved by {by}; nothing is left to decide"
        if self.superseded_by is not None:
            fix = f"decide about the newer target, {self.superseded_by}, or run this one again"
        raise IllegalMove(
            f"is {self.state}, too late {what}", where=f"review {self.target[:16]}", fix=fix
        )

    def to_json(self) -> dict[str, Any]:
        """What is kept: on the disk by `snapshots`, in a table by `storage`."""
        return {
            "schema_version": REVIEW_SCHEMA_VERSION,
            "base": self.base,
            "target": self.target,
            "key": self.key.to_json(),
            "opened_at": self.opened_at,
            "opened_by_run": self.opened_by_run,
            "approvals_required": self.approvals_required,
            "groups": [group.to_json() for group in self.groups],
            "approvals": [approval.to_json() for approval in self.approvals],
            "masks": [mask.to_json() for mask in self.masks],
            "superseded_by": self.superseded_by,
            "state": self.state.value,
        }


def _as_unstable_as(former: Review, review: Review) -> Review:
    """One target that two executions once disagreed about does not become stable by another."""
    unstable = {_place(group) for group in former.unstable}
    return replace(
        review,
        groups=tuple(
            replace(group, cause=Cause.NONDETERMINISM) if _place(group) in unstable else group
            for group in review.groups
        ),
    )


def _place(group: Group) -> tuple[str, str, str]:
    return group.kernel, group.field, group.kind


def _identity_of(group: Group, *, by_place: bool) -> tuple[str | None, ...]:
    return _place(group) if by_place else (*_place(group), group.digest)


def _carried(group: Group, former: Group | None) -> Group:
    if former is None:
        return group
    # What executing it again has told stays told: not every comparison executes.
    if group.cause is Cause.UNKNOWN:
        group = replace(group, cause=former.cause)
    # A mask stands in the file of masks now: where its delta is there still, it hides nothing.
    if group.state is not GroupState.PENDING or former.state is GroupState.MASKED:
        return group
    return replace(group, state=former.state, decision=former.decision)
