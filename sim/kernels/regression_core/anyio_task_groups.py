"""A search front end in anyio: shards asked in parallel, deadlines, hedged requests, limited slots.

Each query asks every shard; for each shard a second request starts if the first is slow, and the
first answer cancels the other. All of a query ends at its deadline, with what there is by then. A
request holds a slot that must be handed back to a pool on another task, also when the request is
cancelled: handing it back waits, so it is shielded.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

import toron

SHARDS = ("red", "green", "blue")
QUERIES = 12
QUERIES_AT_ONCE = 2
SLOTS = 6
PORT = 9200
FAULTS_S = 5.0
RECOVERY_S = 10.0
DEADLINE_S = 0.4
HEDGE_S = 0.05
GRACE_S = 0.02
SHARD_S = (0.001, 0.08)
PACE_S = 0.4
LINE_MAX = 256


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps slots from leaking. Tests break it and Toron must notice."""

    handing_back_is_shielded: bool = True


async def serve_shard(name: str) -> None:
    """Answer ``word`` with where this shard has it, after a time that varies."""

    async def serve_one(client: SocketStream) -> None:
        lines = BufferedByteReceiveStream(client)
        async with client:
            try:
                while True:
                    word = await lines.receive_until(b"\n", LINE_MAX)
                    await anyio.sleep(random.uniform(*SHARD_S))
                    await client.send(b"%s in %s\n" % (word, name.encode()))
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return  # the front end has its answer from elsewhere, or has gone

    listener = await anyio.create_tcp_listener(local_host="0.0.0.0", local_port=PORT)
    await listener.serve(serve_one)


class Slots:
    """At most so many requests at once: tokens in a stream, taken before and handed back after."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.held = 0
        self._back: MemoryObjectSendStream[int]
        self._free: MemoryObjectReceiveStream[int]
        self._back, self._free = anyio.create_memory_object_stream[int](SLOTS)
        for number in range(SLOTS):
            self._back.send_nowait(number)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[int]:
        """Hold a slot for a while."""
        number = await self._free.receive()
        self.held += 1
        try:
            yield number
        finally:
            with anyio.CancelScope(shield=self._rules.handing_back_is_shielded):
                await self._back.send(number)
                self.held -= 1


@dataclass(slots=True)
class Tally:
    """What the front end saw of its queries."""

    answered: dict[str, int] = field(default_factory=dict)
    latest_s: float = 0.0
    hedges: int = 0
    failures: int = 0
    finished: bool = False


class FrontEnd:
    """The host that fans out queries."""

    def __init__(self, slots: Slots, tally: Tally) -> None:
        self._slots = slots
        self._tally = tally

    async def run(self) -> None:
        """Two readers take queries from one stream, until it is closed."""
        queries, inbox = anyio.create_memory_object_stream[str]()
        async with anyio.create_task_group() as group:
            for _ in range(QUERIES_AT_ONCE):
                group.start_soon(self._take, inbox.clone())
            inbox.close()
            async with queries:
                for number in range(QUERIES):
                    await queries.send(f"word-{number}")
                    await anyio.sleep(random.uniform(0.5, 1.5) * PACE_S)
        self._tally.finished = True

    async def _take(self, inbox: MemoryObjectReceiveStream[str]) -> None:
        async with inbox:
            async for word in inbox:
                began = anyio.current_time()
                answers = await self._query(word)
                self._tally.latest_s = max(self._tally.latest_s, anyio.current_time() - began)
                self._tally.answered[word] = len(answers)

    async def _query(self, word: str) -> dict[str, str]:
        """The answers of the shards that could be had within the deadline."""
        answers: dict[str, str] = {}
        with anyio.move_on_after(DEADLINE_S):
            async with anyio.create_task_group() as group:
                for shard in SHARDS:
                    group.start_soon(self._ask_hedged, shard, word, answers)
        return answers

    async def _ask_hedged(self, shard: str, word: str, answers: dict[str, str]) -> None:
        """Ask twice if the first request is slow; the first answer cancels the other request."""
        async with anyio.create_task_group() as race:

            async def ask() -> None:
                answer = await self._ask(shard, word)
                if answer is not None:
                    answers[shard] = answer
                    race.cancel_scope.cancel()

            race.start_soon(ask)
            await anyio.sleep(HEDGE_S)
            self._tally.hedges += 1
            race.start_soon(ask)

    async def _ask(self, shard: str, word: str) -> str | None:
        async with self._slots.one():
            try:
                async with await anyio.connect_tcp(shard, PORT) as stream:
                    await stream.send(word.encode() + b"\n")
                    lines = BufferedByteReceiveStream(stream)
                    return (await lines.receive_until(b"\n", LINE_MAX)).decode()
            except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                self._tally.failures += 1
                return None


async def search(world: toron.World, rules: Rules) -> None:
    """Queries while shards fail: each ends in time, no slot leaks, and in the end all answer."""
    slots, tally = Slots(rules), Tally()

    async def front() -> None:
        await FrontEnd(slots, tally).run()

    for shard in SHARDS:
        world.host(shard).spawn(serve_shard, shard)
    world.host("front").spawn(front)
    world.faults(partitions=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    # The front end keeps its power: what is judged is how it bears the failures of the others.
    world.faults(crashes=True, hosts=list(SHARDS), within=FAULTS_S)
    world.always("a query ends by its deadline", lambda: tally.latest_s <= DEADLINE_S + GRACE_S)
    world.always("slots are limited", lambda: slots.held <= SLOTS)
    world.eventually("all queries end", lambda: tally.finished, within=FAULTS_S + RECOVERY_S)
    while not tally.finished and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.25)
    world.always("every slot comes back", slots.held == 0)
    whole = [word for word, count in tally.answered.items() if count == len(SHARDS)]
    world.always("every query has a result", len(tally.answered) == QUERIES)
    world.sometimes("a query went without a shard", len(whole) < QUERIES)
    world.sometimes("a request was hedged", tally.hedges > 0)
    world.record("answered", tally.answered)
    world.record("hedges", tally.hedges)
    world.record("failures", tally.failures)


@toron.kernel
async def anyio_task_groups(world: toron.World) -> None:
    await search(world, Rules())
