"""Bounds what a request may cost before anybody reads it, and says how browsers treat the answer.

Plain ASGI: a middleware that makes a task and a queue of every request would cost more than most
routes do.
"""

import asyncio
import re
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from testops.api.problems import HEADERS_TOO_LARGE, TOO_LARGE, TOO_SLOW, Problem
from testops.telemetry.clock import Clock

BODY_BYTES_MAX = 1_000_000
# For the whole body: a client that sends a byte a second holds nothing for long.
BODY_S_MAX = 10.0
# The one body that is no document: a project, packed. It goes to the disk as it comes.
ARCHIVE_BYTES_MAX = 256_000_000
ARCHIVE_S_MAX = 300.0
_ARCHIVE = re.compile(r"/v1/workspaces/[^/]+/archive")
HEADER_COUNT_MAX = 64
HEADER_BYTES_MAX = 16_384

API_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_ALWAYS = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)


class Bounded:
    """The application behind it sees no flood, no endless body, and no body that crawls."""

    def __init__(self, app: ASGIApp, clock: Clock, body_s_max: float = BODY_S_MAX) -> None:
        self._app = app
        self._clock = clock
        self._body_s_max = body_s_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bytes_max, seconds_max = BODY_BYTES_MAX, self._body_s_max
        if _ARCHIVE.fullmatch(scope.get("path", "")) and scope.get("method") == "PUT":
            bytes_max, seconds_max = ARCHIVE_BYTES_MAX, ARCHIVE_S_MAX
        problem = _problem_of_head(scope["headers"], bytes_max)
        if problem is not None:
            await problem.response()(scope, receive, send)
            return
        body = _Body(receive, self._clock, seconds_max=seconds_max, bytes_max=bytes_max)
        await self._app(scope, body, send)


def _problem_of_head(headers: Sequence[tuple[bytes, bytes]], bytes_max: int) -> Problem | None:
    if len(headers) > HEADER_COUNT_MAX:
        return Problem(HEADERS_TOO_LARGE, f"more than {HEADER_COUNT_MAX} headers")
    if sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES_MAX:
        return Problem(HEADERS_TOO_LARGE, f"more than {HEADER_BYTES_MAX} bytes of headers")
    for name, value in headers:
        # Digits only, so int() reads what the server read; it refused anything else before us.
        if name == b"content-length" and value.isdigit() and int(value[:20]) > bytes_max:
            return _too_large(bytes_max)
    return None


def _too_large(bytes_max: int) -> Problem:
    # Whoever goes on sending what nobody reads would wait for us: this connection is over.
    return Problem(TOO_LARGE, f"send at most {bytes_max} bytes", headers={"connection": "close"})


class _Body:
    """`receive`, until the body is too large or took too long. Waiting for its end is no body."""

    def __init__(
        self, receive: Receive, clock: Clock, *, seconds_max: float, bytes_max: int
    ) -> None:
        self._receive = receive
        self._clock = clock
        self._seconds_max = seconds_max
        self._bytes_max = bytes_max
        self._ends_s: float | None = None
        self._bytes = 0
        self._done = False

    async def __call__(self) -> Message:
        if self._done:
            return await self._receive()
        message = await self._next()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._done = not message.get("more_body", False)
            if self._bytes > self._bytes_max:
                raise _too_large(self._bytes_max)
        return message

    async def _next(self) -> Message:
        now = self._clock.elapsed_s()
        if self._ends_s is None:
            self._ends_s = now + self._seconds_max
        try:
            async with asyncio.timeout(self._ends_s - now):
                return await self._receive()
        except TimeoutError as error:
            raise Problem(
                TOO_SLOW,
                f"the body did not arrive within {self._seconds_max:g} s",
                headers={"connection": "close"},
            ) from error


class Sealed:
    """Every answer tells browsers to guess nothing, embed nothing and keep nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS:
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", API_POLICY)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, sealed)
