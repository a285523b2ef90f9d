"""Replaces what the `socket` module offers beside its class: names, services, interfaces, pairs."""

from __future__ import annotations

import asyncio.base_events
import errno
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from toron.core.process import HostLike
from toron.errors import EscapeError
from toron.world.addresses import (
    INTERFACES,
    PROTOCOLS,
    SERVICES,
    error,
    interface_index,
    interface_name,
)
from toron.world.boundary.aliases import Stand, replace
from toron.world.names import service_name
from toron.world.network import Network
from toron.world.sockets import (
    SimSocket,
    close_descriptor,
    description_at,
    duplicate_descriptor,
    sim_fromfd,
    sim_socketpair,
)

World = Callable[[str], Network]
"""Gives the network of the run, or raises for the call that it is told."""


def install(world: World) -> None:
    """Replace the functions of `socket`, and what asyncio does with their answers."""
    replace(socket, "socket", SimSocket)
    replace(socket, "socketpair", sim_socketpair)
    lookups = _Lookups(world)
    for name in (
        "getaddrinfo",
        "getnameinfo",
        "gethostname",
        "getfqdn",
        "gethostbyname",
        "gethostbyname_ex",
        "gethostbyaddr",
        "getservbyname",
        "getservbyport",
        "getprotobyname",
        "if_nameindex",
        "if_nametoindex",
        "if_indextoname",
        "sethostname",
    ):
        replace(socket, name, Stand(getattr(socket, name), getattr(lookups, name)))
    replace(socket, "fromfd", Stand(socket.fromfd, sim_fromfd))
    replace(socket, "dup", Stand(socket.dup, duplicate_descriptor))
    replace(socket, "close", Stand(socket.close, _close))
    replace(os, "sendfile", Stand(os.sendfile, _sendfile(os.sendfile)))
    # `create_server` walks a set of addresses, whose order is one of hashes; in its place stands
    # what keeps each address once, in the order in which they were resolved.
    asyncio.base_events.set = _each_once  # type: ignore[attr-defined]


def _each_once(items: Iterable[Any] = ()) -> Any:
    return dict.fromkeys(items).keys()


def _close(fd: int) -> None:
    if not close_descriptor(fd):
        raise EscapeError("socket.close() of a descriptor of the real world")


def _sendfile(original: Callable[..., int]) -> Callable[..., int]:
    def sendfile(out_fd: int, in_fd: int, *arguments: Any, **options: Any) -> int:
        if description_at(out_fd) is not None or description_at(in_fd) is not None:
            raise error(errno.EINVAL)  # asyncio then reads the file and sends what it has read
        return original(out_fd, in_fd, *arguments, **options)

    return sendfile


class _Lookups:
    """The functions of `socket` that look something up."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _here(self, call: str) -> HostLike:
        return self._world(call).current_process().host

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        return self._world("socket.getaddrinfo").resolve(host, port, *args, **options)

    def getnameinfo(self, address: Any, flags: int) -> tuple[str, str]:
        return self._world("socket.getnameinfo").names.describe(address, flags)

    def gethostname(self) -> str:
        return self._here("socket.gethostname").name

    def getfqdn(self, name: str = "") -> str:
        name = name.strip()
        if not name or name in ("0.0.0.0", "::"):  # noqa: S104  (the standard library's own rule)
            return self.gethostname()
        return self._world("socket.getfqdn").names.name_at(name) or name

    def gethostbyname(self, name: Any) -> str:
        answers = self._world("socket.gethostbyname").resolve(name or "0.0.0.0", 0, socket.AF_INET)  # noqa: S104
        return str(answers[0][4][0])

    def gethostbyname_ex(self, name: str) -> tuple[str, list[str], list[str]]:
        return name, [], [self.gethostbyname(name)]

    def gethostbyaddr(self, address: str) -> tuple[str, list[str], list[str]]:
        network = self._world("socket.gethostbyaddr")
        plain = str(network.resolve(address, 0)[0][4][0])
        name = network.names.name_at(plain)
        if name is None:
            raise socket.herror(1, "Unknown host")
        return name, [], [plain]

    def getservbyname(self, name: str, protocol: str | None = None) -> int:
        if name not in SERVICES or protocol not in (None, "tcp", "udp"):
            raise OSError("service/proto not found")
        return SERVICES[name][0]

    def getservbyport(self, port: int, protocol: str | None = None) -> str:
        name = service_name(port, protocol)
        if name is None:
            raise OSError("port/proto not found")
        return name

    def getprotobyname(self, name: str) -> int:
        if name not in PROTOCOLS:
            raise OSError("protocol not found")
        return PROTOCOLS[name]

    def if_nameindex(self) -> list[tuple[int, str]]:
        return list(INTERFACES)

    def if_nametoindex(self, name: str | bytes) -> int:
        return interface_index(name)

    def if_indextoname(self, index: int) -> str:
        return interface_name(index)

    def sethostname(self, _name: Any) -> None:
        raise error(errno.EPERM)
