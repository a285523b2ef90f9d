"""What access needs of a store; `testops.storage.access` supplies it.

Every method that changes something takes the audit entry that says so and writes both in one
transaction, so neither can be there without the other. All of them block and are safe to call from
any thread; each raises `StoreUnavailable` when the store does not answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from testops.access.audit import Entry, Head, Row
from testops.access.records import KeyRecord, LinkRecord, SessionRecord


@dataclass(frozen=True, slots=True)
class Ending:
    """When something ends, and who ended it."""

    at_ms: int
    by: str


class AuditStore(Protocol):
    """The audit log, which is only ever added to."""

    def append(self, entry: Entry) -> Row:
        """`entry` in its place; concurrent writers wait for each other, and never share a place."""
        ...

    def page(self, *, after: int, limit: int) -> tuple[Sequence[Row], Head | None]:
        """The rows behind number `after`, oldest first, and the head at that same moment."""
        ...

    def newest(self, *, before: int | None, limit: int) -> Sequence[Row]:
        """The rows in front of number `before`, newest first."""
        ...


class KeyStore(Protocol):
    """The keys."""

    def key(self, key_id: str) -> KeyRecord | None: ...
    def all_keys(self) -> Sequence[KeyRecord]:
        """Every key, oldest first."""
        ...

    def add_key(self, record: KeyRecord, entry: Entry) -> bool:
        """False, and nothing written, when there is a key of that id already."""
        ...

    def replace_key(self, key_id: str, *, old_until_ms: int, by: KeyRecord, entry: Entry) -> bool:
        """Add `by`, and let the old key end; False when that one has ended or been replaced."""
        ...

    def revoke_key(self, key_id: str, ending: Ending, entry: Entry) -> bool:
        """End a key, and every session and link that came from it; False when it had been ended."""
        ...

    def restore_key(self, key_id: str, entry: Entry) -> bool:
        """Let a key that was revoked be used again; False when it was not revoked."""
        ...

    def touch_key(self, key_id: str, *, at_ms: int, unless_since_ms: int) -> None:
        """Note a use, unless one was noted since `unless_since_ms`."""
        ...


class SessionStore(Protocol):
    """Sessions, and the links that open them."""

    def session(self, digest: str) -> SessionRecord | None: ...
    def session_by_id(self, session_id: str) -> SessionRecord | None: ...
    def add_session(self, record: SessionRecord, entry: Entry) -> None: ...
    def close_session(self, session_id: str, ending: Ending, entry: Entry) -> bool: ...
    def add_link(self, record: LinkRecord, entry: Entry) -> None: ...
    def link(self, digest: str) -> LinkRecord | None: ...
    def redeem_link(
        self, link_id: str, *, now_ms: int, session: SessionRecord, entry: Entry
    ) -> bool:
        """Use the link up and open the session; False when it was used, expired or withdrawn."""
        ...

    def forget_ended(self, *, before_ms: int) -> int:
        """Delete sessions and links that ended before that; how many."""
        ...


class AccessStore(AuditStore, KeyStore, SessionStore, Protocol):
    """All of it."""
