"""The platform's own client (`testops.client`) follows streams of a server that keeps failing.

Each connection meets another kind of trouble: nobody listens, a silent close, an answer without an
event, 503, a stream that goes quiet, a cut in the middle of an event. The client must not hurry
such a server, must come back faster once it had an event, and must lose and repeat nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import random
import ssl
from dataclasses import dataclass, field

import httpx

import toron
from testops.client.follow import Interrupted, follow
from testops.client.reconnect import Reconnect, Waits

FOLLOWERS = ("ida", "jan")
EVENTS = 30
PORT = 8090
FAULTS_S = 60.0
# After the faults a server still fails by its own moods, each at the price of the longest wait.
RECOVERY_S = 4000.0
WAITS = Waits()
RUN = "00000000000000ab"

_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used, as all is plain HTTP; without it each client reads the certificates of the system."""


@dataclass(slots=True)
class Moody:
    """The server: what it does to each connection is drawn, and what it has sent is counted."""

    moods: dict[str, int] = field(default_factory=dict)

    async def live(self) -> None:
        while True:
            async with await asyncio.start_server(self._serve, "0.0.0.0", PORT) as server:
                await asyncio.sleep(random.uniform(5.0, 60.0))
            # Nobody listens for a while: connections are refused.
            del server
            await asyncio.sleep(random.uniform(0.5, 20.0))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The follower may vanish between any two bytes.
        with contextlib.suppress(OSError, EOFError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            _, _, told = head.partition("last-event-id: ")
            await self._answer(writer, int(told.split()[0]) if told else 0)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, seen: int) -> None:
        mood = random.choice(("silent", "empty", "busy", "quiet", "cut", "good", "good"))
        self.moods[mood] = self.moods.get(mood, 0) + 1
        match mood:
            case "silent":
                return
            case "busy":
                writer.write(_head(503, f"retry-after: {random.choice((1, 20, 90))}"))
            case "empty":
                writer.write(_head(200) + b"retry: 3000\n\n: ping\n\n")
            case _:
                writer.write(_head(200) + b"retry: 3000\n\n")
                await self._tell(writer, seen, mood)
        await writer.drain()

    async def _tell(self, writer: asyncio.StreamWriter, seen: int, mood: str) -> None:
        upto = min(EVENTS, seen + random.randint(0 if mood == "cut" else 1, 8))
        for seq in range(seen + 1, upto + 1):
            writer.write(_event(seq))
            await writer.drain()
            await asyncio.sleep(random.uniform(0.0, 0.2))
        if upto == EVENTS:
            writer.write(b'event: end\ndata: {"type":"end","run_id":"%s"}\n\n' % RUN.encode())
        elif mood == "cut":
            # Without its blank line it does not exist, and must come again.
            writer.write(_event(upto + 1)[: random.randint(1, len(_event(upto + 1)) - 1)])
        elif mood == "quiet":
            await writer.drain()
            await asyncio.sleep(WAITS.stall_s + 10)


def _head(status: int, *more: str) -> bytes:
    lines = (f"HTTP/1.1 {status} X", "content-type: text/event-stream", "connection: close", *more)
    return "\r\n".join((*lines, "", "")).encode()


def _event(seq: int) -> bytes:
    return b'id: %d\nevent: stage.log\ndata: {"seq":%d}\n\n' % (seq, seq)


@dataclass(slots=True)
class Follower:
    """What somebody knows who only sees what the client yields, and holds it to its promise."""

    seen: list[int] = field(default_factory=list)
    # Each wait, and the failures in a row that came before it.
    waits: list[tuple[int, float]] = field(default_factory=list)
    failures: int = 0
    complete: bool = False

    async def live(self) -> None:
        reconnect = Reconnect(random.random, waits=WAITS)
        async with httpx.AsyncClient(verify=_TLS, trust_env=False) as http:
            url = f"http://server:{PORT}/v1/test-runs/{RUN}/events"
            async for told in follow(http, url, reconnect):
                if isinstance(told, Interrupted):
                    self.waits.append((self.failures, told.wait_s))
                    self.failures += 1
                elif told.event != "end":
                    self.seen.append(int(json.loads(told.data)["seq"]))
                    self.failures = 0
        self.complete = True

    def is_whole(self) -> bool:
        return self.seen == list(range(1, len(self.seen) + 1))

    def hurries(self) -> bool:
        return any(wait_s < _least_s(failures) for failures, wait_s in self.waits)

    def sleeps_in(self) -> bool:
        # The longest wait of its own, or the longest that this server asks for.
        longest = ((max(_least_s(failures), 90.0), wait_s) for failures, wait_s in self.waits)
        return any(wait_s > least_s * (1 + WAITS.jitter) for least_s, wait_s in longest)

    def forgives(self) -> bool:
        """Whether a wait after an event was short again, having been long before."""
        firsts = [wait_s for failures, wait_s in self.waits[1:] if failures == 0]
        return any(wait_s <= 3.0 * (1 + WAITS.jitter) for wait_s in firsts)


def _least_s(failures: int) -> float:
    """The shortest wait after so many connections without an event: 3, 6, 12, 24, 48, 60, 60."""
    return min(3.0 * 2.0**failures, 60.0)


async def follow_a_moody_server(world: toron.World) -> None:
    """Two followers, one server that fails in every way it knows; in the end they have it all."""
    moody = Moody()
    followers = {name: Follower() for name in FOLLOWERS}

    def is_complete() -> bool:
        return all(one.complete for one in followers.values())

    world.host("server").spawn(moody.live)
    for name in FOLLOWERS:
        world.host(name).spawn(followers[name].live)
        world.net.link(name, "server", latency=(0.002, 0.060), loss=0.02)
    world.faults(partitions=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.faults(crashes=True, hosts=["server"], within=FAULTS_S)
    world.always(
        "no event is lost or comes twice", lambda: all(one.is_whole() for one in followers.values())
    )
    world.always(
        "a failing server is not hurried",
        lambda: not any(one.hurries() for one in followers.values()),
    )
    world.always(
        "no wait is longer than promised",
        lambda: not any(one.sleeps_in() for one in followers.values()),
    )
    world.eventually("every follower has it all", is_complete, within=FAULTS_S + RECOVERY_S)
    while not is_complete() and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(1)
    every = [wait for one in followers.values() for wait in one.waits]
    world.sometimes("a wait grew to its most", any(wait_s >= 60 for _, wait_s in every))
    world.sometimes(
        "an event made the next wait short", any(map(Follower.forgives, [*followers.values()]))
    )
    world.record(
        "waits", {name: [round(w, 3) for _, w in one.waits] for name, one in followers.items()}
    )
    world.record("moods", dict(sorted(moody.moods.items())))


for _late in ("httpcore", "anyio._backends._asyncio"):
    importlib.import_module(_late)


@toron.kernel
async def client_reconnect(world: toron.World) -> None:
    await follow_a_moody_server(world)
