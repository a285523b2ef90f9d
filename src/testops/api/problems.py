"""Everything that can go wrong for a client, as RFC 9457 problems with types that never change.

Errors of the boxes below know no HTTP; they become problems here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from testops.access.refused import Refused
from testops.api.page_parts import page
from testops.domain.errors import BadInput, StoreUnavailable
from testops.domain.versions import Unqualified
from testops.runner.documents import pointer_text

MEDIA_TYPE = "application/problem+json"
_URN = "urn:testops:problem:"
_ERRORS_MAX = 100


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of problem: its name in the URI, its status, and what a person is told first."""

    slug: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        return _URN + self.slug


MALFORMED = Kind("malformed-request", 400, "The request cannot be read")
BAD_CURSOR = Kind("invalid-cursor", 400, "The cursor is not one of ours")
UNAUTHENTICATED = Kind("unauthenticated", 401, "Not authenticated")
FORBIDDEN = Kind("forbidden", 403, "Not allowed")
NOT_FOUND = Kind("not-found", 404, "There is nothing here")
WRONG_METHOD = Kind("method-not-allowed", 405, "This method is not allowed here")
TOO_SLOW = Kind("request-timeout", 408, "The request arrived too slowly")
IN_FLIGHT = Kind("idempotency-in-flight", 409, "The first request with this key is not done")
CONFLICT = Kind("conflict", 409, "The state does not allow it")
UNQUALIFIED = Kind("unqualified-versions", 409, "These versions were not qualified together")
OUTDATED = Kind("precondition-failed", 412, "Somebody changed it since you read it")
TOO_LARGE = Kind("body-too-large", 413, "The body is too large")
WRONG_MEDIA_TYPE = Kind("unsupported-media-type", 415, "The body must be JSON")
BAD_RANGE = Kind("range-not-satisfiable", 416, "The file has no such range")
INVALID = Kind("invalid-request", 422, "The request is not valid")
INVALID_SUITE = Kind("invalid-suite", 422, "The suite or profile cannot be used")
KEY_REUSED = Kind("idempotency-key-reused", 422, "This key was used for another request")
NO_PRECONDITION = Kind("precondition-required", 428, "If-Match is required")
TOO_MANY = Kind("too-many-requests", 429, "Too many requests")
HEADERS_TOO_LARGE = Kind("headers-too-large", 431, "The headers are too large")
INTERNAL = Kind("internal-error", 500, "A bug of ours")
# No 501: the client is told what to leave out, and no monitor takes it for a failure of ours.
NOT_BUILT = Kind("stage-not-available", 422, "This stage does not exist yet")
UNAVAILABLE = Kind("unavailable", 503, "Not available now")

KINDS = tuple(value for value in tuple(globals().values()) if isinstance(value, Kind))
# Where a status can mean several things, the general one: for what other code raises.
_BY_STATUS = {
    kind.status: kind
    for kind in (
        MALFORMED,
        UNAUTHENTICATED,
        FORBIDDEN,
        NOT_FOUND,
        WRONG_METHOD,
        TOO_SLOW,
        CONFLICT,
        OUTDATED,
        TOO_LARGE,
        WRONG_MEDIA_TYPE,
        BAD_RANGE,
        INVALID,
        NO_PRECONDITION,
        TOO_MANY,
        HEADERS_TOO_LARGE,
        INTERNAL,
        UNAVAILABLE,
    )
}


class Problem(Exception):
    """A request that gets a problem for an answer."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)[:_ERRORS_MAX]
        self.headers = dict(headers or {})

    def to_json(self) -> dict[str, Any]:
        body = {
            "type": self.kind.uri,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        return body | ({"errors": [dict(error) for error in self.errors]} if self.errors else {})

    def body(self) -> bytes:
        return json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":")).encode()

    def response(self) -> Response:
        return Response(self.body(), self.kind.status, headers=self.headers, media_type=MEDIA_TYPE)


def error_at(document: str, pointer: str, detail: str, fix: str = "") -> dict[str, str]:
    """One entry of `errors`: where in which document, and what to do."""
    entry = {"document": document, "pointer": pointer, "detail": detail}
    return entry | ({"fix": fix} if fix else {})


def problem_of_input(error: BadInput, *, document: str = "suite") -> Problem:
    """What a suite, a profile or a schedule has wrong with it, with a pointer to each place."""
    errors = [error_at(document, fault.pointer, fault.problem, fault.fix) for fault in error.faults]
    return Problem(INVALID_SUITE, str(error), errors=errors)


def add_handlers(app: FastAPI) -> None:
    """Every error that leaves a route becomes a problem; what is none of ours, a 500 without."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(BadInput, _on_bad_input)
    app.add_exception_handler(Unqualified, _on_unqualified)
    app.add_exception_handler(StoreUnavailable, _on_unavailable)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    # The traceback is for the log: Starlette raises it on after this has answered.
    app.add_exception_handler(Exception, _on_bug)


def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    problem = problem_of_refusal(error)
    if problem.kind is UNAUTHENTICATED and "text/html" in request.headers.get("accept", ""):
        # A person in a browser, who has no use for JSON but for a way in.
        return page(
            "Not logged in",
            f"<p>{escape(problem.detail)}</p><p>The command <code>testops login-link</code> prints "
            "a link that logs you in.</p>",
            status=problem.kind.status,
            headers=problem.headers,
        )
    return problem.response()


def problem_of_refusal(error: Refused) -> Problem:
    """The problem of a request that was not admitted."""
    return Problem(_BY_STATUS[error.status], error.detail, headers=error.headers)


def _on_bad_input(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadInput)
    return problem_of_input(error).response()


def _on_unqualified(_: Request, error: Exception) -> Response:
    return Problem(UNQUALIFIED, str(error)).response()


def _on_unavailable(_: Request, error: Exception) -> Response:
    detail = f"the store does not answer ({error})"
    return Problem(UNAVAILABLE, detail, headers={"retry-after": "3"}).response()


def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_entry(found) for found in error.errors()]
    return Problem(INVALID, _summary(errors), errors=errors).response()


def _entry(found: Mapping[str, Any]) -> dict[str, str]:
    document, *path = found["loc"]
    # pydantic adds which member of a union it tried; those names hold brackets or dots.
    parts = tuple(part for part in path if isinstance(part, int) or not _is_internal(part))
    return error_at(str(document), pointer_text(parts), str(found["msg"]))


def _is_internal(part: str) -> bool:
    return "[" in part or part in ("str", "int", "dict", "constrained-str", "constrained-int")


def _summary(errors: Sequence[Mapping[str, str]]) -> str:
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{first['document']} {first['pointer'] or '/'}: {first['detail']}{more}"


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, MALFORMED)
    if kind is WRONG_METHOD:
        # Starlette names the methods of one route, and a path of ours may have several.
        allowed = ", ".join(sorted(_methods_of(request)))
        detail = f"{request.method[:20]} is not allowed here; {allowed} is"
        return Problem(kind, detail, headers={"allow": allowed}).response()
    return Problem(kind, str(error.detail), headers=error.headers).response()


def _methods_of(request: Request) -> set[str]:
    return {
        method
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods
    }


def _on_bug(_: Request, error: Exception) -> Response:
    # Answered outside of every middleware, so what they would have said is said here.
    headers = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
    detail = f"{type(error).__name__}: the server's log has the rest"
    return Problem(INTERNAL, detail, headers=headers).response()
