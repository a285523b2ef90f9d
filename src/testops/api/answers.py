"""How answers are put on the wire: JSON with an entity tag, and the problems of each route."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from testops.api.problems import MEDIA_TYPE

# What any guarded route may answer, whatever it does.
_EVERYWHERE = (400, 401, 403, 404, 422, 429, 431, 500, 503)
_WITH_A_BODY = (408, 413, 415)
_SAYS = {
    400: "The request cannot be read",
    401: "Nobody knows who asks",
    403: "The caller may not do this, or not there",
    404: "There is no such thing, or it is another's",
    408: "The body arrived too slowly",
    409: "The state does not allow it",
    412: "It was changed since it was read",
    413: "The body is too large",
    415: "The body is not JSON",
    416: "The file has no such range",
    422: "The request is not valid; `errors` points at each place",
    428: "If-Match is required",
    429: "Too many requests; Retry-After says when to come again",
    431: "The headers are too large",
    500: "A bug of ours",
    503: "Not available now",
}


def problems(*more: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The documented problems of a route: those that any has, and `more`."""
    statuses = sorted({*_EVERYWHERE, *(_WITH_A_BODY if body else ()), *more})
    return {status: problem_doc(status) for status in statuses}


def problem_doc(status: int) -> dict[str, Any]:
    """One documented problem."""
    schema = {"$ref": "#/components/schemas/ProblemShown"}
    return {"description": _SAYS[status], "content": {MEDIA_TYPE: {"schema": schema}}}


def encode(value: Any) -> bytes:
    """JSON as it is sent."""
    said = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A report may quote a file name that is no UTF-8: spelled as JSON spells it.
    return said.encode("utf-8", "backslashreplace")


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON."""
    return Response(encode(value), status, headers=headers, media_type="application/json")


def tagged(
    request: Request,
    value: Any,
    headers: Mapping[str, str] | None = None,
    *,
    tag: str | None = None,
) -> Response:
    """`value` as JSON with its entity tag, or 304 where the client has it already."""
    raw = encode(value)
    own = tag or f'"{hashlib.sha256(raw).hexdigest()[:32]}"'
    both = {"etag": own, "cache-control": "private, no-cache", **(headers or {})}
    if matches(request.headers.get("if-none-match"), own):
        return Response(status_code=304, headers=both)
    return Response(raw, headers=both, media_type="application/json")


def matches(header: str | None, tag: str) -> bool:
    """Whether an If-None-Match or If-Match header names `tag`; weak ones are compared as strong."""
    if header is None:
        return False
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in named or tag in named
