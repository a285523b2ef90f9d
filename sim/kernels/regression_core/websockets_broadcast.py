"""A hub publishes numbered news over websockets; subscribers resume after what they saw last.

The hub keeps the news on disk and sends a new subscriber first what it has missed. Nothing may be
lost or come twice on the way from the backlog to the live stream, however often a subscriber has to
connect again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException

import toron

SUBSCRIBERS = ("eva", "finn", "gus")
NEWS = 20
PORT = 8765
FAULTS_S = 6.0
RECOVERY_S = 14.0
PUBLISH_S = 0.3
PING_S = 0.5
BACKOFF_S = (0.05, 0.5)


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps the stream whole. Tests break it and Toron must notice."""

    missed_news_are_sent: bool = True


class Hub:
    """The publishing host between two power cuts. ``news`` is its disk."""

    def __init__(self, news: list[str], rules: Rules) -> None:
        self._news = news
        self._rules = rules
        self._published = asyncio.Condition()

    async def live(self) -> None:
        async with serve(self._feed, "0.0.0.0", PORT, ping_interval=PING_S, ping_timeout=PING_S):
            while len(self._news) < NEWS:
                await asyncio.sleep(PUBLISH_S)
                async with self._published:
                    self._news.append(f"news {len(self._news) + 1}")
                    self._published.notify_all()
            await asyncio.Event().wait()

    async def _feed(self, subscriber: ServerConnection) -> None:
        """Send everything after the number that the subscriber names, for ever."""
        with contextlib.suppress(ConnectionClosed):
            sent = int(await subscriber.recv())
            if not self._rules.missed_news_are_sent:
                sent = len(self._news)
            while True:
                async with self._published:
                    while len(self._news) <= sent:
                        await self._published.wait()
                for number in range(sent, len(self._news)):
                    await subscriber.send(f"{number + 1} {self._news[number]}")
                    sent = number + 1


@dataclass(slots=True)
class Reader:
    """What one subscriber keeps: all it has seen, and how often it had to connect."""

    seen: list[int] = field(default_factory=list)
    connections: int = 0

    def is_without_gap(self) -> bool:
        return self.seen == list(range(1, len(self.seen) + 1))

    async def follow(self) -> None:
        """Read until the last news, over as many connections as it takes."""
        while len(self.seen) < NEWS:
            # OSError: no way there; TimeoutError, which is one: no answer to the handshake.
            with contextlib.suppress(OSError, WebSocketException, EOFError):
                async with connect(
                    f"ws://hub:{PORT}",
                    proxy=None,
                    open_timeout=1.0,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                    close_timeout=0.2,
                ) as hub:
                    self.connections += 1
                    await hub.send(str(len(self.seen)))
                    async for message in hub:
                        self.seen.append(int(str(message).split()[0]))
                        if len(self.seen) == NEWS:
                            break
            await asyncio.sleep(random.uniform(*BACKOFF_S))


async def broadcast(world: toron.World, rules: Rules) -> None:
    """News through faults: each subscriber sees 1, 2, 3 … without a gap, and in the end all."""
    news: list[str] = []
    readers = {name: Reader() for name in SUBSCRIBERS}

    async def hub() -> None:
        await Hub(news, rules).live()

    def is_all_seen() -> bool:
        return all(len(reader.seen) == NEWS for reader in readers.values())

    world.host("hub").spawn(hub)
    for name in SUBSCRIBERS:
        world.host(name).spawn(readers[name].follow)
        world.net.link(name, "hub", latency=(0.002, 0.060), loss=0.02)
    world.faults(partitions=True, crashes=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.always(
        "no subscriber misses news or sees it twice",
        lambda: all(reader.is_without_gap() for reader in readers.values()),
    )
    world.eventually("every subscriber sees all news", is_all_seen, within=FAULTS_S + RECOVERY_S)
    while not is_all_seen() and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.25)
    connections = {name: reader.connections for name, reader in readers.items()}
    world.sometimes("a subscriber had to connect again", max(connections.values()) > 1)
    world.record("seen", {name: reader.seen[-1] for name, reader in readers.items()})
    world.record("connections", connections)


@toron.kernel
async def websockets_broadcast(world: toron.World) -> None:
    await broadcast(world, Rules())
