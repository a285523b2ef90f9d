"""Joins the durable logs with the viewers: one ring for each run that is being watched.

A viewer is served from the ring when it holds its place, and from the log when it is further back;
where the two meet it does not matter which was faster. What the log no longer has is told as a
`gap`, and the end of a run as `end`, both in the stream: a browser cannot read anything else of it.

Bounds: the rings (`Limits`), one batch for each viewer, and `off_loop` for the reads. A wake-up
that is lost costs one heartbeat, because every watched log is read at least that often.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass

from testops.domain.errors import StoreUnavailable
from testops.domain.event import StoredEvent
from testops.sse_gateway.bell import Bell
from testops.sse_gateway.channels import Channel, OffLoop
from testops.sse_gateway.ports import EventLog, Limits, Wakeups
from testops.sse_gateway.streams import Stream, Tally
from testops.sse_gateway.viewers import Stop, Viewer

log = logging.getLogger("testops.sse_gateway")

_KEEPER_EVERY_S = 1.0
# After a read that failed; all viewers of the run would ask at once.
_UNREADABLE_REST_S = 1.0
# So many watched runs are all read at every tick, when nobody says which of them has changed.
_AT_EVERY_TICK = 10


@dataclass(frozen=True, slots=True)
class HubStats:
    """What the gateway is doing, for metrics. What it sent, left out and cut never goes down."""

    viewers: int
    viewers_slow: int
    rings: int
    ring_events: int
    ring_bytes: int
    sent_bytes: int
    coalesced: int
    sampled: int
    cut: int


class Hub:
    """All rings, all viewers, and the tasks that keep them going. Lives on one loop."""

    def __init__(
        self,
        event_log: EventLog,
        wakeups: Wakeups,
        off_loop: OffLoop,
        limits: Limits,
        on_news: Callable[[StoredEvent], None] | None = None,
    ) -> None:
        self.limits = limits
        self.draining = False
        self._log = event_log
        self._wakeups = wakeups
        self._off_loop = off_loop
        # Hears the oldest event of each read of a watched log, to measure how late it is.
        self._on_news = on_news
        self._channels: dict[str, Channel] = {}
        # Each viewer with what ends its write.
        self._viewers: dict[Viewer, Callable[[], None]] = {}
        self._watching: dict[str, dict[Viewer, None]] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None
        # Set while there is no viewer.
        self._empty = asyncio.Event()
        self._empty.set()
        self._listening = contextlib.ExitStack()
        # The last wake-up did not say which run it was for.
        self._vague = False
        self._tally = Tally()
        self._cut = 0
        # By viewers that have gone.
        self._sent_bytes = 0

    # --- living ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to listen; only the first call does."""
        if self._keeper is not None:
            return
        loop = asyncio.get_running_loop()
        bell = Bell(loop, self._woken)
        self._listening.callback(bell.mute)
        self._listening.enter_context(self._wakeups.listen(bell.ring))
        self._keeper = loop.create_task(self._keep(), name="sse-keeper")

    async def drain(self, *, timeout_s: float) -> int:
        """Ask every viewer to come back later, spread over a while; how many had to be cut."""
        self.draining = True
        leaving = list(self._viewers)
        for number, viewer in enumerate(leaving):
            spread = self.limits.stagger_ms * number // len(leaving)
            viewer.retry_ms = self.limits.retry_ms + spread
            viewer.stop_for(Stop.DRAIN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        stuck = list(self._viewers.items())
        for viewer, cut in stuck:
            self._cut_off(viewer, cut)
        return len(stuck)

    async def close(self) -> None:
        """Stop listening, and every task. Viewers should have been drained before."""
        tasks = [*self._pumps.values(), *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # It joins a thread, which may be in the middle of a look at the database.
        await asyncio.get_running_loop().run_in_executor(None, self._listening.close)

    def stats(self) -> HubStats:
        rings = [channel.ring for channel in self._channels.values()]
        return HubStats(
            viewers=len(self._viewers),
            viewers_slow=sum(one.is_slow(self.limits) for one in self._viewers),
            rings=len(rings),
            ring_events=sum(len(ring) for ring in rings),
            ring_bytes=sum(ring.size_bytes for ring in rings),
            sent_bytes=self._sent_bytes + sum(one.sent_bytes for one in self._viewers),
            coalesced=self._tally.missed.coalesced,
            sampled=self._tally.missed.sampled,
            cut=self._cut,
        )

    # --- keeping rings level --------------------------------------------------------------------

    def _woken(self, run_ids: Sequence[str] | None) -> None:
        self._vague = run_ids is None
        for run_id in self._wakes if run_ids is None else run_ids:
            wake = self._wakes.get(run_id)
            if wake is not None:
                wake.set()

    async def _pump(self, channel: Channel, wake: asyncio.Event) -> None:
        """Read the log of a watched run when woken, once a tick, and at each heartbeat."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.limits.heartbeat_s):
                    await wake.wait()
            rest = channel.read_at + self._tick_s() - loop.time()
            if rest > 0 and channel.read_done:
                await asyncio.sleep(rest)
            wake.clear()
            if not await self._refresh(channel, channel.reads_begun):
                wake.set()

    def _tick_s(self) -> float:
        """Longer where each write of anybody wakes everybody: reads a second stay bounded."""
        crowd = max(1.0, len(self._pumps) / _AT_EVERY_TICK) if self._vague else 1.0
        return self.limits.tick_s * crowd

    async def _refresh(self, channel: Channel, since: int) -> bool:
        """Whether the log could be read; when it says something new, its viewers are told."""
        try:
            changed = await channel.refresh(since=since)
        except Exception as error:  # whatever a driver raises: the next read may succeed
            told = None if isinstance(error, StoreUnavailable) else error
            where = channel.run_id
            log.warning("the log of run %s could not be read: %s", where, error, exc_info=told)
            await asyncio.sleep(_UNREADABLE_REST_S)
            return False
        if changed:
            self._tell_news(channel)
            for viewer in self._watching.get(channel.run_id, {}):
                viewer.poke()
        return True

    def _tell_news(self, channel: Channel) -> None:
        if self._on_news is None or channel.news is None:
            return
        try:
            self._on_news(channel.news)
        except Exception:
            log.warning("an event could not be measured; no more are", exc_info=True)
            self._on_news = None

    # --- keeping viewers ------------------------------------------------------------------------

    @contextlib.contextmanager
    def viewing(
        self, viewer: Viewer, *, cut: Callable[[], None]
    ) -> Iterator[AsyncGenerator[bytes]]:
        """The pieces of `viewer`'s stream, while this is open; `cut` ends its write."""
        self.start()
        viewer.sent_at = asyncio.get_running_loop().time()
        self._viewers[viewer] = cut
        self._empty.clear()
        channels = [self._join(viewer, track.run_id) for track in viewer.tracks]
        try:
            yield Stream(viewer, channels, self.limits, self._tally, self._reread).pieces()
        finally:
            del self._viewers[viewer]
            self._sent_bytes += viewer.sent_bytes
            if not self._viewers:
                self._empty.set()
            for channel in channels:
                self._leave(viewer, channel)

    async def _reread(self, channel: Channel, since: int) -> None:
        await self._refresh(channel, since)

    def _join(self, viewer: Viewer, run_id: str) -> Channel:
        channel = self._channels.get(run_id)
        if channel is None:
            channel = Channel(run_id, self._log, self._off_loop, self.limits)
            self._channels[run_id] = channel
        channel.idle_since = None
        self._watching.setdefault(run_id, {})[viewer] = None
        if run_id not in self._pumps:
            # Nobody kept it level while nobody watched: the first read comes at once.
            self._wakes[run_id] = wake = asyncio.Event()
            wake.set()
            pump = self._pump(channel, wake)
            task = asyncio.get_running_loop().create_task(pump, name=f"sse-pump {run_id}")
            self._pumps[run_id] = task
        return channel

    def _leave(self, viewer: Viewer, channel: Channel) -> None:
        watching = self._watching[channel.run_id]
        del watching[viewer]
        if not watching:
            del self._watching[channel.run_id]
            self._pumps.pop(channel.run_id).cancel()
            del self._wakes[channel.run_id]
            channel.idle_since = asyncio.get_running_loop().time()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_KEEPER_EVERY_S, self.limits.heartbeat_s / 2))
            now = loop.time()
            for viewer, cut in list(self._viewers.items()):
                self._look_after(viewer, cut, now)
            for channel in list(self._channels.values()):
                idle = channel.idle_since is not None and now - channel.idle_since
                if idle is not False and idle >= self.limits.idle_s:
                    del self._channels[channel.run_id]

    def _look_after(self, viewer: Viewer, cut: Callable[[], None], now: float) -> None:
        since = viewer.writing_since
        if since is None:
            if now - viewer.sent_at >= self.limits.heartbeat_s:
                viewer.poke()
        elif now - since >= self.limits.send_timeout_s:
            self._cut_off(viewer, cut)

    def _cut_off(self, viewer: Viewer, cut: Callable[[], None]) -> None:
        if viewer.stop is not Stop.CUT:
            self._cut += 1
            viewer.stop = Stop.CUT
            cut()
