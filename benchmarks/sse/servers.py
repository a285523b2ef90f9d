"""The servers that are compared, each fed by lines on a second port: ours, and a queue per client.

Both get each event already as JSON, and neither stores it: what is compared is the fan-out.
"""

import argparse
import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

import uvicorn
import uvloop

from testops.access.asked import Asked
from testops.domain.event import Delivery, LogHead, StoredEvent
from testops.sse_gateway.ports import Limits
from testops.sse_gateway.server import Server, config_for, gateway_over, listener

RUN = "0123456789abcdef"


class FedLog:
    """A log in memory that grows by what a socket says; wakes from the thread that reads it."""

    def __init__(self) -> None:
        self._events: list[StoredEvent] = []
        self._changed: Callable[[str | None], None] | None = None

    def feed(self, there: socket.socket) -> None:
        """In a thread: take what the source sends, until it has ended."""
        with there, there.makefile("rb") as lines:
            for line in lines:
                seq = len(self._events) + 1
                body = line.rstrip(b"\n")
                self._events.append(StoredEvent(seq, "stage.log", Delivery.SAMPLE, "", body))
                if self._changed is not None:
                    self._changed(RUN)

    def head(self, run_id: str) -> LogHead | None:
        return LogHead(1, len(self._events), ended=False) if run_id == RUN else None

    def read(self, run_id: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        assert run_id == RUN
        return self._events[after : after + limit]

    def workspace_of(self, run_id: str) -> str | None:
        return "home" if run_id == RUN else None

    @contextlib.contextmanager
    def listen(self, changed: Callable[[str | None], None]) -> Iterator[None]:
        self._changed = changed
        yield


class Anybody:
    id = "anybody"


class Open:
    """Lets everybody in: admission is not what is measured."""

    async def admit(self, _request: Asked, /) -> Anybody:
        return _ANYBODY

    async def permit(
        self, _who: Anybody, _request: Asked, /, *, run_id: str, workspace: str
    ) -> None:
        """Everything may be seen."""

    def still_valid(self, _who: Anybody, /) -> bool:
        return True


_ANYBODY = Anybody()


def feeding_port() -> socket.socket:
    found = socket.socket()
    found.bind(("127.0.0.1", 0))
    found.listen(1)
    return found


async def ours() -> None:
    limits, log, feed = Limits(), FedLog(), feeding_port()

    def accept() -> None:
        while True:
            there, _ = feed.accept()
            log.feed(there)

    threading.Thread(target=accept, daemon=True).start()
    gateway = gateway_over(log, log, log, Open(), limits=limits)
    sock = listener("127.0.0.1", 0, limits)
    tell(sock, feed)
    await Server(config_for(gateway), gateway).serve(sockets=[sock])


async def naive() -> None:
    """What one writes first: a queue for each client, Starlette, no bound."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    queues: dict[asyncio.Queue[bytes], None] = {}
    feed = feeding_port()

    async def fed(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        number = 0
        while line := await reader.readline():
            number += 1
            frame = b"id: %d\nevent: stage.log\ndata: %s\n\n" % (number, line.rstrip(b"\n"))
            for queue in queues:
                queue.put_nowait(frame)

    async def stream(_request: Request) -> StreamingResponse:
        async def frames() -> AsyncGenerator[bytes]:
            queue: asyncio.Queue[bytes] = asyncio.Queue()
            queues[queue] = None
            try:
                yield b"retry: 3000\n\n"
                while True:
                    yield await queue.get()
            finally:
                del queues[queue]

        return StreamingResponse(frames(), media_type="text/event-stream")

    await asyncio.start_server(fed, sock=feed, limit=1 << 20)
    app = Starlette(routes=[Route("/events", stream)])
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(2048)
    tell(sock, feed)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, http="httptools", timeout_graceful_shutdown=1
    )
    await uvicorn.Server(config).serve(sockets=[sock])


def tell(sock: socket.socket, feed: socket.socket) -> None:
    print(sock.getsockname()[1], feed.getsockname()[1], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=["ours", "naive"])
    chosen = {"ours": ours, "naive": naive}[parser.parse_args().server]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(chosen())


if __name__ == "__main__":
    main()
