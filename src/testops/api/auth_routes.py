"""Logging in and out, keys, and the audit log.

A secret leaves the server in three answers only: a new key, a new login link, and the cookie of a
login. None of them may be cached.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.access.csrf import check_login_navigation
from testops.access.guard import Guard
from testops.access.keys import KeyEnded, Keys, NewKey, TooWide, UnknownKey, WantedKey
from testops.access.ports import AuditStore
from testops.access.records import Holder, KeyRecord, ms_of, shown_ms
from testops.access.refused import Refused
from testops.access.sessions import Opened, Sessions, clear_cookie, set_cookie
from testops.access.settings import AccessSettings
from testops.api.answers import answer, problems
from testops.api.auth_schemas import (
    AuditList,
    KeyAsked,
    KeyList,
    LoginLinkAsked,
    LoginLinkShown,
    NewKeyShown,
    PrincipalShown,
    RotationAsked,
)
from testops.api.cursors import cursor_of, place_of
from testops.api.oidc import PATH as OIDC_PATH
from testops.api.oidc import OidcLogin, state_cookie
from testops.api.page_parts import page
from testops.api.problems import CONFLICT, INVALID, NOT_FOUND, Problem
from testops.api.routing import Admitted, Caller, asked_of_scope, permits, router, unprivileged
from testops.domain.access import Permission
from testops.domain.errors import BadInput
from testops.telemetry.clock import Clock

routes = router("access")

LOGIN_TOKEN_LENGTH_MAX = 1024
_SECRET = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_HASH_HEAD = 16

Answer = TypeVar("Answer")
KeyPath = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The id of a key.")]
Token = Annotated[str, Query(max_length=LOGIN_TOKEN_LENGTH_MAX, description="Of a login link.")]


@dataclass(frozen=True, slots=True)
class AccessServices:
    """Everything behind these routes; it stands in `app.state.access`."""

    guard: Guard
    keys: Keys
    sessions: Sessions
    audit: AuditStore
    settings: AccessSettings
    clock: Clock


def _access(request: Request) -> AccessServices:
    services: AccessServices = request.app.state.access
    return services


Access = Annotated[AccessServices, Depends(_access)]


# --- logging in and out -------------------------------------------------------------------------


@routes.get(
    "/login",
    operation_id="login",
    summary="Use up a login link",
    status_code=303,
    responses={
        **problems(),
        303: {"description": "Logged in; the cookie is set, and `/` is next"},
    },
)
@unprivileged
async def login(request: Request, access: Access, token: Token = "") -> Response:
    """Opens one session, once. Pages of other sites and prefetchers cannot use a link up."""
    asked = asked_of_scope(request)
    try:
        access.guard.check_login_rate(asked)
        check_login_navigation(asked)
        opened = await run_in_threadpool(
            access.sessions.redeem, token, client=access.guard.client_of(asked)
        )
    except Refused as refused:
        return await refused_login(request, access, refused)
    return logged_in(request, access, opened)


async def refused_login(request: Request, access: AccessServices, refused: Refused) -> Response:
    """The answer to a login that failed, which is counted and noted: a page for a person."""
    await access.guard.refuse_login(asked_of_scope(request), refused)
    if "text/html" not in request.headers.get("accept", ""):
        raise refused
    return _refused_page(refused)


def logged_in(request: Request, access: AccessServices, opened: Opened) -> Response:
    """The answer that gives a browser its session."""
    cookie = set_cookie(opened, secure=is_secure(request, access))
    return Response(status_code=303, headers={**_SECRET, "location": "/", "set-cookie": cookie})


def is_secure(request: Request, access: AccessServices) -> bool:
    """Whether the browser speaks https, with us or with the proxy in front."""
    return request.url.scheme == "https" or access.settings.public_url.startswith("https://")


def _refused_page(refused: Refused) -> Response:
    response = page(
        "Not logged in",
        f"<p>{escape(refused.detail)}</p>"
        "<p>The command <code>testops login-link</code> prints a new link.</p>",
        status=refused.status,
    )
    response.headers.update({**refused.headers, **_SECRET})
    return response


@routes.get(
    "/v1/session",
    operation_id="getSession",
    summary="Who you are, and what you may do",
    responses={**problems(), 200: {"model": PrincipalShown}},
)
@permits(Permission.SELF_MANAGE)
async def get_session(caller: Admitted) -> Response:
    """Of a key as well as of a browser's session."""
    return answer(caller.principal.to_json(), headers={"cache-control": "no-store"})


@routes.post(
    "/v1/session/logout",
    operation_id="logout",
    summary="End this session",
    status_code=204,
    responses={**problems(409), 204: {"description": "Logged out"}},
)
@permits(Permission.SELF_MANAGE)
async def logout(request: Request, caller: Admitted, access: Access) -> Response:
    """The session ends at once, not only in this browser."""
    if caller.principal.kind == "key":
        raise Problem(CONFLICT, "a key has no session to end; revoke the key instead")
    client = caller.request.client
    await run_in_threadpool(access.sessions.close, caller.principal, client=client)
    access.guard.forget(caller.principal.id)
    response = Response(status_code=204)
    response.headers.append("set-cookie", clear_cookie(secure=False))
    if is_secure(request, access):
        response.headers.append("set-cookie", clear_cookie(secure=True))
    return response


@routes.post(
    "/v1/login-links",
    operation_id="createLoginLink",
    summary="Make a link that logs one browser in, once",
    status_code=201,
    responses={**problems(body=True), 201: {"model": LoginLinkShown}},
)
@permits(Permission.SELF_MANAGE)
async def create_login_link(asked: LoginLinkAsked, caller: Admitted, access: Access) -> Response:
    """Never wider than its maker, and its session ends with the key that made it."""
    by = caller.principal
    if by.kind != "key" and not by.may(Permission.KEYS_MANAGE):
        # A session could otherwise outlive its own end by renewing itself.
        await access.guard.refuse(
            by, "a session makes no login links; use a key", request=caller.request
        )
    holder = Holder(
        asked.name or by.name,
        asked.role or by.role,
        by.workspaces if asked.workspaces is None else frozenset(asked.workspaces),
    )
    link = await _do(
        caller,
        access,
        lambda: access.sessions.link(
            holder, by=by, lifetime_s=asked.lifetime_s, client=caller.request.client
        ),
    )
    shown = {
        "id": link.record.link_id,
        "path": link.path,
        "expires_at": shown_ms(link.record.expires_ms),
    }
    return answer(shown, 201, headers=_SECRET)


def _issuer(request: Request) -> OidcLogin:
    found: OidcLogin | None = getattr(request.app.state, "oidc", None)
    if found is None:
        raise Problem(NOT_FOUND, "no issuer is configured (TESTOPS_OIDC_ISSUER)")
    return found


@routes.get(
    OIDC_PATH,
    operation_id="loginByIssuer",
    summary="Log in by the organisation's issuer",
    status_code=303,
    responses={**problems(), 303: {"description": "To the issuer"}},
)
@unprivileged
async def begin_login(request: Request, access: Access) -> Response:
    """Sends the browser to the issuer."""
    asked = asked_of_scope(request)
    try:
        access.guard.check_login_rate(asked)
        target, state = await _issuer(request).begin(request)
    except Refused as refused:
        return await refused_login(request, access, refused)
    cookie = state_cookie(state, secure=is_secure(request, access))
    headers = {"location": target, "set-cookie": cookie, "cache-control": "no-store"}
    return Response(status_code=303, headers=headers)


@routes.get(
    f"{OIDC_PATH}/callback",
    operation_id="finishLoginByIssuer",
    summary="Come back from the issuer",
    status_code=303,
    responses={**problems(), 303: {"description": "Logged in; the cookie is set"}},
)
@unprivileged
async def finish_login(request: Request, access: Access) -> Response:
    """Opens a session for whom the issuer vouches, when a rule gives them a role."""
    asked = asked_of_scope(request)
    try:
        access.guard.check_login_rate(asked)
        who = await _issuer(request).finish(request)
    except Refused as refused:
        return await refused_login(request, access, refused)
    opened = await run_in_threadpool(
        access.sessions.open_oidc,
        who.holder,
        subject=who.subject,
        client=access.guard.client_of(asked),
    )
    response = logged_in(request, access, opened)
    response.headers.append(
        "set-cookie", state_cookie("", secure=is_secure(request, access), age_s=0)
    )
    return response


# --- keys ---------------------------------------------------------------------------------------


@routes.get(
    "/v1/keys",
    operation_id="listKeys",
    summary="The keys",
    responses={**problems(), 200: {"model": KeyList}},
)
@permits(Permission.KEYS_MANAGE)
async def list_keys(caller: Admitted, access: Access) -> Response:
    """Those within the caller's workspaces, ended ones included."""
    found = await run_in_threadpool(access.keys.listed, by=caller.principal)
    return answer({"keys": [_shown(record, access) for record in found]})


@routes.post(
    "/v1/keys",
    operation_id="createKey",
    summary="Make a key",
    status_code=201,
    responses={**problems(body=True), 201: {"model": NewKeyShown}},
)
@permits(Permission.KEYS_MANAGE)
async def create_key(asked: KeyAsked, caller: Admitted, access: Access) -> Response:
    """The secret is in this answer and in no other."""
    by = caller.principal
    wanted = WantedKey(
        asked.name,
        asked.role,
        by.workspaces if asked.workspaces is None else frozenset(asked.workspaces),
        asked.expires_in_s,
    )
    made = await _do(
        caller, access, lambda: access.keys.create(wanted, by=by, client=caller.request.client)
    )
    return _new(made, access)


@routes.post(
    "/v1/keys/{key_id}/rotate",
    operation_id="rotateKey",
    summary="Replace a key",
    status_code=201,
    responses={**problems(409, body=True), 201: {"model": NewKeyShown}},
)
@permits(Permission.SELF_MANAGE)
async def rotate_key(
    key_id: KeyPath, asked: RotationAsked, caller: Admitted, access: Access
) -> Response:
    """A successor with the same rights. A key may renew itself; others take keys.manage."""
    made = await _do(
        caller,
        access,
        lambda: access.keys.rotate(
            key_id,
            by=caller.principal,
            overlap_s=asked.overlap_s,
            client=caller.request.client,
        ),
    )
    access.guard.forget(key_id)
    return _new(made, access)


@routes.delete(
    "/v1/keys/{key_id}",
    operation_id="revokeKey",
    summary="Revoke a key",
    status_code=204,
    responses={**problems(409), 204: {"description": "Revoked, with every session it opened"}},
)
@permits(Permission.KEYS_MANAGE)
async def revoke_key(key_id: KeyPath, caller: Admitted, access: Access) -> Response:
    """At once here; other processes notice within 15 seconds."""
    client = caller.request.client
    await _do(
        caller, access, lambda: access.keys.revoke(key_id, by=caller.principal, client=client)
    )
    access.guard.forget(key_id)
    return Response(status_code=204)


# --- the audit log ------------------------------------------------------------------------------


@routes.get(
    "/v1/audit",
    operation_id="listAudit",
    summary="What was done and refused, newest first",
    responses={**problems(), 200: {"model": AuditList}},
)
@permits(Permission.AUDIT_READ)
async def list_audit(
    caller: Admitted,
    access: Access,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The log is of the whole server, so it takes a caller of every workspace."""
    if caller.workspaces is not None:
        await access.guard.refuse(
            caller.principal,
            "the audit log is of every workspace, and you are not",
            request=caller.request,
        )
    before = None if cursor is None else place_of(cursor)[0]
    rows = await run_in_threadpool(access.audit.newest, before=before, limit=limit + 1)
    shown, more = rows[:limit], len(rows) > limit
    last = shown[-1] if more else None
    following = None if last is None else cursor_of((last.seq, last.hash[:_HASH_HEAD]))
    headers = {"link": f'</v1/audit?cursor={following}>; rel="next"'} if following else {}
    return answer(
        {"rows": [row.to_json() for row in shown], "next_cursor": following}, headers=headers
    )


async def _do(caller: Caller, access: AccessServices, change: Callable[[], Answer]) -> Answer:
    """Make a change in a thread; what is wrong with it becomes a problem."""
    try:
        return await run_in_threadpool(change)
    except UnknownKey as error:
        raise Problem(NOT_FOUND, error.problem) from error
    except KeyEnded as error:
        raise Problem(CONFLICT, str(error)) from error
    except TooWide as error:
        await access.guard.refuse(caller.principal, str(error), request=caller.request)
    except BadInput as error:
        raise Problem(INVALID, str(error)) from error


def _new(made: NewKey, access: AccessServices) -> Response:
    shown = {**_shown(made.record, access), "key": made.token}
    return answer(shown, 201, headers=_SECRET)


def _shown(record: KeyRecord, access: AccessServices) -> dict[str, Any]:
    return record.to_json(ms_of(access.clock.now()))
