"""A simulated host: what runs on it, its power switch and its place in the network."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from toron.core.loop import SimLoop
from toron.core.process import CURRENT, Process
from toron.world.disk.host_disk import HostDisk
from toron.world.network import Network

Main = Callable[..., Coroutine[Any, Any, Any]]


class Host:
    """A machine of the simulated world. Made by `World.host`."""

    def __init__(
        self, name: str, network: Network, loop: Callable[[], SimLoop], disk: HostDisk
    ) -> None:
        self.name = name
        self._network = network
        self._loop = loop
        self.disk = disk
        """Kept over crashes, but for what was not synced."""
        self._mains: list[tuple[Main, tuple[Any, ...], dict[str, Any]]] = []
        self.address = network.add_host(self)
        self.process = Process(self, 0)
        network.boot(self.process)

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address} {'up' if self.up else 'down'}>"

    @property
    def up(self) -> bool:
        """Whether the host has power."""
        return self.process.alive

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
        return self._loop().create_task(coroutine, context=context)

    def crash(self) -> None:
        """Cut the power: no `finally` runs, no packet leaves, its memory is gone.

        So is what it wrote and did not sync, as far as CHAOS_SEED has it.

        Peers are not told. They learn it from a retransmission that is never answered, or from the
        reset that the host sends once it is up again.
        """
        if not self.up:
            return
        self._network.trace.add("crash", self.name)
        self._network.power_off(self.process)
        self._loop().bury(self.process)
        self.disk.close_all_of(self.process)
        self.disk.power_cut()

    def restart(self) -> None:
        """Boot, after a crash if it was up: everything that was spawned starts afresh."""
        self.crash()
        self.process = Process(self, self.process.incarnation + 1)
        self._network.trace.add("restart", self.process.name)
        self._network.boot(self.process)
        for main, arguments, keywords in self._mains:
            self._start(main, arguments, keywords)
