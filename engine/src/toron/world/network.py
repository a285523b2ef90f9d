"""Addresses, ports and names of a simulated world, and who can reach whom.

Hosts get 10.0.0.N in the order in which they are made; `127.0.0.1` and `localhost` are the host
that asks. A name that no host has does not resolve, as in a network without a search domain.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import weakref
from collections.abc import Callable
from typing import Any

from toron.core.agenda import Agenda
from toron.core.choices import ChoiceSource
from toron.core.clock import SECOND_NS, Clock
from toron.core.process import CURRENT, HostLike, Process
from toron.core.selector import Descriptors
from toron.core.trace import Trace
from toron.errors import ToronError
from toron.world.links import Links
from toron.world.tcp import GIVE_UP_NS, RTO_MIN_NS, Address, Endpoint, Listener

EPHEMERAL_FIRST, EPHEMERAL_LAST = 32_768, 60_999
LOOPBACK = ("127.0.0.1", "::1")
WILDCARD = ("0.0.0.0", "::", "")  # noqa: S104  (an address to match, nothing is bound)
HOSTS_MAX = 65_000

_SPLIT_ONE_IN = 8


class Network:
    """The simulated network of one run."""

    def __init__(
        self,
        *,
        clock: Clock,
        agenda: Agenda,
        choices: ChoiceSource,
        trace: Trace,
        descriptors: Descriptors,
    ) -> None:
        self.clock = clock
        self.agenda = agenda
        self.trace = trace
        self.descriptors = descriptors
        self.links = Links(choices)
        self._choices = choices
        self._processes: dict[str, Process] = {}
        self._hosts: dict[str, HostLike] = {}
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._listeners: dict[tuple[Process, str, int], Listener] = {}
        self._bound: dict[tuple[Process, str, int], object] = {}
        self._ephemeral: dict[Process, int] = {}
        self._connections: list[weakref.ref[Endpoint]] = []
        self.on_signal: Callable[[Process, int], None] = _no_signals

    # Hosts and names

    def add_host(self, host: HostLike) -> str:
        """Give ``host`` an address and a name; return the address."""
        number = len(self._hosts) + 1
        if number > HOSTS_MAX:
            raise ToronError(f"a world holds {HOSTS_MAX} hosts at most")
        address = f"10.0.{number >> 8}.{number & 255}"
        self._hosts[host.name] = host
        self._addresses[host.name] = address
        self._names[address] = host.name
        return address

    def boot(self, process: Process) -> None:
        """Make ``process`` the one that answers at its host's address."""
        self._processes[process.host.name] = process
        process.deliver = functools.partial(self.on_signal, process)

    def close_all_of(self, process: Process) -> None:
        """Close the sockets of a process that ends, as the system does for it."""
        for pollable in self.descriptors.owned_by(process):
            pollable.let_go()
        self.descriptors.remove_all_of(process)

    def power_off(self, process: Process) -> None:
        """Forget all ports of ``process``; packets to its host get no answer until it boots."""
        process.powered = False
        self.descriptors.remove_all_of(process)
        for key in [key for key in self._listeners if key[0] is process]:
            del self._listeners[key]
        for key in [key for key in self._bound if key[0] is process]:
            del self._bound[key]
        if self._processes.get(process.host.name) is process:
            del self._processes[process.host.name]

    def address_of(self, name: str) -> str:
        """The address of the host called ``name``."""
        return self._addresses[name]

    def host_at(self, process: Process, address: str) -> HostLike | None:
        """The host at ``address`` as ``process`` sees it, or None when nobody has it."""
        if address in LOOPBACK or address in WILDCARD:
            return process.host
        name = self._names.get(_plain(address))
        return None if name is None else self._hosts[name]

    def process_at(self, process: Process, address: str) -> Process | None:
        """The living process at ``address``, or None while its host is down."""
        host = self.host_at(process, address)
        return None if host is None else self._processes.get(host.name)

    def resolve(
        self,
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002  (the standard library's name)
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """What ``socket.getaddrinfo`` answers in this world; gaierror for unknown names."""
        number = _port_number(port)
        addresses = self._resolve_host(host, flags)
        kinds = [
            (kind, protocol)
            for kind, protocol in ((socket.SOCK_STREAM, 6), (socket.SOCK_DGRAM, 17))
            if type in (0, kind) and proto in (0, protocol)
        ]
        answers: list[tuple[Any, ...]] = []
        for address in addresses:
            is_v6 = ":" in address
            wanted = socket.AF_INET6 if is_v6 else socket.AF_INET
            if family not in (0, wanted):
                continue
            target = (address, number, 0, 0) if is_v6 else (address, number)
            answers += [(wanted, kind, protocol, "", target) for kind, protocol in kinds]
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host!r}")
        return answers

    def _resolve_host(self, host: Any, flags: int) -> list[str]:
        if isinstance(host, (bytes, bytearray)):
            host = host.decode("ascii")
        if host is None or host == "":
            return ["0.0.0.0"] if flags & socket.AI_PASSIVE else ["127.0.0.1"]  # noqa: S104
        name = str(host)
        if is_literal(name):
            return [name]
        if flags & socket.AI_NUMERICHOST:
            return []
        if name in ("localhost", "localhost.localdomain", "ip6-localhost"):
            return ["127.0.0.1"]
        self.trace.add("dns", name)
        address = self._addresses.get(name.rstrip(".").lower(), self._addresses.get(name))
        return [] if address is None else [address]

    def name_of(self, address: str) -> str:
        """The reverse of `resolve`: a host name, or the address itself."""
        return "localhost" if address in LOOPBACK else self._names.get(_plain(address), address)

    # Ports

    def bind(self, process: Process, address: Address, owner: object, *, reuse: bool) -> Address:
        """Take a port of ``process`` (0: the next free one); OSError as the system's."""
        ip, port = _plain(address[0] or "0.0.0.0"), address[1]  # noqa: S104
        if ip not in WILDCARD and self.host_at(process, ip) is not process.host:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        if port == 0:
            port = self._free_port(process)
        elif self._is_taken(process, ip, port) and not reuse:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._bound.setdefault((process, ip, port), owner)
        return (ip, port)

    def _is_taken(self, process: Process, ip: str, port: int) -> bool:
        if ip in WILDCARD:
            return any(key[0] is process and key[2] == port for key in self._bound)
        wild = [(process, w, port) in self._bound for w in WILDCARD]
        return (process, ip, port) in self._bound or any(wild)

    def _free_port(self, process: Process) -> int:
        first = self._ephemeral.get(process, EPHEMERAL_FIRST)
        span = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1
        for step in range(span):
            port = EPHEMERAL_FIRST + (first - EPHEMERAL_FIRST + step) % span
            if not self._is_taken(process, "0.0.0.0", port):  # noqa: S104
                self._ephemeral[process] = port + 1
                return port
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    def release(self, process: Process, address: Address, owner: object) -> None:
        """Give a port back, if ``owner`` is the one that took it."""
        key = (process, address[0], address[1])
        if self._bound.get(key) is owner:
            del self._bound[key]
        listener = self._listeners.get(key)
        if listener is not None and listener is owner:
            del self._listeners[key]

    def listen(self, process: Process, address: Address, backlog: int) -> Listener:
        """Start to listen on a bound address."""
        key = (process, address[0], address[1])
        if key in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = self._listeners[key] = Listener(process, address, backlog)
        self.trace.add("listen", f"{address[0]}:{address[1]}")
        return listener

    def stop_listening(self, listener: Listener) -> None:
        """Close a listener and free its place."""
        key = (listener.process, *listener.local)
        if self._listeners.get(key) is listener:
            del self._listeners[key]
        listener.close()

    def listener_at(self, process: Process, target: Address) -> Listener | None:
        """Who listens at ``target`` in ``process``: the exact address, else a wildcard."""
        for ip in (_plain(target[0]), *WILDCARD):
            listener = self._listeners.get((process, ip, target[1]))
            if listener is not None:
                return listener
        return None

    def source_address(self, process: Process, target: str) -> str:
        """The local address from which ``process`` talks to ``target``."""
        if target in LOOPBACK:
            return target
        return self._addresses[process.host.name]

    # Packets

    def reaches(self, source: Process, target: Process) -> bool:
        """Whether a packet sent now gets to the host of ``target``, and somebody is there."""
        if source.host is not target.host and self.links.is_cut(source.host.name, target.host.name):
            return False
        return target.host.name in self._processes

    def latency_ns(self, source: Process, target: Process) -> int:
        """Draw the latency of one packet."""
        return self.links.latency_ns(source.host.name, target.host.name)

    def arrival_ns(self, sender: Endpoint, size: int) -> int:
        """Draw when a packet sent now arrives: bandwidth, latency, and loss as retransmission."""
        assert sender.peer is not None
        source, target = sender.process.host.name, sender.peer.process.host.name
        sent_ns = self.links.transmission_ns(source, target, size, self.clock.now_ns)
        rto_ns = RTO_MIN_NS
        while self.links.is_lost(source, target, sent_ns) and rto_ns < 64 * SECOND_NS:
            sent_ns += rto_ns
            rto_ns *= 2
        return sent_ns + self.links.latency_ns(source, target)

    def split(self, sender: Endpoint, payload: bytes) -> list[bytes]:
        """How one write travels: between hosts, now and then in two packets."""
        assert sender.peer is not None
        if len(payload) < 2 or sender.process.host is sender.peer.process.host:
            return [payload]
        if self._choices.pick("net.split", _SPLIT_ONE_IN):
            return [payload]
        at = 1 + self._choices.pick("net.split", len(payload) - 1)
        return [payload[:at], payload[at:]]

    def after_latency(self, sender: Endpoint, action: Callable[[], None]) -> None:
        """Do ``action`` at the other end after one latency, once it can be reached."""
        peer = sender.peer
        assert peer is not None
        rto_ns = RTO_MIN_NS

        def attempt() -> None:
            nonlocal rto_ns
            if not sender.process.powered:
                return
            if self.reaches(sender.process, peer.process):
                action()
            elif rto_ns < GIVE_UP_NS:
                self.agenda.at(self.clock.now_ns + rto_ns, attempt)
                rto_ns *= 2

        delay_ns = self.latency_ns(sender.process, peer.process)
        self.agenda.at(self.clock.now_ns + delay_ns, attempt)

    def established(self, client: Endpoint) -> None:
        """Remember a connection, so that a fault can reset it."""
        self._connections.append(weakref.ref(client))

    def reset_between(self, a: str, b: str) -> None:
        """Reset every open connection between two hosts, as a middlebox that lost its state."""
        alive = [ref for ref in self._connections if (end := ref()) and end.state == "open"]
        self._connections = alive
        for end in [end for ref in alive if (end := ref()) is not None]:
            peer = end.peer
            assert peer is not None
            if {end.process.host.name, peer.process.host.name} == {a, b}:
                end.on_reset(errno.ECONNRESET)
                peer.on_reset(errno.ECONNRESET)

    @staticmethod
    def current_process() -> Process:
        """The process that acts now."""
        process = CURRENT.get(None)
        if process is None:
            raise ToronError("a socket was made outside of any simulated host")
        return process


def is_literal(name: str) -> bool:
    """Whether ``name`` is an IP address already."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except (OSError, ValueError):
            continue
        return True
    return False


def _plain(address: str) -> str:
    """An IPv4 address out of its IPv6 mapping (dual-stack sockets use it)."""
    return address.removeprefix("::ffff:")


def _port_number(port: Any) -> int:
    if port is None or port in ("", b""):
        return 0
    if isinstance(port, (str, bytes)):
        text = port.decode("ascii") if isinstance(port, bytes) else port
        if text.isdigit():
            return int(text)
        known = {"http": 80, "https": 443, "redis": 6379, "postgresql": 5432, "domain": 53}
        if text in known:
            return known[text]
        raise socket.gaierror(socket.EAI_SERVICE, f"service not known: {text!r}")
    return int(port)


def _no_signals(_process: Process, _number: int) -> None:
    raise ToronError("a signal was sent before the run began")
