"""Installs the whole edge in the right order, and hands it to one run."""

from __future__ import annotations

import asyncio
import functools
import gc
import mimetypes
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from toron.core.loop import Shared
from toron.core.selector import Pollable
from toron.errors import EscapeError
from toron.world.boundary import clocks, entropy, identity, loops, polling, signals, threads
from toron.world.boundary.aliases import Stand, replace, spread
from toron.world.boundary.refusals import Refusals
from toron.world.network import Network
from toron.world.sockets import SimSocket, attach, sim_socketpair


class Edge:
    """The boundary of this process, installed once."""

    def __init__(self, place: Callable[[FrameType | None], str], roots: list[Path]) -> None:
        self.clocks = clocks.ClockSource()
        self.entropy = entropy.EntropySource()
        self.refusals = Refusals(place, roots)
        self._network: Network | None = None

    def install(self) -> None:
        """Replace and guard. Call before the program under test is imported."""
        os.environ["TZ"] = "UTC"
        time.tzset()
        platform.uname()  # shells out to `uname -p` once and remembers
        mimetypes.knownfiles.clear()  # the machine's own tables; Python's built-in ones stay
        clocks.install(self.clocks)
        entropy.install(self.entropy)
        self._install_sockets()
        signals.install()
        loops.install()
        self._install_asyncio()
        threads.install()
        spread()
        sys.addaudithook(self.refusals.hook)

    def settle(self) -> None:
        """Call when the program is imported: from here on its classes are known."""
        identity.install()
        gc.collect()
        gc.freeze()

    def begin(self, network: Network, shared: Shared, seed: int) -> None:
        """Hand the edge to one run; from here on nothing gets out."""
        self._network = network
        self.clocks.clock = shared.clock
        self.clocks.baton = shared.baton
        threads.begin(shared.baton, shared.clock)
        threads.hear_of_failures(shared)
        loops.begin(shared)
        signals.begin(network, shared)
        self.entropy.begin(seed)
        self.entropy.on_draw = lambda payload: network.trace.add_bytes("entropy", "", payload)
        attach(network)
        sys.dont_write_bytecode = True
        gc.disable()
        self.refusals.start()

    def end(self) -> None:
        """Let the process report what it found."""
        self.refusals.active = False
        threads.end()
        attach(None)

    def _install_sockets(self) -> None:
        replace(socket, "socket", SimSocket)
        replace(socket, "socketpair", sim_socketpair)
        polling.install(self._pollable)
        replace(socket, "getaddrinfo", Stand(socket.getaddrinfo, self._getaddrinfo))
        replace(socket, "gethostname", Stand(socket.gethostname, self._gethostname))
        replace(socket, "getfqdn", Stand(socket.getfqdn, self._getfqdn))
        replace(socket, "gethostbyname", Stand(socket.gethostbyname, self._gethostbyname))
        replace(socket, "fromfd", Stand(socket.fromfd, _refuse_fromfd))

    def _pollable(self, fd: int) -> Pollable | None:
        return self._world("poll").descriptors.get(fd)

    def _world(self, call: str) -> Network:
        if self._network is None:
            raise EscapeError(f"{call} was called outside of a simulation (at import time?)")
        return self._network

    def _getaddrinfo(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        return self._world("socket.getaddrinfo").resolve(host, port, *args, **options)

    def _gethostname(self) -> str:
        return self._world("socket.gethostname").current_process().host.name

    def _getfqdn(self, name: str = "") -> str:
        return name or self._gethostname()

    def _gethostbyname(self, name: str) -> str:
        answers = self._world("socket.gethostbyname").resolve(name, 0, socket.AF_INET)
        return str(answers[0][4][0])

    def _install_asyncio(self) -> None:
        """`as_completed` starts its coroutines in the order of a set; start them as listed."""
        original = asyncio.as_completed

        @functools.wraps(original)
        def as_completed(awaitables: Iterable[Any], *, timeout: float | None = None) -> Any:
            return original([asyncio.ensure_future(one) for one in awaitables], timeout=timeout)

        replace(asyncio.tasks, "as_completed", as_completed)


def _refuse_fromfd(*_arguments: Any) -> None:
    raise EscapeError("socket.fromfd() adopts a descriptor of the real world")
