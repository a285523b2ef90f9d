"""Our uvicorn: it ends the streams before it waits for them, and bounds what a caller may send.

Plain uvicorn waits at shutdown for responses that never end, so a server with one viewer does not
stop. Its httptools parser collects a head of any size for any time. Both are mended here, for the
gateway on its own and for the process that serves the API as well.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from testops.domain.errors import BadInput
from testops.domain.event import StoredEvent
from testops.sse_gateway.application import Gateway, Runs
from testops.sse_gateway.asgi import ABORT, Application, Problem
from testops.sse_gateway.hub import Hub
from testops.sse_gateway.ports import EventLog, Guard, Limits, P, RunDirectory, Wakeups
from testops.sse_gateway.threads import Threads

if sys.platform != "win32":
    import resource

__all__ = [
    "BoundedProtocol", "Server", "Threads", "config_for", "gateway_over", "listener",
    "raise_file_limit",
]  # fmt: skip

log = logging.getLogger("testops.sse_gateway")

HEAD_BYTES_MAX = 32 << 10
HEADERS_MAX = 100
HEAD_S_MAX = 10.0
DRAIN_S = 3.0
_GRACE_S = 5
_FILES_WANTED = 65536
# What the system keeps of a stream that is not read. Left alone it grows to megabytes, and a
# viewer that reads slowly is noticed late.
_SEND_BUFFER_BYTES = 128 << 10
# The system is the second to give up on a viewer: the first cuts it, and counts it.
_CUT_SLACK_S = 10.0


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose heads are small and arrive soon, and whose connections can be cut at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._too_much = 0
        self._head_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._expect_head()
        super().data_received(data)
        # Only after parsing: the data may have held a whole head, and much of a body.
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(431)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        # At whatever size: what the parser hands over is counted again, header by header.
        self._too_much = 0
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}}

    @override
    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)
        if len(self.headers) > HEADERS_MAX:
            raise ValueError("too many headers")

    @override
    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    @override
    def send_400_response(self, msg: str) -> None:
        """Called by the parser: the head was too large, or is no HTTP."""
        self._refuse(431 if self._in_head and self._is_large() else 400, msg)

    def _is_large(self) -> bool:
        return self._too_much > HEAD_BYTES_MAX or len(self.headers or ()) > HEADERS_MAX

    def _count(self, size: int) -> None:
        self._too_much += size
        if self._too_much > HEAD_BYTES_MAX:
            raise ValueError("the head is too large")

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S_MAX, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._in_head and not self.transport.is_closing():
            # Whoever sent nothing at all is not told anything: a browser opens such connections.
            if self._head_bytes:
                self._refuse(408)
            else:
                self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, detail: str = "") -> None:
        said = detail or _DETAILS[status]
        body = Problem(status, said).body()
        head = (
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\n"
            "content-type: application/problem+json\r\ncache-control: no-store\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


_PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
}
_DETAILS = {
    400: "this is no HTTP request",
    408: f"the head of a request must arrive within {HEAD_S_MAX:g} seconds",
    431: f"the head of a request may have {HEAD_BYTES_MAX} bytes and {HEADERS_MAX} headers",
}


def gateway_over(
    event_log: EventLog,
    wakeups: Wakeups,
    directory: RunDirectory,
    guard: Guard[P],
    *,
    limits: Limits | None = None,
    on_news: Callable[[StoredEvent], None] | None = None,
) -> Gateway[P]:
    """The streams of one process, as an ASGI application; `Server` ends them."""
    threads = Threads()
    hub = Hub(event_log, wakeups, threads, limits or Limits(), on_news)
    return Gateway(hub, Runs(event_log, directory), guard, threads)


class Server(uvicorn.Server):
    """Serves until it is told to stop, and then stops: streams are asked to end first."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway[Any]) -> None:
        super().__init__(config)
        self._gateway = gateway

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Viewers that are asked to go must not come back to us.
        for server in self.servers:
            server.close()
        cut = await self._gateway.drain(timeout_s=DRAIN_S)
        if cut:
            log.warning("%d viewers did not read to the end, and were cut", cut)
        await super().shutdown(sockets)
        await self._gateway.close()
        # Asked to stop and stopped: uvicorn would raise the signal again, which is no success.
        self._captured_signals.clear()


def config_for(app: Application, **options: Any) -> uvicorn.Config:
    """How `app` is served; `options` are uvicorn's own, and come last."""
    chosen: dict[str, Any] = {
        "http": BoundedProtocol,
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        # The address of a caller decides its rate, so nobody may claim another one.
        "proxy_headers": False,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": _GRACE_S,
        **options,
    }
    return uvicorn.Config(app, **chosen)


def listener(host: str, port: int, limits: Limits) -> socket.socket:
    """A listening socket whose connections give up on a peer that has stopped reading."""
    raise_file_limit()
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise BadInput(f"{host} is no address here: {error}", where="TESTOPS_HOST") from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # After a cut the bytes that wait would still hold the connection, for ever.
            patience_ms = int((limits.send_timeout_s + _CUT_SLACK_S) * 1000)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
        found.bind(address)
        found.listen(2048)
    except OSError as error:
        found.close()
        raise BadInput(
            f"cannot listen on {host}:{port}: {error.strerror}",
            where="TESTOPS_PORT",
            fix="stop what listens there, or choose another port",
        ) from None
    found.setblocking(False)
    return found


@functools.cache
def raise_file_limit() -> None:
    """As many open files as the system lets us have: each viewer is one."""
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, _FILES_WANTED)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
