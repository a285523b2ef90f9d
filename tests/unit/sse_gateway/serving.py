"""A real server on a loopback port, and viewers that are sockets."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import uvloop
from tests.unit.sse_gateway.memory import RUN, MemoryGuard

from testops.domain.event import StoredEvent
from testops.sse_gateway.application import Gateway
from testops.sse_gateway.hub import Hub
from testops.sse_gateway.ports import EventLog, Guard, Limits, RunDirectory, Wakeups
from testops.sse_gateway.server import Server, config_for, gateway_over, listener

T = TypeVar("T")

QUICK = Limits(tick_s=0.01, heartbeat_s=30, recheck_s=30, retry_ms=20, stagger_ms=50)


def run(story: Coroutine[Any, Any, T], *, limit_s: float = 60) -> T:
    """Run it on the loop that production uses."""

    async def within() -> T:
        async with asyncio.timeout(limit_s):
            return await story

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(within())


@dataclass
class Served:
    server: Server
    gateway: Gateway[Any]
    port: int
    task: "asyncio.Task[None]"
    viewers: list["Viewer"] = field(default_factory=list)

    @property
    def hub(self) -> Hub:
        return self.gateway.hub

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def held_bytes(self) -> int:
        """The most that waits to be written on one connection."""
        transports = [one.transport for one in self.server.server_state.connections]
        return max((one.get_write_buffer_size() for one in transports), default=0)

    async def ask(self, path: str, *, method: str = "GET", **headers: str) -> "Viewer":
        viewer = await Viewer.ask(self.port, path, method=method, buffer=0, **headers)
        self.viewers.append(viewer)
        return viewer

    async def watch(self, run_id: str = RUN, query: str = "", **headers: str) -> "Viewer":
        return await self.ask(f"/v1/test-runs/{run_id}/events{query}", **headers)


class Source(EventLog, Wakeups, RunDirectory, Protocol):
    """All that the gateway reads."""


@contextlib.asynccontextmanager
async def serving(
    log: Source,
    limits: Limits = QUICK,
    guard: Guard[Any] | None = None,
    on_news: Callable[[StoredEvent], None] | None = None,
) -> AsyncIterator[Served]:
    gateway = gateway_over(log, log, log, guard or MemoryGuard(), limits=limits, on_news=on_news)
    server = Server(config_for(gateway), gateway)
    sock = listener("127.0.0.1", 0, limits)
    port = sock.getsockname()[1]
    task = asyncio.create_task(server.serve(sockets=[sock]))
    served = Served(server, gateway, port, task)
    try:
        yield served
    finally:
        for viewer in served.viewers:
            viewer.close()
        server.should_exit = True
        await task


class Viewer:
    """A viewer without any library: what it reads is what came over the wire."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False

    @classmethod
    async def ask(
        cls, port: int, path: str, *, method: str = "GET", buffer: int = 0, **headers: str
    ) -> "Viewer":
        sock = socket.socket()
        sock.setblocking(False)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 16)
        viewer = cls(reader, writer)
        given = {"authorization": "Bearer good", **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *lines, "", ""])
        writer.write(head.encode())
        await viewer._read_head()
        return viewer

    async def _read_head(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        self.status = int(first.split()[1])
        pairs = (line.split(": ", 1) for line in lines)
        self.headers = {name.lower(): value for name, value in pairs}

    async def read_piece(self) -> bytes:
        """The next chunk, empty at the end of the body."""
        if self.headers.get("transfer-encoding") == "chunked":
            size = int((await self._reader.readuntil(b"\r\n")), 16)
            piece = (await self._reader.readexactly(size + 2))[:-2]
        else:
            piece = await self._reader.readexactly(int(self.headers.get("content-length", "0")))
            self.ended = True
        self.body += piece
        self.ended = self.ended or not piece
        return piece

    async def until(self, wanted: bytes | Callable[[bytes], bool]) -> bytes:
        """Read until the body has `wanted` (or satisfies it); what has come until then."""
        test = wanted if callable(wanted) else lambda body: wanted in body
        while not test(self.body):
            assert not self.ended, f"the stream ended with {self.body[-300:]!r}"
            await self.read_piece()
        return self.body

    async def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        while not self.ended:
            await self.read_piece()
        return self.body

    async def lost(self) -> bool:
        """Whether the connection breaks, rather than ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not self.ended:
                await self.read_piece()
            return False
        return True

    def reset(self) -> None:
        """Go without a goodbye."""
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


if sys.platform == "win32":
    raise ImportError("these tests need uvloop")
