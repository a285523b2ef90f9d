"""A simulated host: what runs on it, its power switch, its clocks and its place in the network."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Coroutine
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

from toron.core.clock import SECOND_NS
from toron.core.loop import Shared
from toron.core.process import CURRENT, Process
from toron.core.skew import PPM, Skew
from toron.world.disk.host_disk import HostDisk
from toron.world.network import Network

Main = Callable[..., Coroutine[Any, Any, Any]]

DRIFT_MAX = 0.5


class HostClock:
    """The clocks of one host, as a kernel sets them; they differ from true time from then on."""

    def __init__(self, host: Host, shared: Shared) -> None:
        self._host = host
        self._shared = shared
        self._skew: Skew | None = None

    @property
    def skew(self) -> Skew | None:
        """How they differ; None while they do not."""
        return self._skew

    @property
    def offset(self) -> float:
        """How many seconds the wall clock is ahead of true time now."""
        now_ns = self._shared.clock.now_ns
        return 0.0 if self._skew is None else (self._skew.wall_ns(now_ns) - now_ns) / SECOND_NS

    def set_offset(self, seconds: float) -> None:
        """Let the wall clock be ``seconds`` ahead of true time (behind, when negative)."""
        self.jump(seconds - self.offset)

    def jump(self, seconds: float, *, monotonic: bool = False) -> None:
        """Set the wall clock forward (or back) by ``seconds``, as an NTP step does.

        ``monotonic`` moves the monotonic clock too, which can only go forward: timers that fall
        into the gap are due at once.
        """
        if monotonic and seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back by {seconds!r} seconds")
        by_ns = round(seconds * SECOND_NS)
        self._host.network.trace.add("clock", f"{self._host.name} jumps {by_ns} {monotonic}")
        if monotonic:
            self._change(lambda skew, now_ns: skew.jump_monotonic(by_ns, now_ns))
        else:
            self._change(lambda skew, _: skew.jump_wall(by_ns))

    def drift(self, rate: float) -> None:
        """Run faster than true time by ``rate`` (0.001: one second in 1,000) from now on."""
        if not -DRIFT_MAX <= rate <= DRIFT_MAX:
            raise ValueError(f"drift {rate!r} must be between -{DRIFT_MAX} and {DRIFT_MAX}")
        ppm = round(rate * PPM)
        self._host.network.trace.add("clock", f"{self._host.name} drifts {ppm} ppm")
        self._change(lambda skew, now_ns: skew.drift(ppm, now_ns))

    def _change(self, change: Callable[[Skew, int], None]) -> None:
        """Change the skew, and move the timers that the host has set by its old clock."""
        now_ns = self._shared.clock.now_ns
        before = self._skew or Skew()
        after = before.copy()
        change(after, now_ns)
        self._skew = after
        self._shared.clock.is_skewed = True
        process = self._host.process
        process.skew = after
        for loop in self._shared.loops:
            loop.reset_timers(process, lambda at_ns: after.true_ns(before.monotonic_ns(at_ns)))


class Host:
    """A machine of the simulated world. Made by `World.host`."""

    def __init__(self, name: str, network: Network, shared: Shared, disk: HostDisk) -> None:
        self.name = name
        self.network = network
        self._shared = shared
        self.disk = disk
        """Kept over crashes, but for what was not synced."""
        self._mains: list[tuple[Main, tuple[Any, ...], dict[str, Any]]] = []
        self._running: list[asyncio.Task[Any]] = []
        self.clock = HostClock(self, shared)
        self.address = network.add_host(self)
        self.process = Process(self, 0)
        network.boot(self.process)

    def __repr__(self) -> str:
        state = "paused" if self.process.paused else "up" if self.up else "down"
        return f"<Host {self.name} {self.address} {state}>"

    @property
    def up(self) -> bool:
        """Whether its process lives."""
        return self.process.alive

    @property
    def has_ended(self) -> bool:
        """Whether all that was spawned has ended by itself, so that its process would too."""
        return bool(self._running) and all(task.done() for task in self._running)

    def spawn(self, main: Main, *arguments: Any, **keywords: Any) -> asyncio.Task[Any]:
        """Start ``main(*arguments)`` on this host; it is started again by `restart`.

        An exception that ends it, and that nobody awaits, fails the run.
        """
        if not self.up:
            raise RuntimeError(f"host {self.name} is down; restart() it first")
        self._mains.append((main, arguments, keywords))
        return self._start(main, arguments, keywords)

    def _start(
        self, main: Main, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(CURRENT.set, self.process)
        coroutine = context.run(main, *arguments, **keywords)
        if not inspect.iscoroutine(coroutine):
            raise TypeError(f"{main!r} must be an async function, it returned {coroutine!r}")
        task = self._shared.loops[0].create_task(coroutine, context=context)
        self._running.append(task)
        return task

    def crash(self) -> None:
        """Cut the power: no `finally` runs, no packet leaves, its memory is gone.

        So is what it wrote and did not sync, as far as CHAOS_SEED has it.

        Peers are not told. They learn it from a retransmission that is never answered, or from the
        reset that the host sends once it is up again.
        """
        if not self.process.powered:
            return
        self.network.trace.add("crash", self.name)
        self.network.power_off(self.process)
        self._end()
        self.disk.power_cut()

    def kill(self) -> None:
        """End its process at once, as SIGKILL does: no `finally` runs, but the system lives on.

        It closes the connections, so that peers see the end of the stream or a reset, and what was
        written to files stays written.
        """
        if not self.up:
            return
        self.network.trace.add("kill", self.name)
        self.network.close_all_of(self.process)
        self._end()

    def _end(self) -> None:
        self._running.clear()
        self._shared.bury(self.process)
        self.disk.close_all_of(self.process)

    def restart(self) -> None:
        """Boot, after a crash if it was up: everything that was spawned starts afresh.

        After a `kill` only the process starts again, on a system that never went down.
        """
        if self.up:
            self.crash()
        self.process = Process(self, self.process.incarnation + 1)
        self.process.skew = self.clock.skew
        self.network.trace.add("restart", self.process.name)
        self.network.boot(self.process)
        for main, arguments, keywords in self._mains:
            self._start(main, arguments, keywords)

    def pause(self) -> None:
        """Stop its process where it stands, as SIGSTOP or a long collection does.

        Its system goes on: packets are acknowledged and wait for it. Its clocks go on too, so that
        timers are overdue when it is resumed.
        """
        if self.up and not self.process.paused:
            if self.process is CURRENT.get(None):
                raise RuntimeError(f"host {self.name} cannot pause itself: who would resume it?")
            self.network.trace.add("pause", self.name)
            self.process.paused = True

    def resume(self) -> None:
        """Let a paused process go on."""
        if self.process.paused:
            self.network.trace.add("resume", self.name)
            self.process.paused = False
            held, self.process.held = self.process.held, []
            for loop in self._shared.loops:
                loop.resume(held)

    def signal(self, number: int) -> None:
        """Send its process a signal: its handler runs, or the signal's default ends it."""
        if self.up:
            if number == SIGKILL:
                self.kill()
            elif number == SIGSTOP:
                self.pause()
            else:
                if number == SIGCONT:
                    self.resume()
                self.process.deliver(number)

    def interrupt(self) -> None:
        """What SIGINT does by default under `asyncio.run`: cancel what was spawned."""
        for task in self._running:
            task.cancel()

    async def stop(self, *, number: int = SIGTERM, within: float = 30.0) -> bool:
        """Stop it gracefully: send a signal, wait for what was spawned to end, then kill the rest.

        Says whether all of it ended by itself within ``within`` virtual seconds.
        """
        running = [task for task in self._running if not task.done()]
        self.signal(number)
        ended = self.up
        if self.up and running:
            _, left = await asyncio.wait(running, timeout=within)
            ended = not left
        self.kill()
        return ended
