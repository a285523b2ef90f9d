"""Which host has which name and address: the resolver of a simulated world.

Host N has 10.0.x.y, fd00::N and the link-local fe80::N. A name resolves to the IPv4 address unless
IPv6 is asked for, as in a container network: a program that dials a host finds a server bound to
0.0.0.0 at the first attempt, and a closed port is one ConnectionRefusedError and not a list of two.
The same holds for `localhost`. A name that no host has does not resolve.
"""

from __future__ import annotations

import socket
from typing import Any

from toron.core.process import HostLike, Process
from toron.core.trace import Trace
from toron.errors import ToronError
from toron.world.addresses import (
    ANY_V4,
    ANY_V6,
    LOOPBACK,
    SERVICES,
    WILDCARD,
    error,
    family_of_literal,
    interface_index,
    is_link_local,
    is_v6,
    plain,
)

HOSTS_MAX = 65_000
LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
_KINDS = ((socket.SOCK_STREAM, 6), (socket.SOCK_DGRAM, 17), (socket.SOCK_RAW, 0))
_NONAME = "Name or service not known"
_FAMILIES = (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6)


class Names:
    """The names and addresses of one world."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.hosts: dict[str, HostLike] = {}
        self._v4: dict[str, str] = {}
        self._v6: dict[str, str] = {}
        self._link_local: dict[str, str] = {}
        self._holders: dict[str, HostLike] = {}

    def add(self, host: HostLike) -> str:
        """Give ``host`` its addresses; return the IPv4 one."""
        number = len(self.hosts) + 1
        if number > HOSTS_MAX:
            raise ToronError(f"a world holds {HOSTS_MAX} hosts at most")
        name = host.name
        self.hosts[name] = host
        self._v4[name] = f"10.0.{number >> 8}.{number & 255}"
        self._v6[name] = f"fd00::{number:x}"
        self._link_local[name] = f"fe80::{number:x}"
        for table in (self._v4, self._v6, self._link_local):
            self._holders[table[name]] = host
        return self._v4[name]

    def address_of(self, name: str) -> str:
        """The IPv4 address of the host called ``name``."""
        return self._v4[name]

    def addresses_of(self, name: str) -> list[str]:
        """All addresses of a host, IPv4 first."""
        return [table[name] for table in (self._v4, self._v6, self._link_local)]

    def host_at(self, process: Process, address: str) -> HostLike | None:
        """The host at ``address`` as ``process`` sees it, or None when nobody has it."""
        found = self._holders.get(address)
        if found is not None:
            return found
        if address in LOOPBACK or address in WILDCARD or address.startswith("127."):
            return process.host
        return None

    def source_for(self, process: Process, target: str) -> str:
        """The address from which ``process`` talks to ``target``."""
        if target in LOOPBACK or target.startswith("127."):
            return target
        if is_link_local(target):
            return self._link_local[process.host.name]
        return (self._v6 if is_v6(target) else self._v4)[process.host.name]

    def name_at(self, address: str) -> str | None:
        """The name of the host at ``address``, or None when nobody has it."""
        if address in LOOPBACK:
            return "localhost"
        host = self._holders.get(plain(address))
        return None if host is None else host.name

    # getaddrinfo

    def resolve(
        self,
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002  (the standard library's name)
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """What ``socket.getaddrinfo`` answers in this world; gaierror as glibc's."""
        if family not in _FAMILIES:
            raise socket.gaierror(socket.EAI_FAMILY, "ai_family not supported")
        kinds = [
            (kind, protocol)
            for kind, protocol in _KINDS
            if type in (0, kind) and (proto in (0, protocol) or kind == socket.SOCK_RAW)
        ]
        if not kinds:
            raise socket.gaierror(socket.EAI_SOCKTYPE, "ai_socktype not supported")
        number = _port_number(port, kinds, flags)
        name = _text(host)
        if name is None and port in (None, "", b""):
            raise socket.gaierror(socket.EAI_NONAME, _NONAME)
        addresses = self._addresses(name, family, flags)
        canonical = name or "" if flags & socket.AI_CANONNAME else ""
        answers = [
            (_family_of(address), kind, protocol, "", _target(address, number))
            for address in addresses
            for kind, protocol in kinds
        ]
        if canonical:
            answers[0] = (*answers[0][:3], canonical, answers[0][4])
        return answers

    def _addresses(self, name: str | None, family: int, flags: int) -> list[str]:
        """The addresses of ``name`` in ``family``; gaierror when there are none."""
        if name is None:
            both = [ANY_V4, ANY_V6] if flags & socket.AI_PASSIVE else [*reversed(LOOPBACK)]
            return [one for one in both if family in (0, _family_of(one))]
        literal = family_of_literal(name)
        if literal is not None:
            if family in (0, literal):
                return [name]
            if family == socket.AF_INET6 and flags & socket.AI_V4MAPPED:
                return [f"::ffff:{name}"]
            raise socket.gaierror(
                socket.EAI_ADDRFAMILY, "Address family for hostname not supported"
            )
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, _NONAME)
        return [self._look_up(name, family)]

    def _look_up(self, name: str, family: int) -> str:
        wants_v6 = family == socket.AF_INET6
        known = name.rstrip(".").lower()
        if known in LOCAL_NAMES or known.endswith(".localhost"):
            return LOOPBACK[1] if wants_v6 or known.startswith("ip6-") else LOOPBACK[0]
        self._trace.add("dns", name)
        table = self._v6 if wants_v6 else self._v4
        found = table.get(known, table.get(name))
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, f"{_NONAME}: {name!r}")
        return found

    # getnameinfo

    def describe(self, address: Any, flags: int) -> tuple[str, str]:
        """What ``socket.getnameinfo`` answers in this world."""
        if not isinstance(address, tuple):
            raise TypeError("getnameinfo() argument 1 must be a tuple")
        host, port = str(address[0]), int(address[1])
        if family_of_literal(host) is None:
            raise socket.gaierror(socket.EAI_NONAME, _NONAME)
        name = None if flags & socket.NI_NUMERICHOST else self.name_at(host)
        if name is None and flags & socket.NI_NAMEREQD:
            raise socket.gaierror(socket.EAI_NONAME, _NONAME)
        service = None
        if not flags & socket.NI_NUMERICSERV:
            service = service_name(port, "udp" if flags & socket.NI_DGRAM else "tcp")
        return name or host, service or str(port)


def service_name(port: int, protocol: str | None = None) -> str | None:
    """The service at ``port``, or None."""
    for name, (number, _) in SERVICES.items():
        if number == port and protocol in (None, "tcp", "udp"):
            return name
    return None


def _text(host: Any) -> str | None:
    """The name that was asked for; None and the empty name are the same."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii")
    if host is None or host == "":
        return None
    if not isinstance(host, str):
        raise TypeError("getaddrinfo() argument 1 must be string or None")
    return host.encode("idna").decode("ascii") if not host.isascii() else host


def _family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _target(address: str, port: int) -> tuple[Any, ...]:
    if ":" not in address:
        return (address, port)
    text, _, zone = address.partition("%")
    scope = 0
    if zone:
        scope = int(zone) if zone.isdigit() else interface_index(zone)
    return (text, port, 0, scope)


def _port_number(port: Any, kinds: list[tuple[Any, int]], flags: int) -> int:
    if port is None or port in ("", b""):
        return 0
    if not isinstance(port, (str, bytes)):
        return int(port)
    text = port.decode("ascii") if isinstance(port, bytes) else port
    if text.isdigit():
        return int(text)
    if text in SERVICES and not flags & socket.AI_NUMERICSERV and kinds[0][0] != socket.SOCK_RAW:
        return SERVICES[text][0]
    raise socket.gaierror(socket.EAI_SERVICE, "Servname not supported for ai_socktype")


__all__ = ["LOCAL_NAMES", "Names", "error", "service_name"]
