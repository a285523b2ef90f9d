"""A follower gets every event once, in order, through a connection that keeps breaking."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import httpx
import pytest
from tests.unit.sse_gateway.memory import ABSENT, OTHER, RUN, MemoryLog
from tests.unit.sse_gateway.serving import QUICK, run, serving

from testops.client.follow import Interrupted, StreamRefused, follow
from testops.client.reconnect import Reconnect, Stand, Waits
from testops.client.sse import Message

GOOD = {"authorization": "Bearer good"}
WAITS = Waits(first_s=0.01, stall_s=5)


ENDLESS = 1 << 40


@dataclass
class Door:
    """A proxy: one address for a server that comes and goes, whose connections can break."""

    target: int
    # How many bytes each connection passes before it is reset; the rest pass all.
    breaks: list[int] = field(default_factory=list)
    url: str = ""
    made: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.breaks[self.made] if self.made < len(self.breaks) else ENDLESS
        self.made += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            back.write(await reader.readuntil(b"\r\n\r\n"))
            while left and (piece := await there.read(min(left, 4096))):
                left -= len(piece)
                writer.write(piece)
                await writer.drain()
            back.close()
        if left:
            writer.close()
        else:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def door_to(target: int, breaks: Sequence[int] = ()) -> AsyncIterator[Door]:
    door = Door(target, list(breaks))
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    door.url = f"http://127.0.0.1:{port}/v1/test-runs/{RUN}/events"
    async with server:
        yield door


async def told_by(url: str, reconnect: Reconnect) -> list[Message | Interrupted]:
    async with httpx.AsyncClient(headers=GOOD) as http:
        return [told async for told in follow(http, url, reconnect)]


def spelled(told: list[Message | Interrupted]) -> bytes:
    return b"".join(
        f"id: {one.id}\nevent: {one.event}\ndata: ".encode() + one.data + b"\n\n"
        for one in told
        if isinstance(one, Message) and one.event not in ("end", "gap", "drain", "coalesced")
    )


@pytest.mark.parametrize("seed", range(2))
def test_fifty_breaks_change_no_byte_of_what_a_follower_gets(seed: int) -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        draw = random.Random(seed)

        async def produce() -> None:
            for number in range(900):
                log.append(draw.choice(["stage.log", "stage.finished"]), number=number)
                if number % 10 == 0:
                    await asyncio.sleep(0.01)
            log.append("run.finished")

        limits = replace(QUICK, ring_events=50, batch_bytes=900)
        breaks = [draw.randrange(1, 2600) for _ in range(50)]
        async with serving(log, limits) as served, door_to(served.port, breaks) as door:
            reconnect = Reconnect(draw.random, waits=WAITS)
            producing = asyncio.create_task(produce())
            told = await told_by(door.url, reconnect)
            await producing
        assert spelled(told) == log.sse(), f"seed {seed}"
        assert door.made == 51, "not every break was met"
        assert sum(isinstance(one, Interrupted) for one in told) == 50
        last = told[-1]
        assert isinstance(last, Message)
        assert last.event == "end"
        assert reconnect.stand is Stand.COMPLETE

    run(story())


def test_a_server_that_restarts_is_waited_for() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append_logs(5)
        got: list[Message | Interrupted] = []

        async def watch(url: str) -> None:
            reconnect = Reconnect(lambda: 0.0, waits=WAITS)
            async with httpx.AsyncClient(headers=GOOD) as http:
                await collect(http, url, reconnect)

        async def collect(http: httpx.AsyncClient, url: str, reconnect: Reconnect) -> None:
            async for told in follow(http, url, reconnect):
                got.append(told)  # noqa: PERF401 - others look at it while it grows

        async def has_come(count: int) -> None:
            while len(got) < count:
                await asyncio.sleep(0.01)

        async with door_to(0) as door:
            async with serving(log) as first:
                door.target = first.port
                watching = asyncio.create_task(watch(door.url))
                await has_come(5)
            # Five events, the drain, and at least one door that nobody opened.
            await has_come(8)
            log.append_logs(5)
            log.append("run.finished")
            async with serving(log) as second:
                door.target = second.port
                await watching
        assert spelled(got) == log.sse()
        seen = [one.event for one in got if isinstance(one, Message)]
        assert seen == [*["stage.log"] * 5, "drain", *["stage.log"] * 5, "run.finished", "end"]

    run(story())


def test_several_runs_are_followed_on_one_stream() -> None:
    async def story() -> None:
        log = MemoryLog()
        for run_id in (RUN, OTHER):
            log.create(run_id)
            log.append_logs(20, run_id)
            log.append("run.finished", run_id)
        async with serving(log) as served:
            url = f"{served.url}/v1/events?run={RUN}&run={OTHER}"
            reconnect = Reconnect(lambda: 0.0, runs=2, waits=WAITS)
            told = await told_by(url, reconnect)
            assert reconnect.place == f"{RUN}:21,{OTHER}:21"
            assert len([one for one in told if isinstance(one, Message)]) == 44
            again = Reconnect(lambda: 0.0, runs=2, place=reconnect.place, waits=WAITS)
            assert await told_by(url, again) == []
            assert again.stand is Stand.COMPLETE

    run(story())


@pytest.mark.parametrize(
    ("run_id", "key", "status", "said"),
    [(ABSENT, "good", 404, f"no run {ABSENT}"), (RUN, "bad", 401, "give a key")],
)
def test_a_refusal_says_why_and_ends_it(run_id: str, key: str, status: int, said: str) -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        async with serving(log) as served:
            url = f"{served.url}/v1/test-runs/{run_id}/events"
            async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}) as http:
                with pytest.raises(StreamRefused, match=said) as caught:
                    async for _ in follow(http, url, Reconnect(lambda: 0.0)):
                        pass
            assert caught.value.status == status

    run(story())


def test_a_silent_connection_is_given_up_and_made_again() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append("run.started")
        comings: list[int] = []

        async def silent_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            comings.append(1)
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            if len(comings) == 1:
                writer.write(head + b"\r\nid: 1\ndata: {}\n\n")
                await reader.read()
            else:
                end = b'event: end\ndata: {"run_id":"x"}\n\n'
                writer.write(head + b"connection: close\r\n\r\n" + end)
            writer.close()

        server = await asyncio.start_server(silent_once, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            waits = Waits(first_s=0.01, stall_s=0.3)
            told = await told_by(url, Reconnect(lambda: 0.0, waits=waits))
        assert [type(one).__name__ for one in told] == ["Message", "Interrupted", "Message"]
        assert isinstance(told[1], Interrupted)
        assert told[1].why == "nothing was heard for 0.3 s"

    run(story())


def test_what_is_no_stream_is_not_taken_for_one() -> None:
    async def story() -> None:
        async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi"
            )
            writer.close()

        server = await asyncio.start_server(page, "127.0.0.1", 0)
        async with server, httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            stream = follow(http, url, Reconnect(lambda: 0.0, waits=WAITS))
            told = await anext(stream)
            await stream.aclose()
        assert isinstance(told, Interrupted)
        assert "text/html, not events" in told.why

    run(story())
