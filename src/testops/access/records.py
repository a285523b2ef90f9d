"""What the store keeps about keys, sessions and login links: never a secret, only its digest.

Times are milliseconds since 1970, because they are compared.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from testops.domain.access import Principal, Role, timestamp


def ms_of(moment: datetime) -> int:
    """A moment as it is kept."""
    return round(moment.timestamp() * 1000)


def moment_of(at_ms: int) -> datetime:
    """A kept moment."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def shown_ms(at_ms: int | None) -> str | None:
    """A kept moment, for people."""
    return None if at_ms is None else timestamp(moment_of(at_ms))


@dataclass(frozen=True, slots=True)
class Holder:
    """What a secret lets its bearer be."""

    name: str
    role: Role
    workspaces: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key. `origin` is `environment` for the one that `serve` installs, or else empty."""

    key_id: str
    digest: str
    holder: Holder
    origin: str
    created_by: str
    created_ms: int
    expires_ms: int | None
    last_used_ms: int | None = None
    revoked_ms: int | None = None
    revoked_by: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None

    def ended(self, now_ms: int) -> str | None:
        """Why this key opens nothing any more; None while it does."""
        return _ended("revoked", self.expires_ms, self.revoked_ms, now_ms)

    def principal(self) -> Principal:
        return _principal(self.holder, "key", self.key_id, self.expires_ms)

    def to_json(self, now_ms: int) -> dict[str, Any]:
        ended = self.ended(now_ms)
        workspaces = self.holder.workspaces
        return {
            "id": self.key_id,
            "name": self.holder.name,
            "role": self.holder.role.value,
            "workspaces": None if workspaces is None else sorted(workspaces),
            "state": "usable" if ended is None else ended,
            "origin": self.origin or None,
            "created_by": self.created_by,
            "created_at": shown_ms(self.created_ms),
            "expires_at": shown_ms(self.expires_ms),
            "last_used_at": shown_ms(self.last_used_ms),
            "revoked_at": shown_ms(self.revoked_ms),
            "revoked_by": self.revoked_by,
            "replaces": self.replaces,
            "replaced_by": self.replaced_by,
        }


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A browser that logged in, as `session` or `oidc`; `key_id` is whose link opened it."""

    session_id: str
    digest: str
    kind: str
    holder: Holder
    key_id: str | None
    created_ms: int
    expires_ms: int
    revoked_ms: int | None = None

    def ended(self, now_ms: int) -> str | None:
        return _ended("closed", self.expires_ms, self.revoked_ms, now_ms)

    def principal(self) -> Principal:
        return _principal(self.holder, self.kind, self.session_id, self.expires_ms)


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A login link: good once, until it expires. A session of it ends at `session_until_ms`."""

    link_id: str
    digest: str
    holder: Holder
    key_id: str | None
    created_ms: int
    expires_ms: int
    session_until_ms: int | None
    used_ms: int | None = None


def _ended(word: str, expires_ms: int | None, revoked_ms: int | None, now_ms: int) -> str | None:
    if revoked_ms is not None:
        return word
    return "expired" if expires_ms is not None and expires_ms <= now_ms else None


def _principal(holder: Holder, kind: str, own_id: str, expires_ms: int | None) -> Principal:
    return Principal(
        name=holder.name,
        kind=kind,
        id=own_id,
        role=holder.role,
        workspaces=holder.workspaces,
        expires_at=None if expires_ms is None else moment_of(expires_ms),
    )
