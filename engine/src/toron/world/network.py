"""The simulated network of one run: wires names, ports and links together, and carries packets.

Names and addresses belong to `names`, who may share a port to `ports`, latency and loss to `links`;
what a socket means by a packet belongs to `tcp`, `udp` and `unix`.
"""

from __future__ import annotations

import errno
import functools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from toron.core.agenda import Agenda
from toron.core.baton import Baton
from toron.core.choices import ChoiceSource
from toron.core.clock import SECOND_NS, Clock
from toron.core.process import CURRENT, HostLike, Process
from toron.core.selector import Descriptors
from toron.core.trace import Trace
from toron.errors import ToronError
from toron.world.addresses import BROADCAST, WILDCARD, Address, error, is_multicast, joined
from toron.world.links import Links
from toron.world.names import Names
from toron.world.ports import Claim, Ports
from toron.world.tcp import GIVE_UP_NS, RTO_MIN_NS, Endpoint, Listener

if TYPE_CHECKING:
    from toron.world.udp import UdpSocket

_SPLIT_ONE_IN = 8
_PRUNE_AT = 256


class SocketFiles(Protocol):
    """The file trees in which the paths of unix sockets lie, by host."""

    def make(self, host: str, path: str) -> None:
        """Put a socket's name at ``path``; EADDRINUSE when something is there."""
        ...

    def is_there(self, host: str, path: str) -> bool:
        """Whether a socket's name is at ``path``; ENOENT when nothing is."""
        ...


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
        self.baton: Baton
        self.socket_files: SocketFiles
        self.links = Links(choices)
        self.links.on_cut = self._on_cut
        self.names = Names(trace)
        self.ports = Ports()
        self.choices = choices
        self._processes: dict[str, Process] = {}
        self._unix: dict[tuple[str, str | bytes], Any] = {}
        self._connections: list[weakref.ref[Endpoint]] = []
        self.on_signal: Callable[[Process, int], None] = _no_signals
        self._prune_at = _PRUNE_AT

    # Hosts and names

    def add_host(self, host: HostLike) -> str:
        """Give ``host`` its addresses and a name; return the IPv4 address."""
        return self.names.add(host)

    def boot(self, process: Process) -> None:
        """Make ``process`` the one that answers at its host's address."""
        self._processes[process.host.name] = process
        process.deliver = functools.partial(self.on_signal, process)

    def close_all_of(self, process: Process) -> None:
        """Close the sockets of a process that ends, as the system does for it."""
        for pollable in self.descriptors.owned_by(process):
            pollable.process_ended()
        self.descriptors.remove_all_of(process)

    def power_off(self, process: Process) -> None:
        """Forget all ports of ``process``; packets to its host get no answer until it boots."""
        process.powered = False
        self.descriptors.remove_all_of(process)
        self.ports.forget(process)
        if self._processes.get(process.host.name) is process:
            del self._processes[process.host.name]
        for end in self._ends():
            if end.peer is not None and end.peer.process is process:
                end.peer_may_be_gone()

    def address_of(self, name: str) -> str:
        """The IPv4 address of the host called ``name``."""
        return self.names.address_of(name)

    def host_at(self, process: Process, address: str) -> HostLike | None:
        """The host at ``address`` as ``process`` sees it, or None when nobody has it."""
        return self.names.host_at(process, address)

    def process_at(self, process: Process, address: str) -> Process | None:
        """The living process at ``address``, or None while its host is down."""
        host = self.host_at(process, address)
        return None if host is None else self._processes.get(host.name)

    def processes(self) -> list[Process]:
        """The living process of each host, in the order of the hosts."""
        return [self._processes[name] for name in self.names.hosts if name in self._processes]

    def resolve(self, host: Any, port: Any, *args: Any, **options: Any) -> list[tuple[Any, ...]]:
        """What ``socket.getaddrinfo`` answers in this world; gaierror for unknown names."""
        return self.names.resolve(host, port, *args, **options)

    def source_address(self, process: Process, target: str) -> str:
        """The local address from which ``process`` talks to ``target``."""
        return self.names.source_for(process, target)

    # Ports

    def bind(self, claim: Claim) -> Address:
        """Take a port (0: the next free one); OSError as the system's."""
        if claim.ip not in WILDCARD and not self._may_bind(claim.process, claim.ip):
            raise error(errno.EADDRNOTAVAIL)
        return self.ports.take(claim)

    def _may_bind(self, process: Process, ip: str) -> bool:
        if is_multicast(ip) or ip in BROADCAST:
            return True
        return self.host_at(process, ip) is process.host

    def listen(self, claim: Claim, listener: Listener) -> None:
        """Start to listen on a bound address."""
        self.ports.listen(claim)
        claim.owner = listener
        self.trace.add("listen", joined(listener.local))

    def listener_at(self, process: Process, target: Address) -> Listener | None:
        """Who listens at ``target`` in ``process``: the exact address, else a wildcard.

        Listeners that share a port by SO_REUSEPORT are picked by the seed.
        """
        held = [claim for claim in self.ports.holders(process, "tcp", target) if claim.listens]
        if not held:
            return None
        best = [claim for claim in held if claim.ip == held[0].ip]
        at = self.choices.pick("net.reuseport", len(best)) if len(best) > 1 else 0
        listener: Listener = best[at].owner
        return listener

    def datagram_sockets(self, process: Process, target: Address) -> list[UdpSocket]:
        """The datagram sockets whose address covers ``target``, the exact ones first."""
        return [claim.owner for claim in self.ports.holders(process, "udp", target)]

    def datagram_sockets_of(self, process: Process) -> list[UdpSocket]:
        """All bound datagram sockets of ``process``."""
        return [claim.owner for claim in self.ports.of(process, "udp")]

    # Unix sockets

    def bind_unix(self, process: Process, name: str | bytes, owner: object) -> None:
        """Put a socket at a path (or an abstract name, as bytes) of a host; EADDRINUSE if taken.

        A path outlives the process that bound it, as a socket file does: whoever connects to what
        nobody listens on any more is refused. An abstract name ends with its socket.
        """
        key = (process.host.name, name)
        if isinstance(name, str):
            self.socket_files.make(process.host.name, name)
        elif key in self._unix and self._is_alive(key):
            raise error(errno.EADDRINUSE)
        self._unix[key] = owner

    def unix_socket(self, process: Process, name: str | bytes) -> Any:
        """What was bound at ``name``; ENOENT for a path at which nothing lies."""
        host = process.host.name
        owner = self._unix.get((host, name))
        if isinstance(name, str) and not self.socket_files.is_there(host, name):
            raise error(errno.ECONNREFUSED)
        if owner is None:
            raise error(errno.ECONNREFUSED)
        return owner

    def free_abstract(self, process: Process, name: bytes, owner: object) -> None:
        """Give an abstract name back, if ``owner`` has it."""
        if self._unix.get((process.host.name, name)) is owner:
            del self._unix[process.host.name, name]

    def free_abstract_name(self, process: Process) -> bytes:
        """A name that nobody has, for a socket that is bound to none (unix(7), autobind)."""
        number = 1
        while (process.host.name, name := b"\0%05x" % number) in self._unix:
            number += 1
        return name

    def _is_alive(self, key: tuple[str, str | bytes]) -> bool:
        return bool(self._unix[key].process.alive)

    # Packets

    def reaches(self, source: Process, target: Process) -> bool:
        """Whether a packet sent now gets to the host of ``target``, and somebody is there."""
        if source.host is not target.host and self.links.is_cut(source.host.name, target.host.name):
            return False
        return target.host.name in self._processes

    def is_round_trip_possible(self, source: Process, target: Process) -> bool:
        """Whether a packet sent now would be answered."""
        return self.reaches(source, target) and self.reaches(target, source)

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
        if self.choices.pick("net.split", _SPLIT_ONE_IN, default=1):
            return [payload]
        at = 1 + self.choices.pick("net.split", len(payload) - 1)
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
            if not sender.swallowed and self.reaches(sender.process, peer.process):
                action()
            elif rto_ns < GIVE_UP_NS:
                self.agenda.at(self.clock.now_ns + rto_ns, attempt)
                rto_ns *= 2

        delay_ns = self.latency_ns(sender.process, peer.process)
        self.agenda.at(self.clock.now_ns + delay_ns, attempt)

    # Connections, for faults

    def established(self, client: Endpoint) -> None:
        """Remember a connection, so that a fault can reach it."""
        self._connections.append(weakref.ref(client))
        if len(self._connections) >= self._prune_at:
            self._connections = [
                ref for ref in self._connections if (end := ref()) is not None and _lives(end)
            ]
            self._prune_at = max(_PRUNE_AT, 2 * len(self._connections))

    def _clients(self) -> list[Endpoint]:
        """The ends that connected, of all connections that may be alive, oldest first."""
        return [end for ref in self._connections if (end := ref()) is not None]

    def _ends(self) -> list[Endpoint]:
        """Both ends of each."""
        return [one for end in self._clients() for one in (end, end.peer) if one is not None]

    def _between(self, a: str, b: str) -> list[tuple[Endpoint, Endpoint]]:
        pairs = [(end, end.peer) for end in self._clients() if end.peer is not None]
        return [
            (end, peer)
            for end, peer in pairs
            if {end.process.host.name, peer.process.host.name} == {a, b} and end.state == "open"
        ]

    def reset_between(self, a: str, b: str) -> None:
        """Reset every open connection between two hosts, as a middlebox that lost its state."""
        for end, peer in self._between(a, b):
            end.on_reset(errno.ECONNRESET)
            peer.on_reset(errno.ECONNRESET)

    def swallow_between(self, a: str, b: str) -> None:
        """Let the connections that are open now stop, without a word: a path without a way."""
        for end, peer in self._between(a, b):
            end.swallowed = peer.swallowed = True
            end.peer_may_be_gone()
            peer.peer_may_be_gone()

    def release_between(self, a: str | None = None, b: str | None = None) -> None:
        """End the black hole between two hosts, or, without names, every one."""
        for end in self._ends():
            peer = end.peer
            assert peer is not None
            if a is None or {end.process.host.name, peer.process.host.name} == {a, b}:
                end.swallowed = False

    def _on_cut(self, source: str, target: str) -> None:
        for end in self._ends():
            peer = end.peer
            assert peer is not None
            if {end.process.host.name, peer.process.host.name} == {source, target}:
                end.peer_may_be_gone()

    @staticmethod
    def current_process() -> Process:
        """The process that acts now."""
        process = CURRENT.get(None)
        if process is None:
            raise ToronError("a socket was made outside of any simulated host")
        return process


def _no_signals(_process: Process, _number: int) -> None:
    raise ToronError("a signal was sent before the run began")


def _lives(end: Endpoint) -> bool:
    return "open" in (end.state, end.peer.state if end.peer is not None else "")
