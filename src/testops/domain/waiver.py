"""A waiver: a named person answers for one gate that fails in one suite, for some time.

It makes a failure a warning, never missing evidence a verdict, and no broken determinism anything.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from testops.domain.gate import Waived
from testops.domain.policy import GateName
from testops.domain.shapes import Name, Number, OneLine, Strict

DAYS_MAX = 90


class WaiverEntry(Strict):
    """What somebody writes down."""

    suite: Name
    gate: GateName = Field(description="The name of the gate, as `testops gates list` shows it.")
    owner: OneLine = Field(description="The person who answers for it.")
    reason: OneLine
    expires: OneLine = Field(
        description=f"RFC 3339 with its offset, at most {DAYS_MAX} days away.",
        examples=["2026-12-24T18:00:00Z"],
    )
    up_to: Number | None = Field(None, description="Only while the value is no worse than this.")
    ticket: OneLine | None = None


class WaiverFile(Strict):
    """`waivers.yaml` of a project."""

    schema_version: Literal[1] = Field(1, alias="schema")
    waivers: Annotated[list[WaiverEntry], Field(max_length=500)] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Waiver:
    """A waiver as it is applied. Who wrote it on a server is `created_by`; `owner` is a person."""

    suite: str
    gate: str
    owner: str
    reason: str
    expires_at: datetime
    up_to: float | None = None
    ticket: str = ""
    waiver_id: str = ""
    workspace: str = ""
    created_by: str = ""
    created_at: str = ""

    @property
    def shown(self) -> str:
        """How a message calls it."""
        return f"the waiver of {self.owner} for {self.gate}"

    @property
    def expires(self) -> str:
        return rfc3339(self.expires_at)

    def lives(self, now: datetime) -> bool:
        return now < self.expires_at

    def note(self) -> Waived:
        """What the gate that it waived says about it."""
        return Waived(self.owner, self.reason, self.expires, self.ticket)

    def to_json(self) -> dict[str, Any]:
        return {
            "waiver_id": self.waiver_id,
            "workspace": self.workspace,
            "suite": self.suite,
            "gate": self.gate,
            "owner": self.owner,
            "reason": self.reason,
            "expires": self.expires,
            "up_to": self.up_to,
            "ticket": self.ticket,
            "created_by": self.created_by,
            "created_at": self.created_at,
        }


class Refused(ValueError):
    """Nobody may grant that; which field says so, and why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


def waiver_of(entry: WaiverEntry, now: datetime) -> Waiver:
    """The waiver that `entry` writes down at `now`; `Refused` when nobody may grant that."""
    try:
        expires_at = moment_of(entry.expires)
    except ValueError as error:
        raise Refused("expires", f"{entry.expires!r} is no RFC 3339 time with an offset") from error
    if expires_at > now + timedelta(days=DAYS_MAX):
        raise Refused("expires", f"it is more than {DAYS_MAX} days away")
    if cannot_be_waived(entry.gate):
        raise Refused("gate", "determinism cannot be waived: without it no other gate says much")
    return Waiver(
        suite=entry.suite,
        gate=entry.gate,
        owner=entry.owner,
        reason=entry.reason,
        expires_at=expires_at,
        up_to=entry.up_to,
        ticket=entry.ticket or "",
    )


def cannot_be_waived(name: str) -> bool:
    """Whether a gate or metric of that name is of determinism."""
    return "determinis" in name


def moment_of(text: str) -> datetime:
    """The moment that RFC 3339 text names; `ValueError` without an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no offset")
    return moment.astimezone(UTC)


def rfc3339(moment: datetime) -> str:
    """A moment in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
