"""The platform's gateway shows logs live to viewers, through power cuts and broken links.

Everything that decides is the platform's own: the log in SQLite (`testops.storage`), rings, hub,
application and server (`testops.sse_gateway`), and the client that comes back (`testops.client`).
Only who may watch is not asked. What a viewer was shown must be in the log for ever, because it was
committed before it was sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import random
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

import toron
from sim.kernels.platform import new_run, open_here, run_id_for
from testops.access.asked import Asked
from testops.client.follow import Interrupted, follow
from testops.client.reconnect import Reconnect, Waits
from testops.client.sse import Message
from testops.domain.event import Delivery, EventType, LogHead, NewEvent, StoredEvent, delivery_of
from testops.domain.execution import Ending
from testops.domain.run import RunState
from testops.domain.verdict import ExitCode, Verdict
from testops.sse_gateway.application import Gateway, Runs
from testops.sse_gateway.asgi import Receive, Scope, Send
from testops.sse_gateway.hub import Hub
from testops.sse_gateway.ports import Limits
from testops.sse_gateway.server import Server, Threads, config_for, listener
from testops.storage.database import Database
from testops.storage.events import EventStore
from testops.storage.executions import ExecutionsStore
from testops.storage.runs import RunsStore
from testops.storage.wakeups import Wakeups

PORT = 8080
FAULTS_S = 15.0
RECOVERY_S = 200.0
RUNS = {"long": 110, "short": 30}
BURST_MAX = 12
PACE_S = (0.0, 1.8)
# A link and buffers so narrow that its viewer is slow, and is spared what it may miss.
SLOW_BYTES_A_SECOND = 12_000
BUFFER_BYTES = 4096
LIMITS = Limits(
    ring_events=24,
    ring_bytes=96 << 10,
    batch_bytes=24 << 10,
    page_events_first=4,
    page_events_max=16,
    heartbeat_s=3.0,
    recheck_s=5.0,
    slow_after_s=0.3,
    behind_max=12,
    send_timeout_s=15.0,
    idle_s=4.0,
    stagger_ms=1000,
    samples_one_in=4,
)
WAITS = Waits(stall_s=7.0)

_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used, as all is plain HTTP; without it each client reads the certificates of the system."""

Place = tuple[str, int]


@dataclass(slots=True)
class Tally:
    """What somebody knows who sees all hosts and forgets nothing."""

    # What anybody was shown, by run and number; and whether somebody was shown something else.
    shown: dict[Place, bytes] = field(default_factory=dict)
    contradictions: int = 0
    # How far the writer was told that its events are kept.
    kept: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    read: int = 0
    read_behind_ring: int = 0
    hubs: list[Hub] = field(default_factory=list)

    def show(self, place: Place, body: bytes) -> None:
        self.contradictions += self.shown.setdefault(place, body) != body

    def is_bounded(self) -> bool:
        stats = [hub.stats() for hub in self.hubs]
        return all(
            one.ring_events <= one.rings * LIMITS.ring_events
            and one.ring_bytes <= one.rings * LIMITS.ring_bytes
            for one in stats
        )


@dataclass(frozen=True, slots=True)
class Somebody:
    """A viewer: whoever has this address."""

    id: str


class Everybody:
    """Lets everybody watch; who may is not what this kernel is about."""

    async def admit(self, request: Asked, /) -> Somebody:
        return Somebody(request.client)

    async def permit(
        self, principal: Somebody, request: Asked, /, *, run_id: str, workspace: str
    ) -> None:
        return None

    def still_valid(self, principal: Somebody, /) -> bool:
        return True


class CountedLog:
    """The event store, with a look over its shoulder."""

    def __init__(self, store: EventStore, tally: Tally) -> None:
        self._store = store
        self._tally = tally

    def head(self, run_id: str) -> LogHead | None:
        return self._store.head(run_id)

    def read(self, run_id: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        found = self._store.read(run_id, after=after, limit=limit)
        self._tally.read += len(found)
        behind = self._tally.kept.get(run_id, 0) - LIMITS.ring_events
        self._tally.read_behind_ring += after < behind
        return found


class Platform:
    """The serving host between two power cuts: a store, a gateway, and a writer for each run."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    async def live(self) -> None:
        database = await asyncio.to_thread(open_here)
        store = EventStore(database)
        threads = Threads()
        log = CountedLog(store, self._tally)
        hub = Hub(log, Wakeups(database), threads, LIMITS)
        self._tally.hubs[:] = [hub]
        gateway = Gateway(hub, Runs(log, store), Everybody(), threads)
        door = listener("0.0.0.0", PORT, LIMITS)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        server = Server(config_for(gateway, lifespan="off"), gateway)
        writers = [asyncio.create_task(self._write(database, name)) for name in RUNS]
        await server.serve(sockets=[door])
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)

    async def _write(self, database: Database, name: str) -> None:
        """Execute the run called `name`, as far as its log is concerned."""
        run_id = run_id_for(name)
        runs = RunsStore(database, lambda _connection, _submission: None)
        executions = ExecutionsStore(database)
        new = new_run(name, stages={"lint": {}})
        await asyncio.to_thread(runs.create, new)
        taken = await asyncio.to_thread(executions.take, run_id, 1, "writer")
        if taken is None:
            return
        last = taken.run.last_seq
        self._tally.lost += last < self._tally.kept.get(run_id, 0)
        while last < RUNS[name]:
            await asyncio.sleep(random.uniform(*PACE_S))
            burst = [_draw_event() for _ in range(random.randint(1, BURST_MAX))]
            await asyncio.to_thread(executions.tell, taken, burst)
            last += len(burst)
            self._tally.kept[run_id] = last
        ending = Ending(RunState.FINISHED, Verdict.PASS, ExitCode.HOLDS)
        await asyncio.to_thread(executions.finish, taken, ending)


def _draw_event() -> NewEvent:
    number = random.randrange(10_000)
    match random.randrange(5):
        case 0:
            return NewEvent(EventType.GATE_EVALUATED, {"gate": {"number": number}})
        case 1 | 2:
            key = random.choice(("sim/red", "sim/blue"))
            return NewEvent(EventType.STAGE_PROGRESS, {"done": number, "of": key}, key)
        case _:
            return NewEvent(EventType.STAGE_LOG, {"text": "x" * random.randint(10, 24_000)})


@dataclass(slots=True)
class Viewer:
    """One viewer. What it keeps is on its disk, the place to come back to with it."""

    runs: tuple[str, ...]
    delivery: str
    tally: Tally
    place: str | None = None
    seen: dict[str, list[tuple[int, str, bytes]]] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    interruptions: int = 0
    complete: bool = False

    async def live(self) -> None:
        if self.complete:
            return
        options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)]
        transport = httpx.AsyncHTTPTransport(verify=_TLS, trust_env=False, socket_options=options)
        reconnect = Reconnect(random.random, runs=len(self.runs), place=self.place, waits=WAITS)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
            async for told in follow(http, self._url(), reconnect):
                if isinstance(told, Interrupted):
                    self.interruptions += 1
                else:
                    self._hear(told)
        self.complete = True

    def _url(self) -> str:
        base = f"http://server:{PORT}"
        ids = [run_id_for(name) for name in self.runs]
        if len(ids) == 1:
            return f"{base}/v1/test-runs/{ids[0]}/events?delivery={self.delivery}"
        named = "&".join(f"run={one}" for one in ids)
        return f"{base}/v1/events?{named}&delivery={self.delivery}"

    def _hear(self, told: Message) -> None:
        body = json.loads(told.data)
        if "seq" not in body:
            self.notes[told.event] = self.notes.get(told.event, 0) + 1
            return
        run_id, seq = body["run_id"], body["seq"]
        self.seen.setdefault(run_id, []).append((seq, told.event, told.data))
        self.place = told.id
        self.tally.show((run_id, seq), told.data)

    def ascends(self) -> bool:
        """Whether the newest number of each run follows the one before it as it must."""
        for events in self.seen.values():
            before = events[-2][0] if len(events) > 1 else 0
            step = events[-1][0] - before
            if step < 1 or (step > 1 and self.delivery == "full"):
                return False
        return True

    def has_all_of(self, run_id: str, log: Sequence[StoredEvent]) -> bool:
        """Whether it has of the log what it must: all of it, or what must be delivered."""
        seen = {seq: body for seq, _, body in self.seen.get(run_id, [])}
        kept = {event.seq: event.body for event in log}
        if self.delivery == "full":
            return seen == kept
        must = {e.seq: e.body for e in log if delivery_of(e.type) is Delivery.MUST}
        return must.items() <= seen.items() <= kept.items()

    def digest(self) -> str:
        said = [body for events in self.seen.values() for _, _, body in events]
        return hashlib.sha256(b"\n".join(sorted(said))).hexdigest()[:16]


async def _read_logs() -> dict[str, Sequence[StoredEvent]]:
    """What is on the disk of the serving host, by run id."""

    def read() -> dict[str, Sequence[StoredEvent]]:
        store = EventStore(open_here())
        ids = [run_id_for(name) for name in RUNS]
        return {run_id: store.read(run_id, after=0, limit=10_000) for run_id in ids}

    return await asyncio.to_thread(read)


def _import_what_comes_late() -> None:
    """Import once, and not in each execution, what these libraries import on first use."""
    config_for(_nobody, lifespan="off").load()
    for name in ("httpcore", "anyio._backends._asyncio", "sqlalchemy.dialects.sqlite"):
        importlib.import_module(name)


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for an application while the server's code is imported."""


_import_what_comes_late()


async def show_runs(world: toron.World) -> None:
    """Three viewers of two runs that are being executed; in the end each has what the log has."""
    tally = Tally()
    viewers = {
        "plain": Viewer(("long",), "full", tally),
        "page": Viewer(("long", "short"), "full", tally),
        "slow": Viewer(("long",), "thinned", tally),
    }

    def is_complete() -> bool:
        return all(viewer.complete for viewer in viewers.values())

    server = world.host("server")
    server.spawn(Platform(tally).live)
    for name, viewer in viewers.items():
        world.host(name).spawn(viewer.live)
        narrow = SLOW_BYTES_A_SECOND if name == "slow" else None
        world.net.link(name, "server", latency=(0.002, 0.04), loss=0.01, bandwidth=narrow)
    world.faults(crashes=True, kills=True, hosts=["server"], within=FAULTS_S)
    world.faults(partitions=True, crashes=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.always("what was shown never changes", lambda: tally.contradictions == 0)
    world.always("what was committed outlives a power cut", lambda: tally.lost == 0)
    world.always(
        "events come in order, once, and without a gap",
        lambda: all(viewer.ascends() for viewer in viewers.values()),
    )
    world.always("rings are bounded", tally.is_bounded)
    world.eventually("every viewer comes to the end", is_complete, within=FAULTS_S + RECOVERY_S)
    await world.sleep(random.uniform(1.0, FAULTS_S))
    if server.up:
        # A new version is rolled out: whoever watches is told to come back.
        await server.stop(within=10.0)
        server.restart()
    while not is_complete() and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.5)
    await world.quiet()
    logs = await server.spawn(_read_logs)
    world.always(
        "every viewer has the bytes of the log",
        all(
            viewer.has_all_of(run_id_for(name), logs[run_id_for(name)])
            for viewer in viewers.values()
            for name in viewer.runs
        ),
    )
    told = {name for viewer in viewers.values() for name in viewer.notes}
    delivered = sum(len(events) for v in viewers.values() for events in v.seen.values())
    for name in ("drain", "coalesced", "end"):
        world.sometimes(f"a viewer was told: {name}", name in told)
    world.sometimes("a viewer had to come back", any(v.interruptions for v in viewers.values()))
    world.sometimes("a viewer was served from behind the ring", tally.read_behind_ring > 0)
    world.sometimes("one read served several viewers", tally.read < delivered)
    world.record("seen", {name: sum(map(len, v.seen.values())) for name, v in viewers.items()})
    world.record("digests", {name: viewer.digest() for name, viewer in viewers.items()})
    world.record("interruptions", {name: v.interruptions for name, v in viewers.items()})
    world.record("notes", {name: dict(sorted(v.notes.items())) for name, v in viewers.items()})


@toron.kernel
async def event_stream(world: toron.World) -> None:
    await show_runs(world)
