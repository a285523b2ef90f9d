"""What keys, sessions and the audit log look like on the wire."""

from typing import Annotated, Any

from pydantic import Field

from testops.access.keys import LIFETIME_S_MAX, NAME_LENGTH_MAX
from testops.access.sessions import LINK_S_MAX
from testops.access.settings import ROTATION_OVERLAP_S
from testops.api.schemas import Wire
from testops.domain.access import Role
from testops.domain.shapes import Name, Strict

HolderName = Annotated[
    str,
    Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\s][^\x00-\x1f\x7f-\x9f]*$", max_length=NAME_LENGTH_MAX),
]
Scope = Annotated[list[Name], Field(min_length=1, max_length=100)]
RoleWord = Annotated[Role, Field(strict=False)]


class KeyAsked(Strict):
    """A new key. Without `workspaces` it reaches every one that its maker reaches."""

    name: HolderName
    role: RoleWord
    workspaces: Scope | None = None
    expires_in_s: Annotated[int, Field(ge=1, le=LIFETIME_S_MAX)] | None = 90 * 24 * 3600


class RotationAsked(Strict):
    """How long the old key works beside the new one."""

    overlap_s: Annotated[int, Field(ge=0, le=LIFETIME_S_MAX)] = ROTATION_OVERLAP_S


class LoginLinkAsked(Strict):
    """A login link; what is left out is the caller's own."""

    name: HolderName | None = None
    role: RoleWord | None = None
    workspaces: Scope | None = None
    lifetime_s: Annotated[int, Field(ge=1, le=LINK_S_MAX)] | None = None


class PrincipalShown(Wire):
    """Who is asking."""

    name: str
    kind: str
    id: str
    role: Role
    workspaces: list[str] | None
    permissions: list[str]
    expires_at: str | None


class KeyShown(Wire):
    """A key, without its secret, which is nowhere."""

    id: str
    name: str
    role: Role
    workspaces: list[str] | None
    state: str
    origin: str | None
    created_by: str
    created_at: str | None
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    revoked_by: str | None
    replaces: str | None
    replaced_by: str | None


class NewKeyShown(KeyShown):
    """A key that was just made. `key` is shown this once."""

    key: str


class KeyList(Wire):
    """Keys, oldest first."""

    keys: list[KeyShown]


class LoginLinkShown(Wire):
    """A login link. `path` is shown this once, and opens one session."""

    id: str
    path: str
    expires_at: str


class AuditActor(Wire):
    """Who did it."""

    kind: str
    id: str
    name: str


class AuditRow(Wire):
    """One thing that was done or refused; `hash` covers all of it and the row before."""

    seq: int
    at: str
    actor: AuditActor
    action: str
    target: str
    workspace: str
    outcome: str
    client: str
    detail: dict[str, Any]
    previous: str
    hash: str


class AuditList(Wire):
    """Rows of the audit log, newest first."""

    rows: list[AuditRow]
    next_cursor: str | None
