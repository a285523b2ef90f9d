"""A route that lets nobody in unseen: who asks, what they may do and what they send, in that order.

Each route names its permission (`permits`) or says that it is `unprivileged`; one that says
neither cannot be built. All of it happens before a byte of the body is read.
"""

import json
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute, APIRouter
from starlette.concurrency import run_in_threadpool

from testops.access.asked import Asked, asked
from testops.access.audit import entry_of
from testops.access.refused import Refused
from testops.api.ports import ApiServices
from testops.api.problems import (
    INVALID,
    MALFORMED,
    NOT_FOUND,
    WRONG_MEDIA_TYPE,
    Problem,
    error_at,
)
from testops.domain.access import Permission, Principal

DEPTH_MAX = 60
# How a dashboard says which version it is.
UI_HEADER = "testops-ui"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


# What each endpoint declared.
_PERMISSIONS: dict[Callable[..., Any], Permission | None] = {}


def permits(permission: Permission) -> Callable[[Endpoint], Endpoint]:
    """Declare what a caller must be permitted to reach the endpoint."""

    def mark(endpoint: Endpoint) -> Endpoint:
        _PERMISSIONS[endpoint] = permission
        return endpoint

    return mark


def unprivileged(endpoint: Endpoint) -> Endpoint:
    """Declare that the endpoint takes no permission; without a key only where the guard is open."""
    _PERMISSIONS[endpoint] = None
    return endpoint


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was admitted, and what they ask."""

    principal: Principal
    request: Asked
    permission: Permission
    services: ApiServices

    @property
    def workspaces(self) -> frozenset[str] | None:
        return self.principal.workspaces

    async def enter(self, workspace: str) -> None:
        """Go on only in a workspace of the caller's own."""
        await self.services.guard.authorize(
            self.principal, self.permission, request=self.request, workspace=workspace
        )

    async def find(self, workspace: str, what: str) -> None:
        """Go on only with what the caller may know of; else it is as if it were not there."""
        try:
            await self.enter(workspace)
        except Refused as refused:
            raise missing(what) from refused

    async def done(
        self,
        action: str,
        target: str,
        workspace: str,
        detail: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        """Note what the caller did."""
        entry = entry_of(
            self.principal,
            action,
            self.services.clock.now(),
            target=target,
            workspace=workspace,
            client=self.request.client,
            detail=detail,
        )
        await run_in_threadpool(self.services.audit.append, entry)


def missing(what: str) -> Problem:
    """The one answer for what is not there and for what is another's."""
    return Problem(NOT_FOUND, f"there is no {what}")


class GuardedRoute(APIRoute):
    """See the head of this module."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if endpoint not in _PERMISSIONS:
            raise TypeError(f"{path} declares no permission")
        self.permission = _PERMISSIONS[endpoint]
        if self.permission is not None:
            options["openapi_extra"] = {
                **(options.get("openapi_extra") or {}),
                "x-permission": self.permission.value,
                "security": [{"key": []}, {"session": []}],
            }
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> _Handler:
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            await self._admit(request)
            self._require_qualified_ui(request)
            self._require_known_query(request)
            strict = StrictRequest(request.scope, request.receive)
            if self.body_field is not None:
                _require_json(request)
                # Here, because what is raised while FastAPI reads becomes a 400 without a reason.
                await strict.read()
            response = await inner(strict)
            response.headers.update(getattr(request.state, "rates", {}))
            return response

        return handle

    def _require_qualified_ui(self, request: Request) -> None:
        """A dashboard that says its version is answered only where the matrix has both."""
        asked_by = request.headers.get(UI_HEADER)
        # The matrix itself is for everybody: it says which one to load.
        if asked_by is None or self.path == "/v1/version-matrix":
            return
        services: ApiServices = request.app.state.services
        services.versions.matrix.require_ui(asked_by, services.versions.running)

    def _require_known_query(self, request: Request) -> None:
        """A filter that is misspelt must not select everything."""
        if not self.path.startswith("/v1/"):
            return
        known = {field.alias for field in self.dependant.query_params}
        unknown = [name[:80] for name in request.query_params if name not in known]
        if unknown:
            fix = f"this route knows: {', '.join(sorted(known)) or 'no parameter'}"
            errors = [error_at("query", f"/{name}", "unknown parameter", fix) for name in unknown]
            raise Problem(INVALID, f"query /{unknown[0]}: unknown parameter; {fix}", errors=errors)

    async def _admit(self, request: Request) -> None:
        services: ApiServices = request.app.state.services
        guard, question = services.guard, asked_of_scope(request)
        if guard.is_open(question.path):
            await guard.let_pass(question)
            return
        principal = await guard.admit(question)
        if self.permission is not None:
            await guard.authorize(principal, self.permission, request=question)
            request.state.caller = Caller(principal, question, self.permission, services)
        request.state.rates = guard.rate_headers(principal)


def asked_of_scope(request: Request) -> Asked:
    """The request as admission sees it."""
    client = request.client.host if request.client is not None else ""
    query = request.scope.get("query_string", b"").decode("latin-1")
    return asked(request.method, request.url.path, request.headers.raw, client, query=query)


def _require_json(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != "application/json":
        raise Problem(
            WRONG_MEDIA_TYPE, f"the body is {given[:80] or 'of no type'}; send application/json"
        )


class StrictRequest(Request):
    """A request whose JSON says one thing: no key twice, no NaN, no half characters, no tower."""

    async def read(self) -> None:
        self._value = parse_json(await self.body())

    async def json(self) -> Any:
        return self._value


def parse_json(raw: bytes) -> Any:
    """The value that `raw` spells; a `Problem` names what is wrong with the spelling."""
    try:
        value = json.loads(raw, object_pairs_hook=_once, parse_constant=_refuse)
        # Half of a surrogate pair is no character, and nothing below could store it.
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Problem(MALFORMED, f"not valid JSON: {error.msg} at {place}") from error
    except (UnicodeError, ValueError) as error:
        raise Problem(MALFORMED, f"not valid JSON: {str(error)[:200]}") from error
    except RecursionError as error:
        raise _too_deep() from error
    if _depth(value) > DEPTH_MAX:
        raise _too_deep()
    return value


def _too_deep() -> Problem:
    return Problem(INVALID, f"the body is nested deeper than {DEPTH_MAX} levels")


def _depth(value: Any) -> int:
    """How many containers stand in each other; without recursion, because it bounds that."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        current, depth = waiting.pop()
        if isinstance(current, dict | list):
            deepest = max(deepest, depth)
            inner = current.values() if isinstance(current, dict) else current
            waiting += [(item, depth + 1) for item in inner if isinstance(item, dict | list)]
    return deepest


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:60]!r} is given twice")
    return made


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def router(tag: str) -> APIRouter:
    """A router whose routes are all guarded."""
    return APIRouter(route_class=GuardedRoute, tags=[tag])


def _services(request: Request) -> ApiServices:
    services: ApiServices = request.app.state.services
    return services


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Services = Annotated[ApiServices, Depends(_services)]
Admitted = Annotated[Caller, Depends(_caller)]
