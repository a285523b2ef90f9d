"""Installs the whole edge in the right order, and hands it to one run."""

from __future__ import annotations

import asyncio
import functools
import gc
import mimetypes
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from toron.core.loop import Shared
from toron.core.selector import Descriptors, Pollable
from toron.errors import EscapeError
from toron.world.boundary import (
    clocks,
    entropy,
    files,
    foreign_io,
    identity,
    interfaces,
    libraries,
    loops,
    machine,
    measurements,
    pipes,
    polling,
    process_ids,
    pyca,
    signals,
    sockets_edge,
    sqlite_vfs,
    threads,
    tls,
)
from toron.world.boundary.aliases import replace, spread
from toron.world.boundary.file_table import FileTable
from toron.world.boundary.refusals import Refusals
from toron.world.disk.host_disk import Disks
from toron.world.disk.lower import Lower
from toron.world.disk.real import getcwd
from toron.world.network import Network
from toron.world.sockets import attach


class Edge:
    """The boundary of this process, installed once."""

    def __init__(self, place: Callable[[FrameType | None], str], roots: list[Path]) -> None:
        self.clocks = clocks.ClockSource()
        self.entropy = entropy.EntropySource()
        self.refusals = Refusals(place, roots)
        self.files = FileTable()
        self._network: Network | None = None
        self._tls_moves = ""

    def install(self) -> None:
        """Replace and guard. Call before the program under test is imported."""
        machine.install(self._machine_name, self.clocks.own)
        process_ids.install()
        time.tzset()
        mimetypes.knownfiles.clear()  # the machine's own tables; Python's built-in ones stay
        clocks.install(self.clocks)
        entropy.install(self.entropy)
        self._tls_moves = tls.install(self.clocks, self.entropy)
        pyca.install()
        foreign_io.install()
        libraries.install(self.refusals)
        self._install_sockets()
        files.install(self.files)
        self.refusals.before_sqlite = self._before_sqlite
        signals.install()
        loops.install()
        self._install_asyncio()
        threads.install()
        pipes.install(self._descriptors)
        spread()
        sys.addaudithook(self.refusals.hook)

    def settle(self) -> None:
        """Call when the program is imported: from here on its classes are known."""
        identity.install()
        gc.collect()
        gc.freeze()

    def begin(self, network: Network, shared: Shared, seed: int, disks: Disks) -> None:
        """Hand the edge to one run; from here on nothing gets out."""
        self._network = network
        process_ids.begin()
        self.clocks.clock = shared.clock
        self.clocks.baton = shared.baton
        threads.begin(shared.baton, shared.clock)
        threads.hear_of_failures(shared)
        loops.begin(shared)
        signals.begin(network, shared)
        self.entropy.begin(seed)
        self.entropy.on_draw = lambda payload: network.trace.add_bytes("entropy", "", payload)
        attach(network)
        if self._tls_moves:
            network.trace.add("tls", self._tls_moves)
        sys.dont_write_bytecode = True
        gc.disable()
        self.refusals.start()
        disks.lower = Lower(self.refusals.readable, disks.name_of)
        disks.folders = [getcwd(), *filter(None, map(os.environ.get, ("HOME", "TMPDIR")))]
        disks.entropy = self.entropy.bytes
        self.files.listen_to(disks)
        measurements.forget()

    def end(self) -> None:
        """Let the process report what it found."""
        self.refusals.active = False
        threads.end()
        self.files.disks = None
        attach(None)

    def _install_sockets(self) -> None:
        sockets_edge.install(self._world)
        interfaces.install(self._world)
        polling.install(self._pollable)

    def _descriptors(self) -> Descriptors | None:
        return None if self._network is None else self._network.descriptors

    @functools.cache  # noqa: B019  (one edge a process)
    def _before_sqlite(self) -> str:
        return sqlite_vfs.install(self.files)

    def _pollable(self, fd: int) -> Pollable | None:
        return self._world("poll").descriptors.get(fd)

    def _world(self, call: str) -> Network:
        if self._network is None:
            raise EscapeError(f"{call} was called outside of a simulation (at import time?)")
        return self._network

    def _gethostname(self) -> str:
        return self._world("socket.gethostname").current_process().host.name

    def _machine_name(self) -> str:
        return "localhost" if self._network is None else self._gethostname()

    def _install_asyncio(self) -> None:
        """`as_completed` starts its coroutines in the order of a set; start them as listed."""
        original = asyncio.as_completed

        @functools.wraps(original)
        def as_completed(awaitables: Iterable[Any], *, timeout: float | None = None) -> Any:
            return original([asyncio.ensure_future(one) for one in awaitables], timeout=timeout)

        replace(asyncio.tasks, "as_completed", as_completed)
