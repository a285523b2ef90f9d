"""A route that lets nobody in unseen: who asks, what they may do and what they send, in that order.

Each route names its permission (`permits`) or says that it is `public`; one that says neither
cannot be built. All of it happens before a byte of the body is read.
"""

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute, APIRouter

from testops.access.asked import Asked, asked
from testops.api.ports import ApiServices
from testops.api.problems import (
    FORBIDDEN,
    INVALID,
    MALFORMED,
    NOT_FOUND,
    WRONG_MEDIA_TYPE,
    Problem,
)
from testops.domain.access import Permission, Principal

DEPTH_MAX = 60

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def permits(permission: Permission) -> Callable[[Endpoint], Endpoint]:
    """Declare what a caller must be permitted to reach the endpoint."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.permission = permission  # type: ignore[attr-defined] - read by GuardedRoute
        return endpoint

    return mark


def public(endpoint: Endpoint) -> Endpoint:
    """Declare that anybody may reach the endpoint."""
    endpoint.permission = None  # type: ignore[attr-defined] - read by GuardedRoute
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
        if not self.principal.may(self.permission, workspace):
            await self._note(workspace)
            raise Problem(FORBIDDEN, f"the workspace {workspace} is not yours")

    async def find(self, workspace: str, what: str) -> None:
        """Go on only with what the caller may know of; else it is as if it were not there."""
        if not self.principal.may(self.permission, workspace):
            await self._note(workspace)
            raise missing(what)

    async def done(self, action: str, target: str, workspace: str) -> None:
        await self.services.guard.done(self.principal, self.request, action, target, workspace)

    async def _note(self, workspace: str) -> None:
        await self.services.guard.refused(
            self.principal, self.request, self.permission, workspace
        )


def missing(what: str) -> Problem:
    """The one answer for what is not there and for what is another's."""
    return Problem(NOT_FOUND, f"there is no {what}")


class GuardedRoute(APIRoute):
    """See the head of this module."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        try:
            self.permission: Permission | None = endpoint.permission  # type: ignore[attr-defined]
        except AttributeError:
            raise TypeError(f"{endpoint.__name__} declares no permission") from None
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
            if self.body_field is not None:
                _require_json(request)
            return await inner(StrictRequest(request.scope, request.receive))

        return handle

    async def _admit(self, request: Request) -> None:
        if self.permission is None:
            return
        services: ApiServices = request.app.state.services
        question = asked_of_scope(request)
        principal = await services.guard.admit(question)
        caller = Caller(principal, question, self.permission, services)
        if not principal.may(self.permission):
            await services.guard.refused(principal, question, self.permission, None)
            raise Problem(
                FORBIDDEN, f"{principal.role.value} may not do this; it takes {self.permission}"
            )
        request.state.caller = caller


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

    async def json(self) -> Any:
        return parse_json(await self.body())


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
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
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
