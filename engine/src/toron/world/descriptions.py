"""What a socket's descriptor refers to: the kernel's side of it, shared by what `dup` made.

A description lives until its last descriptor is closed or its host loses power. The kinds are
`tcp_sockets`, `udp` and `unix`; what Python adds (timeouts, blocking, addresses as tuples) belongs
to `sockets`.
"""

from __future__ import annotations

import errno
import os
import socket
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from toron.core.process import Process
from toron.world.addresses import (
    ANY_V4,
    ANY_V6,
    BROADCAST,
    Address,
    error,
    family_of_literal,
    plain,
    shaped,
)
from toron.world.network import Network
from toron.world.options import SO_DOMAIN, SO_PROTOCOL, Options
from toron.world.ports import Claim

Ancillary = list[tuple[int, int, bytes]]
Received = tuple[bytes, Any, int, Ancillary]
"""Bytes, the address of the sender as Python shows it, message flags and control messages."""


class Description(ABC):
    """The base of the kinds: descriptors, options, and refusals of what a kind does not do."""

    waits_to_connect: ClassVar[bool] = False
    """Whether `connect` needs an answer of the other side."""

    def __init__(
        self,
        network: Network,
        family: int,
        kind: int,
        proto: int,
        process: Process | None = None,
    ) -> None:
        self.network = network
        self.family = family
        self.kind = kind
        self.proto = proto
        self.process = process or network.current_process()
        self.options = Options(family, kind)
        self._fds: list[int] = []

    # Descriptors

    def open_at(self, fd: int) -> None:
        """Refer to this from ``fd`` as well."""
        self._fds.append(fd)
        self.network.descriptors.add(fd, self, self.process)

    def close_at(self, fd: int) -> None:
        """Refer to this from ``fd`` no longer; the last one closes it."""
        if fd not in self._fds:
            return
        self._fds.remove(fd)
        self.network.descriptors.remove(fd)
        if not self._fds:
            self.ended()
            if self.process.alive:
                self.close()

    def touch(self) -> None:
        """Say that readiness may have changed."""
        for fd in self._fds:
            self.network.descriptors.touch(fd)

    @abstractmethod
    def readable(self) -> bool:
        """Whether reading, or accepting, would not block."""

    @abstractmethod
    def writable(self) -> bool:
        """Whether writing would not block."""

    def process_ended(self) -> None:
        """Its process ends: what the system does with all its descriptors."""
        for fd in list(self._fds):
            self.close_at(fd)

    def ended(self) -> None:  # noqa: B027  (most kinds have nobody to tell)
        """No descriptor is left: nobody is told of changes any more."""

    @abstractmethod
    def close(self) -> None:
        """Let go of ports, names and connections."""

    # What every kind answers

    def take_error(self) -> int:
        """The pending error, which is then forgotten."""
        return 0

    def set_option(self, level: int, option: int, value: Any) -> None:
        """Set a socket option."""
        self.options.set(level, option, value)

    def get_option(self, level: int, option: int) -> Any:
        """An option: a number or a structure as bytes."""
        if level == socket.SOL_SOCKET:
            known = {
                socket.SO_TYPE: self.kind,
                SO_DOMAIN: self.family,
                SO_PROTOCOL: self.proto,
                socket.SO_ACCEPTCONN: int(self.listens()),
            }
            if option in known:
                return known[option]
            if option == socket.SO_ERROR:
                return self.take_error()
        return self.options.get(level, option)

    def listens(self) -> bool:
        """Whether this is a listener."""
        return False

    # What some kinds refuse

    @abstractmethod
    def parse(self, address: Any, call: str) -> Any:
        """An address as the program gave it, in the form that this kind uses."""

    @abstractmethod
    def bind(self, target: Any) -> None:
        """Take a name."""

    @abstractmethod
    def connect(self, target: Any) -> None:
        """Connect, or begin to: EINPROGRESS."""

    def listen(self, backlog: int) -> None:
        """Start to accept connections."""
        raise error(errno.EOPNOTSUPP)

    def accept(self) -> tuple[Description, Any]:
        """The next connection and the name of its other end."""
        raise error(errno.EOPNOTSUPP)

    @abstractmethod
    def send(self, payload: bytes) -> int:
        """Send to the peer."""

    @abstractmethod
    def send_to(self, payload: bytes, target: Any) -> int:
        """Send to ``target``; a connected stream has only one peer."""

    @abstractmethod
    def receive(self, size: int, peek: bool) -> bytes:
        """Take bytes; a datagram is cut off at ``size``."""

    def receive_from(self, size: int, peek: bool) -> Received:
        """Take bytes and say where they are from."""
        return self.receive(size, peek), None, 0, []

    @abstractmethod
    def shutdown(self, how: int) -> None:
        """Close one direction or both."""

    @abstractmethod
    def name(self) -> Any:
        """What `getsockname` says."""

    @abstractmethod
    def peer_name(self) -> Any:
        """What `getpeername` says; ENOTCONN without one."""


class InternetDescription(Description):
    """What TCP and UDP have in common: an address and a port."""

    protocol: ClassVar[str]

    def __init__(
        self,
        network: Network,
        family: int,
        kind: int,
        proto: int,
        process: Process | None = None,
    ) -> None:
        super().__init__(network, family, kind, proto, process)
        self.claim: Claim | None = None

    def any_address(self) -> str:
        """The wildcard of this family."""
        return ANY_V6 if self.family == socket.AF_INET6 else ANY_V4

    def is_v6only(self) -> bool:
        """Whether IPv4 is not for this socket."""
        return self.options.number(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) != 0

    def parse(self, address: Any, call: str) -> Address:
        """``(host, port)`` with the host resolved, as CPython does before it asks the system."""
        is_v6 = self.family == socket.AF_INET6
        if not isinstance(address, tuple):
            name = "AF_INET6" if is_v6 else "AF_INET"
            raise TypeError(f"{call}(): {name} address must be tuple, not {type(address).__name__}")
        if not (2 <= len(address) <= 4 if is_v6 else len(address) == 2):
            form = "a tuple (host, port[, flowinfo[, scopeid]])" if is_v6 else "a pair (host, port)"
            raise TypeError(f"AF_INET{'6' if is_v6 else ''} address must be {form}")
        host, port = address[0], address[1]
        if not isinstance(port, int):
            raise TypeError(f"'{type(port).__name__}' object cannot be interpreted as an integer")
        if not 0 <= port <= 65_535:
            raise OverflowError(f"{call}(): port must be 0-65535.")
        return self._host(host), port

    def _host(self, host: Any) -> str:
        if isinstance(host, (bytes, bytearray)):
            host = bytes(host).decode("ascii")
        if not isinstance(host, str):
            raise TypeError("str, bytes or bytearray expected, not " + type(host).__name__)
        if host == "":
            return self.any_address()
        if host == "<broadcast>":
            return BROADCAST[0]
        if family_of_literal(host) == self.family:
            return plain(host)
        return plain(str(self.network.resolve(host, 0, self.family, self.kind)[0][4][0]))

    def bind(self, target: Address) -> None:
        """Take an address; EINVAL when this has one."""
        if self.claim is not None:
            raise error(errno.EINVAL)
        number = self.options.number
        claim = Claim(
            owner=self,
            process=self.process,
            protocol=self.protocol,
            ip=target[0],
            port=target[1],
            v6only=self.is_v6only(),
            shares_address=bool(number(socket.SOL_SOCKET, socket.SO_REUSEADDR)),
            shares_port=bool(number(socket.SOL_SOCKET, socket.SO_REUSEPORT)),
        )
        self.network.bind(claim)
        self.claim = claim

    def let_go(self) -> None:
        """Give the port back."""
        if self.claim is not None:
            self.network.ports.release(self.claim)
            self.claim = None

    def shape(self, address: Address) -> Any:
        """An address as Python shows it on this socket."""
        return shaped(self.family, address)


def path_of(address: Any) -> str | bytes:
    """The name of a unix socket: an absolute path, or an abstract name as bytes."""
    if isinstance(address, str):
        raw = os.fsencode(address)
    elif isinstance(address, (bytes, bytearray, memoryview)):
        raw = bytes(address)
    else:
        raise TypeError(f"a bytes-like object is required, not {type(address).__name__!r}")
    if raw[:1] == b"\0":
        if len(raw) > 108:
            raise OSError("AF_UNIX path too long")
        return raw
    if len(raw) > 107:
        raise OSError("AF_UNIX path too long")
    return os.fsdecode(raw)
