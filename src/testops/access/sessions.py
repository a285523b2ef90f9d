"""Logs a browser in by a one-time link, and out again.

A session is a row in the store and an opaque cookie, not a signed token: logging out and revoking
end it for good. Its secret is always freshly drawn, so a cookie that somebody planted before the
login never becomes a session.
"""

from dataclasses import dataclass, field

from testops.access.audit import Entry, entry_of
from testops.access.credentials import COOKIE, SECURE_COOKIE
from testops.access.keys import TooWide
from testops.access.ports import AccessStore, Ending
from testops.access.records import Holder, LinkRecord, SessionRecord, ms_of
from testops.access.refused import Refused, unknown
from testops.access.settings import AccessSettings
from testops.access.tokens import Draw, Minted, mint_opaque, presented_opaque
from testops.domain.access import Permission, Principal, reaches
from testops.domain.errors import BadInput
from testops.telemetry.clock import Clock

LOGIN_PATH = "/login"
LINK_S_MAX = 24 * 3600
KEPT_AFTER_END_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class NewLink:
    """A login link that was just made; `path` carries its secret."""

    record: LinkRecord
    path: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that just began, and the secret of its cookie."""

    record: SessionRecord
    token: str = field(repr=False)


class Sessions:
    """The browser sessions of a store."""

    def __init__(
        self, store: AccessStore, clock: Clock, draw: Draw, settings: AccessSettings
    ) -> None:
        self._store = store
        self._clock = clock
        self._draw = draw
        self._settings = settings

    def link(
        self, holder: Holder, *, by: Principal, lifetime_s: int | None = None, client: str = ""
    ) -> NewLink:
        """A link that logs one browser in as `holder`, which is never wider than `by`."""
        lifetime_s = self._settings.link_s if lifetime_s is None else lifetime_s
        if not 1 <= lifetime_s <= LINK_S_MAX:
            raise BadInput("a login link lives between a second and a day", where="lifetime")
        _check_width(holder, by)
        now = self._clock.now()
        minted = mint_opaque(self._draw)
        until = by.expires_at
        record = LinkRecord(
            link_id=minted.id,
            digest=minted.digest,
            holder=holder,
            key_id=by.id if by.kind == "key" else None,
            created_ms=ms_of(now),
            expires_ms=ms_of(now) + lifetime_s * 1000,
            session_until_ms=None if until is None else ms_of(until),
        )
        entry = entry_of(
            by, "login-link.create", now, target=minted.id, client=client,
            detail={"name": holder.name, "role": holder.role.value},
        )  # fmt: skip
        self._store.add_link(record, entry)
        return NewLink(record, f"{LOGIN_PATH}?token={minted.token}")

    def redeem(self, token: str, *, client: str) -> Opened:
        """The session that a link opens, once; `Refused` in every other case."""
        digest = presented_opaque(token)
        link = None if digest is None else self._store.link(digest)
        if link is None or link.digest != digest:
            raise _useless()
        opened = self._opening(
            link.holder, "session", key_id=link.key_id, until_ms=link.session_until_ms
        )
        entry = self._login_entry(opened.record, client, {"link": link.link_id})
        now_ms = opened.record.created_ms
        if not self._store.redeem_link(
            link.link_id, now_ms=now_ms, session=opened.record, entry=entry
        ):
            raise _useless()
        return opened

    def open_oidc(self, holder: Holder, *, subject: str, client: str) -> Opened:
        """The session of somebody whom the organisation's issuer vouched for."""
        opened = self._opening(holder, "oidc", key_id=None, until_ms=None)
        entry = self._login_entry(opened.record, client, {"subject": subject})
        self._store.add_session(opened.record, entry)
        return opened

    def close(self, principal: Principal, *, client: str = "") -> bool:
        """Log out; False when the session had ended already."""
        if principal.kind not in {"session", "oidc"}:
            raise BadInput("a key has no session to end", fix="revoke the key instead")
        now = self._clock.now()
        entry = entry_of(principal, "session.close", now, target=principal.id, client=client)
        return self._store.close_session(principal.id, Ending(ms_of(now), principal.name), entry)

    def forget_ended(self) -> int:
        """Delete what ended more than a day ago; the audit log keeps what it did."""
        before_ms = ms_of(self._clock.now()) - KEPT_AFTER_END_S * 1000
        return self._store.forget_ended(before_ms=before_ms)

    def _opening(
        self, holder: Holder, kind: str, *, key_id: str | None, until_ms: int | None
    ) -> Opened:
        now_ms = ms_of(self._clock.now())
        until = now_ms + self._settings.session_s * 1000
        minted: Minted = mint_opaque(self._draw)
        record = SessionRecord(
            session_id=minted.id,
            digest=minted.digest,
            kind=kind,
            holder=holder,
            key_id=key_id,
            created_ms=now_ms,
            expires_ms=until if until_ms is None else min(until, until_ms),
        )
        return Opened(record, minted.token)

    def _login_entry(self, record: SessionRecord, client: str, detail: dict[str, str]) -> Entry:
        return entry_of(
            record.principal(), "session.open", self._clock.now(),
            target=record.session_id, client=client, detail=detail,
        )  # fmt: skip


def set_cookie(opened: Opened, *, secure: bool) -> str:
    """The `Set-Cookie` header of a session that begins."""
    age_s = (opened.record.expires_ms - opened.record.created_ms) // 1000
    return _cookie(opened.token, age_s=age_s, secure=secure)


def clear_cookie(*, secure: bool) -> str:
    """The `Set-Cookie` header that makes a browser forget."""
    return _cookie("", age_s=0, secure=secure)


def _cookie(value: str, *, age_s: int, secure: bool) -> str:
    name = SECURE_COOKIE if secure else COOKIE
    tail = "; Secure" if secure else ""
    return f"{name}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{tail}"


def _check_width(holder: Holder, by: Principal) -> None:
    if not reaches(by.workspaces, holder.workspaces):
        raise TooWide("the link would reach workspaces that you do not", where="workspaces")
    if not by.may(Permission.KEYS_MANAGE) and not by.role.covers(holder.role):
        raise TooWide(f"the role {by.role} cannot give the role {holder.role}", where="role")


def _useless() -> Refused:
    return unknown(
        "this login link was used, has expired or never was; `testops login-link` makes a new one"
    )
