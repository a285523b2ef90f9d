"""The few ASGI types and answers that the gateway needs; no framework stands on its hot path."""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# In `scope["extensions"]`: a call that ends the connection at once, whatever waits to be written.
ABORT = "testops.abort"
# What every answer about a run says to caches and to browsers.
_ALWAYS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


# The types of problems, as the API has them: a client meets each under one name and one title.
_KINDS = {
    400: ("malformed-request", "The request cannot be read"),
    401: ("unauthenticated", "Not authenticated"),
    403: ("forbidden", "Not allowed"),
    404: ("not-found", "There is nothing here"),
    405: ("method-not-allowed", "This method is not allowed here"),
    408: ("request-timeout", "The request arrived too slowly"),
    429: ("too-many-requests", "Too many requests"),
    431: ("headers-too-large", "The headers are too large"),
    503: ("unavailable", "Not available now"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An RFC 9457 problem of one of the kinds above."""

    status: int
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        name, title = _KINDS[self.status]
        told: dict[str, Any] = {
            "type": f"urn:testops:problem:{name}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            told["errors"] = list(self.errors)
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def header_list(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """`headers` as ASGI wants them, with those that every answer has."""
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in {**_ALWAYS, **headers}.items()
    ]


async def send_problem(send: Send, problem: Problem) -> None:
    """Answer with `problem`."""
    body = problem.body()
    headers = {
        **problem.headers,
        "content-type": "application/problem+json",
        "content-length": str(len(body)),
    }
    start = {
        "type": "http.response.start",
        "status": problem.status,
        "headers": header_list(headers),
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def send_nothing(send: Send) -> None:
    """204: the run is over and the viewer has all of it, so it must not come back."""
    await send({"type": "http.response.start", "status": 204, "headers": header_list({})})
    await send({"type": "http.response.body"})
