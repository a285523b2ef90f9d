"""Admits requests: who asks is known, may ask, comes from where it says, and not too often.

The API and the SSE gateway both ask here first. A principal that was verified is believed for
`FRESH_S` without asking the store, so a revoked key or a closed session opens nothing after
`FRESH_S` (at once in the process that revoked it), and never later than `STALE_S`.

What stays open is decided by paths that are named below; everything else needs a key or a session,
on loopback too: other users and every web page can reach a loopback port.
"""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from testops.access.addresses import Addresses
from testops.access.asked import Asked, refuse_secret_in_url
from testops.access.audit import Entry, clean, entry_of
from testops.access.credentials import Credential, credential_of
from testops.access.csrf import check_cookie_request
from testops.access.hosts import Hosts
from testops.access.ports import AccessStore
from testops.access.rates import ClockedCounters, Limit, limit_called
from testops.access.records import KeyRecord, SessionRecord, ms_of
from testops.access.refusals import Refusals
from testops.access.refused import Refused, forbidden, too_many, unknown
from testops.access.settings import AccessSettings
from testops.access.tokens import matches
from testops.domain.access import Permission, Principal
from testops.domain.errors import StoreUnavailable
from testops.telemetry.clock import Clock

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
OPEN_PATHS = HEALTH_PATHS | {"/login", "/login/oidc", "/login/oidc/callback"}
METRICS_PATH = "/metrics"
FRESH_S = 5.0
STALE_S = 12.0
TOUCH_S = 60
KNOWN_MAX = 4096

_log = logging.getLogger(__name__)

Ref = tuple[str, str]


@dataclass(slots=True)
class _Known:
    """A credential that was right when the store was last asked, at `verified_s`."""

    principal: Principal
    verified_s: float
    asking: bool = False


class Guard:
    """One for each process; its methods belong to the event loop unless they say otherwise."""

    def __init__(self, store: AccessStore, clock: Clock, settings: AccessSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._hosts = Hosts(settings.hosts)
        self._clients = Addresses(settings.proxies)
        self._refusals = Refusals(store.append, clock)
        # `still_valid` runs in threads; what is below is read and changed under this lock.
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._verified: OrderedDict[Ref, float] = OrderedDict()
        # Grows with each `forget`: an answer that was on its way then is not remembered.
        self._forgotten = 0
        counters = ClockedCounters(clock)
        self._principals = _limit("principal", settings.principal_rate, counters)
        self._addresses = _limit("address", settings.address_rate, counters)
        self._failures = _limit("failures", settings.failure_rate, counters)

    def is_open(self, path: str) -> bool:
        """Whether `path` is served without a key: health, the login, and metrics if so decided."""
        return path in OPEN_PATHS or (path == METRICS_PATH and self._settings.open_metrics)

    def client_of(self, request: Asked) -> str:
        """The address that `request` counts for."""
        return self._clients.of(request)

    async def let_pass(self, request: Asked) -> None:
        """Check what even an open path demands; `Refused` otherwise."""
        assert self.is_open(request.path), f"{request.path} is not open"
        if request.path in HEALTH_PATHS:
            # A prober names the address of a container, and must never be told to slow down.
            return
        try:
            self._hosts.check(request)
            self._count_address(request)
        except Refused as refused:
            await self._note(request, refused)
            raise

    async def admit(self, request: Asked) -> Principal:
        """Who asks; `Refused` (and noted in the audit log) when that is nobody we serve."""
        principal: Principal | None = None
        try:
            self._hosts.check(request)
            refuse_secret_in_url(request)
            self._count_address(request)
            credential = credential_of(request)
            principal = await self._identify(request, credential)
            if credential.cookie:
                check_cookie_request(request)
            self._count_principal(principal)
        except Refused as refused:
            await self._note(request, refused, principal)
            raise
        return principal

    async def authorize(
        self,
        principal: Principal,
        permission: Permission,
        *,
        request: Asked,
        workspace: str | None = None,
    ) -> None:
        """`Refused` (and noted) unless `principal` may do that there."""
        if principal.may(permission, workspace):
            return
        refused = _lacking(principal, permission, workspace)
        await self._note(request, refused, principal, permission=permission, workspace=workspace)
        raise refused

    async def refuse(self, principal: Principal, detail: str, *, request: Asked) -> NoReturn:
        """Refuse (403) for a reason that is not a permission's, and note it."""
        refused = forbidden(detail)
        await self._note(request, refused, principal)
        raise refused

    async def permit(
        self, principal: Principal, request: Asked, *, run_id: str, workspace: str
    ) -> None:
        """`Refused` (and noted) unless `principal` may read that run.

        A run of a foreign workspace is not there: that it exists is nobody else's business.
        """
        if principal.may(Permission.RUNS_READ, workspace):
            return
        refused = Refused(404, "Not found", f"there is no run {run_id}")
        await self._note(
            request, refused, principal, permission=Permission.RUNS_READ, workspace=workspace
        )
        raise refused

    def still_valid(self, principal: Principal) -> bool:
        """Whether an open stream may go on.

        Asks the store at most every `FRESH_S` for each principal. That blocks: call it in a thread.
        """
        now = self._clock.now()
        if principal.expires_at is not None and principal.expires_at <= now:
            return False
        ref = (principal.kind, principal.id)
        asked_s = self._clock.elapsed_s()
        with self._lock:
            forgotten, verified_s = self._forgotten, self._verified.get(ref)
        if verified_s is not None and asked_s - verified_s < FRESH_S:
            return True
        try:
            record = self._record_of(principal)
        except StoreUnavailable:
            # A database that restarts ends no stream, unless it takes longer than we vouch for.
            return verified_s is not None and asked_s - verified_s < STALE_S
        if record is None or record.ended(ms_of(now)) is not None:
            self.forget(principal.id)
            return False
        with self._lock:
            if forgotten == self._forgotten:
                self._vouch(ref, asked_s)
        return True

    def forget(self, ended_id: str) -> None:
        """Ask the store anew about a key or a session that was ended here, and what came of it."""
        with self._lock:
            self._forgotten += 1
            # A session does not name the key that opened it, so every session is asked anew.
            for digest, known in list(self._known.items()):
                if ended_id == known.principal.id or known.principal.kind == "session":
                    del self._known[digest]
            for ref in list(self._verified):
                if ended_id == ref[1] or ref[0] == "session":
                    del self._verified[ref]

    def rate_headers(self, principal: Principal) -> Mapping[str, str]:
        """`RateLimit` and `RateLimit-Policy` for an answer to `principal`."""
        return self._principals.left(_ref_text(principal)).headers()

    async def refuse_login(self, request: Asked, refused: Refused) -> None:
        """Count and note a login that failed; `Refused` 429 when there were too many."""
        if refused.status in {401, 403}:
            # Not when it was us, or the issuer, who could not answer.
            self._failures.take(self.client_of(request))
        await self._note(request, refused)

    def check_login_rate(self, request: Asked) -> None:
        """`Refused` 429 when too many wrong secrets came from there; the store is not asked."""
        address = self.client_of(request)
        if self._failures.spent(address):
            left = self._failures.left(address)
            raise too_many(
                "too many wrong keys came from this address",
                retry_after_s=left.reset_s,
                headers=left.headers(),
            )

    def close(self) -> None:
        """Write what was counted of refusals; blocks."""
        self._refusals.flush()

    # --- who asks -------------------------------------------------------------------------------

    async def _identify(self, request: Asked, credential: Credential) -> Principal:
        with self._lock:
            known = self._known.get(credential.digest)
        if known is None:
            # Who was admitted before is served behind an address from which somebody else
            # fails: the throttle is for secrets that nobody here has seen.
            self.check_login_rate(request)
            return await self._ask(request, credential)
        if self._fresh_enough(known):
            return _unless_expired(known, self._clock)
        known.asking = True
        try:
            return await self._ask(request, credential)
        finally:
            known.asking = False

    async def _ask(self, request: Asked, credential: Credential) -> Principal:
        asked_s = self._clock.elapsed_s()
        forgotten = self._forgotten
        try:
            principal = await asyncio.to_thread(self._look_up, credential)
        except StoreUnavailable as down:
            raise _down() from down
        except Refused:
            with self._lock:
                self._known.pop(credential.digest, None)
            self._failures.take(self.client_of(request))
            raise
        with self._lock:
            if forgotten == self._forgotten:
                self._remember(credential.digest, _Known(principal, asked_s))
        return principal

    def _fresh_enough(self, known: _Known) -> bool:
        """Whether `known` serves; while one request asks anew, the others need not."""
        age_s = self._clock.elapsed_s() - known.verified_s
        return age_s < FRESH_S or (known.asking and age_s < STALE_S)

    def _look_up(self, credential: Credential) -> Principal:
        """Ask the store, in a thread."""
        now_ms = ms_of(self._clock.now())
        record: KeyRecord | SessionRecord | None
        if credential.cookie:
            record = self._store.session(credential.digest)
        else:
            record = self._store.key(credential.key_id)
        # An id that is not there is compared as well, so that it takes the same time.
        kept = "" if record is None else record.digest
        if not matches(kept, credential.digest) or record is None:
            raise unknown("nobody has this session" if credential.cookie else "nobody has this key")
        ended = record.ended(now_ms)
        if ended is not None:
            raise unknown(f"this {'session' if credential.cookie else 'key'} is {ended}")
        if isinstance(record, KeyRecord):
            self._touch(record, now_ms)
        return record.principal()

    def _touch(self, record: KeyRecord, now_ms: int) -> None:
        since_ms = now_ms - TOUCH_S * 1000
        if record.last_used_ms is None or record.last_used_ms <= since_ms:
            try:
                self._store.touch_key(record.key_id, at_ms=now_ms, unless_since_ms=since_ms)
            except StoreUnavailable as down:
                # The key is right; when it was used is for people who tidy up.
                _log.warning("the use of key %s is not noted: %s", record.key_id, down)

    def _record_of(self, principal: Principal) -> KeyRecord | SessionRecord | None:
        if principal.kind == "key":
            return self._store.key(principal.id)
        return self._store.session_by_id(principal.id)

    def _remember(self, digest: str, known: _Known) -> None:
        self._known[digest] = known
        self._known.move_to_end(digest)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        self._vouch((known.principal.kind, known.principal.id), known.verified_s)

    def _vouch(self, ref: Ref, verified_s: float) -> None:
        self._verified[ref] = verified_s
        self._verified.move_to_end(ref)
        while len(self._verified) > KNOWN_MAX:
            self._verified.popitem(last=False)

    # --- how often ------------------------------------------------------------------------------

    def _count_address(self, request: Asked) -> None:
        _take(self._addresses, self.client_of(request), "this address asks too often")

    def _count_principal(self, principal: Principal) -> None:
        _take(self._principals, _ref_text(principal), f"{principal.name} asks too often")

    # --- what is noted --------------------------------------------------------------------------

    async def _note(
        self,
        request: Asked,
        refused: Refused,
        principal: Principal | None = None,
        *,
        permission: Permission | None = None,
        workspace: str | None = None,
    ) -> None:
        entry = self._entry(request, refused, principal, permission, workspace)
        due = self._refusals.due(entry)
        if not due:
            # Under attack this is the way of almost every request, so it takes no thread.
            return
        try:
            await asyncio.to_thread(self._refusals.write, due)
        except StoreUnavailable as down:
            # The request is refused either way; that the log misses it is said where logs go.
            _log.warning("a refusal is not in the audit log: %s", down)

    def _entry(
        self,
        request: Asked,
        refused: Refused,
        principal: Principal | None,
        permission: Permission | None,
        workspace: str | None,
    ) -> Entry:
        detail: dict[str, str | int | bool] = {
            "status": refused.status,
            "why": refused.detail,
            "method": request.method,
            "path": request.path,
        }
        if permission is not None:
            detail["permission"] = permission.value
        return entry_of(
            principal,
            f"refused.{refused.status}",
            self._clock.now(),
            workspace=workspace or "",
            outcome="refused",
            client=self.client_of(request),
            detail=detail,
        )


def _limit(policy: str, text: str, counters: ClockedCounters) -> Limit:
    where = "TESTOPS_RATE_LIMIT" if policy == "principal" else policy
    return Limit(policy, limit_called(text, where=where), counters)


def _take(limit: Limit, who: str, problem: str) -> None:
    if limit.take(who):
        return
    left = limit.left(who)
    raise too_many(problem, retry_after_s=left.reset_s, headers=left.headers())


def _ref_text(principal: Principal) -> str:
    return f"{principal.kind}:{principal.id}"


def _unless_expired(known: _Known, clock: Clock) -> Principal:
    expires_at = known.principal.expires_at
    if expires_at is not None and expires_at <= clock.now():
        raise unknown(f"this {known.principal.kind} is expired")
    return known.principal


def _lacking(principal: Principal, permission: Permission, workspace: str | None) -> Refused:
    if not principal.may(permission):
        return forbidden(f"the role {principal.role} has no permission {permission}")
    return forbidden(f"{principal.name} has no access to the workspace {clean(workspace or '')!r}")


def _down() -> Refused:
    return Refused(
        503, "Not available", "the store does not answer, so nobody can be admitted",
        {"Retry-After": "3"},
    )  # fmt: skip
