"""The server stops when it is told to, whoever is watching, and takes no head without an end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from tests.unit.sse_gateway.memory import RUN, MemoryGuard, MemoryLog
from tests.unit.sse_gateway.serving import QUICK, Viewer, run, serving

from testops.domain.errors import BadInput
from testops.sse_gateway import server as server_module
from testops.sse_gateway.ports import Limits
from testops.sse_gateway.requests import is_event_path
from testops.sse_gateway.server import HEAD_BYTES_MAX, HEADERS_MAX, listener


def test_a_stop_ends_every_stream_cleanly_and_spreads_the_returns() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append("run.started")
        limits = replace(QUICK, retry_ms=3000, stagger_ms=5000)
        async with serving(log, limits) as served:
            viewers = [await served.watch() for _ in range(20)]
            for viewer in viewers:
                await viewer.until(b"id: 1\n")
            began = asyncio.get_running_loop().time()
            os.kill(os.getpid(), signal.SIGTERM)
            bodies = [await viewer.rest() for viewer in viewers]
            await served.task
            took = asyncio.get_running_loop().time() - began
            with pytest.raises(ConnectionRefusedError):
                await served.watch()
        waits = []
        for body in bodies:
            last = body.removesuffix(b"\n\n").split(b"\n\n")[-2:]
            waits.append(json.loads(last[1].partition(b"data: ")[2])["retry_ms"])
            assert last[0] == f"retry: {waits[-1]}".encode()
        assert len(set(waits)) == 20
        assert min(waits) == 3000
        assert 7000 < max(waits) < 8000
        assert took < 2, took

    run(story())


def test_a_stop_does_not_wait_for_a_viewer_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "DRAIN_S", 0.5)

    async def story() -> None:
        log = MemoryLog()
        log.create()
        for _ in range(500):
            log.append("stage.finished", text="x" * 4000)
        async with serving(log) as served:
            stuck = await Viewer.ask(served.port, f"/v1/test-runs/{RUN}/events", buffer=4096)
            served.viewers.append(stuck)
            await asyncio.sleep(0.3)
            began = asyncio.get_running_loop().time()
            served.server.should_exit = True
            await served.task
            assert asyncio.get_running_loop().time() - began < 2
            assert served.hub.stats().cut == 1

    run(story())


async def answer_to(port: int, request: bytes, *, within_s: float = 5) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(within_s):
            writer.write(request)
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nx: " + b"a" * (HEAD_BYTES_MAX + 10), 431),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * (HEAD_BYTES_MAX + 10) + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (HEADERS_MAX + 1) + b"\r\n", 431),
        (b"GET /" + b"a" * (HEAD_BYTES_MAX + 10) + b" HTTP/1.1\r\n\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_a_head_that_is_too_large_is_refused_with_a_problem(
    request_head: bytes, status: int
) -> None:
    async def story() -> None:
        async with serving(MemoryLog()) as served:
            answer = await answer_to(served.port, request_head)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(f"HTTP/1.1 {status} ".encode())
            assert b"application/problem+json" in head
            assert json.loads(body)["status"] == status

    run(story())


@pytest.mark.parametrize(
    ("sent", "status"), [(b"", b""), (b"GET / HTTP/1.1\r\nhost", b"HTTP/1.1 408")]
)
def test_a_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, status: bytes
) -> None:
    monkeypatch.setattr(server_module, "HEAD_S_MAX", 0.3)

    async def story() -> None:
        async with serving(MemoryLog()) as served:
            answer = await answer_to(served.port, sent)
            assert answer.startswith(status)
            assert bool(answer) == bool(status)

    run(story())


def test_the_second_request_of_a_connection_is_bounded_as_the_first() -> None:
    async def story() -> None:
        async with serving(MemoryLog()) as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            good = b"GET /x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer good\r\n\r\n"
            for _ in range(3):
                writer.write(good)
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 404 " in head
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                await reader.readexactly(size)
            writer.write(good[:-2] + b"x: " + b"a" * (HEAD_BYTES_MAX + 10))
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 431 ")
            writer.close()

    run(story())


def test_a_large_body_is_not_taken_for_a_large_head() -> None:
    async def story() -> None:
        async with serving(MemoryLog()) as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            body = b"x" * (HEAD_BYTES_MAX * 4)
            head = f"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"
            for _ in range(2):
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert b" 401 " in answer.partition(b"\r\n")[0]
                size = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                await reader.readexactly(size)
            writer.close()

    run(story())


def test_a_port_that_is_taken_is_named() -> None:
    with listener("127.0.0.1", 0, Limits()) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"cannot listen on 127.0.0.1:{port}"):
            listener("127.0.0.1", port, Limits())
    with pytest.raises(BadInput, match="TESTOPS_HOST"):
        listener("no such host", 0, Limits())


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
def test_a_connection_inherits_the_patience_of_its_listener() -> None:
    with listener("127.0.0.1", 0, Limits()) as listening:
        listening.setblocking(True)
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                patience = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert patience == 30_000


def test_the_event_paths_and_no_others_are_the_gateways() -> None:
    paths = (f"/v1/test-runs/{RUN}/events", "/v1/events", f"/v1/test-runs/{RUN}", "/", "/metrics")

    assert [is_event_path(path) for path in paths] == [True, True, False, False, False]


def test_a_guard_that_fails_lets_nobody_in() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        guard = MemoryGuard()
        guard.unreachable = OSError("the database has gone")
        async with serving(log, guard=guard) as served:
            assert (await served.watch()).status == 503

    run(story())


def test_the_gateway_is_light_enough_to_import_alone() -> None:
    code = (
        "import sys, testops.sse_gateway.server\n"
        "heavy = {'fastapi', 'starlette', 'sqlalchemy', 'pydantic', 'rich'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
