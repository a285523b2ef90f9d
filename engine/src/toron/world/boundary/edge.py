"""Installs the whole edge in the right order, and hands it to one run."""

from __future__ import annotations

import asyncio
import functools
import gc
import mimetypes
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from toron.core.clock import Clock
from toron.core.selector import Pollable
from toron.errors import EscapeError
from toron.world.boundary import clocks, entropy, identity, machine, polling
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
        self._signals: dict[int, Any] = {}

    def install(self) -> None:
        """Replace and guard. Call before the program under test is imported."""
        machine.install(self._machine_name, self.clocks.own)
        time.tzset()
        mimetypes.knownfiles.clear()  # the machine's own tables; Python's built-in ones stay
        clocks.install(self.clocks)
        entropy.install(self.entropy)
        self._install_sockets()
        self._install_signals()
        self._install_asyncio()
        self.refusals.refuse_threads()
        spread()
        sys.addaudithook(self.refusals.hook)

    def settle(self) -> None:
        """Call when the program is imported: from here on its classes are known."""
        identity.install()
        gc.collect()
        gc.freeze()

    def begin(self, network: Network, clock: Clock, seed: int) -> None:
        """Hand the edge to one run; from here on nothing gets out."""
        self._network = network
        self.clocks.clock = clock
        self.entropy.begin(seed)
        self.entropy.on_draw = lambda payload: network.trace.add_bytes("entropy", "", payload)
        attach(network)
        sys.dont_write_bytecode = True
        gc.disable()
        self.refusals.start()

    def end(self) -> None:
        """Let the process report what it found."""
        self.refusals.active = False
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

    def _machine_name(self) -> str:
        return "localhost" if self._network is None else self._gethostname()

    def _getfqdn(self, name: str = "") -> str:
        return name or self._gethostname()

    def _gethostbyname(self, name: str) -> str:
        answers = self._world("socket.gethostbyname").resolve(name, 0, socket.AF_INET)
        return str(answers[0][4][0])

    def _install_signals(self) -> None:
        """Handlers are kept in a table: no real signal is meant for a simulated program."""

        def set_handler(number: int, handler: Any, /) -> Any:
            previous = self._signals.get(int(number), signal.SIG_DFL)
            self._signals[int(number)] = handler
            return previous

        def get_handler(number: int, /) -> Any:
            return self._signals.get(int(number), signal.SIG_DFL)

        def raise_signal(number: int, /) -> None:
            handler = get_handler(number)
            if callable(handler):
                handler(number, sys._getframe(1))

        replace(signal, "signal", Stand(signal.signal, set_handler))
        replace(signal, "getsignal", Stand(signal.getsignal, get_handler))
        replace(signal, "raise_signal", Stand(signal.raise_signal, raise_signal))
        replace(signal, "set_wakeup_fd", Stand(signal.set_wakeup_fd, lambda *_a, **_k: -1))
        replace(signal, "siginterrupt", Stand(signal.siginterrupt, lambda *_a: None))

    def _install_asyncio(self) -> None:
        """`as_completed` starts its coroutines in the order of a set; start them as listed."""
        original = asyncio.as_completed

        @functools.wraps(original)
        def as_completed(awaitables: Iterable[Any], *, timeout: float | None = None) -> Any:
            return original([asyncio.ensure_future(one) for one in awaitables], timeout=timeout)

        replace(asyncio.tasks, "as_completed", as_completed)


def _refuse_fromfd(*_arguments: Any) -> None:
    raise EscapeError("socket.fromfd() adopts a descriptor of the real world")
