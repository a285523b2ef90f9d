"""UDP as a program meets it: datagrams that arrive once, not at all, twice or late; groups too.

A datagram to a port where nobody listens is answered by ICMP, which a connected socket learns as
ECONNREFUSED at its next call. A full receive buffer drops what arrives. Groups and broadcast reach
every host of the world that has joined or listens; all hosts share one segment, eth0.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

from toron.core.process import Process
from toron.world.addresses import (
    ANY_V4,
    ANY_V6,
    BROADCAST,
    ETH0,
    LO,
    LOOPBACK,
    WILDCARD,
    Address,
    error,
    interface_name,
    is_multicast,
    is_v6,
    joined,
    plain,
)
from toron.world.descriptions import Ancillary, InternetDescription, Received
from toron.world.network import Network
from toron.world.options import BUFFER_MAX

DATAGRAM_MAX_V4, DATAGRAM_MAX_V6 = 65_507, 65_527
_OVERHEAD_BYTES = 256
"""What a queued datagram costs of the receive buffer beside its bytes, roughly."""
_SOL, _IP, _IPV6 = socket.SOL_SOCKET, socket.IPPROTO_IP, socket.IPPROTO_IPV6
_IP_PKTINFO = 8
_JOIN = {(_IP, socket.IP_ADD_MEMBERSHIP), (_IPV6, socket.IPV6_JOIN_GROUP)}
_LEAVE = {(_IP, socket.IP_DROP_MEMBERSHIP), (_IPV6, socket.IPV6_LEAVE_GROUP)}
_MULTICAST_IF = {(_IP, socket.IP_MULTICAST_IF), (_IPV6, socket.IPV6_MULTICAST_IF)}

Membership = tuple[str, int]
"""A group and the index of the interface on which it was joined."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram on its way."""

    payload: bytes
    source: Address
    target: Address
    sent: int = 0
    """The number of the event that sent it, for those who look at the trace."""


class UdpSocket(InternetDescription):
    """A datagram socket over IPv4 or IPv6."""

    protocol: ClassVar[str] = "udp"

    def __init__(self, network: Network, family: int, proto: int = 0) -> None:
        super().__init__(network, family, socket.SOCK_DGRAM, proto)
        self.remote: Address | None = None
        self.source: str | None = None
        self.error = 0
        self.queue: deque[Datagram] = deque()
        self.queued_bytes = 0
        self.groups: list[Membership] = []
        self.closed_for_reading = False
        self.closed_for_writing = False
        self._multicast_if = 0

    # Readiness

    def readable(self) -> bool:
        """Whether a datagram, or an error, waits."""
        return bool(self.queue) or self.error != 0 or self.closed_for_reading

    def writable(self) -> bool:
        """UDP never waits to send."""
        return True

    def take_error(self) -> int:
        """The pending error, which is then forgotten."""
        number, self.error = self.error, 0
        return number

    # Names

    def name(self) -> Any:
        """What `getsockname` says: the wildcard until something is sent to a peer."""
        if self.claim is None:
            return self.shape((self.any_address(), 0))
        return self.shape((self.source or self.claim.ip, self.claim.port))

    def peer_name(self) -> Any:
        """What `getpeername` says; ENOTCONN without one."""
        if self.remote is None:
            raise error(errno.ENOTCONN)
        return self.shape(self.remote)

    def connect(self, target: Address) -> None:
        """Fix the peer: only its datagrams are received, and its refusals are learned."""
        ip, port = target
        self._check_broadcast(ip)
        ip = {ANY_V4: LOOPBACK[0], ANY_V6: LOOPBACK[1]}.get(ip, ip)
        self._bind_if_needed()
        self.remote = (ip, port)
        assert self.claim is not None
        wild = self.claim.ip in WILDCARD
        self.source = self.network.source_address(self.process, ip) if wild else None

    def _bind_if_needed(self) -> None:
        if self.claim is None:
            self.bind((self.any_address(), 0))

    # Sending

    def send(self, payload: bytes) -> int:
        """Send to the peer."""
        if self.remote is None:
            self._raise_pending()
            self._bind_if_needed()
            raise error(errno.EDESTADDRREQ)
        return self.send_to(payload, self.remote)

    def send_to(self, payload: bytes, target: Address) -> int:
        """Put one datagram on the way; OSError as the system's, for what it knows at once."""
        self._raise_pending()
        if self.closed_for_writing:
            raise error(errno.EPIPE)
        self._bind_if_needed()
        ip, port = target
        if self.family == socket.AF_INET6 and not is_v6(ip) and self.is_v6only():
            raise error(errno.ENETUNREACH)
        if len(payload) > (DATAGRAM_MAX_V6 if is_v6(ip) else DATAGRAM_MAX_V4):
            raise error(errno.EMSGSIZE)
        if port == 0:
            raise error(errno.EINVAL)
        self._check_broadcast(ip)
        ip = {ANY_V4: LOOPBACK[0], ANY_V6: LOOPBACK[1]}.get(ip, ip)
        source, trace = self._source_for(ip), self.network.trace
        trace.add_bytes("udp", f"{joined(source)}>{joined((ip, port))}", payload)
        datagram = Datagram(payload, source, (ip, port), trace.count)
        if is_multicast(ip) or ip in BROADCAST:
            self._send_to_many(datagram)
        else:
            self._send_to_one(datagram)
        return len(payload)

    def _raise_pending(self) -> None:
        if self.error:
            raise error(self.take_error())

    def _check_broadcast(self, ip: str) -> None:
        allowed = self.options.number(_SOL, socket.SO_BROADCAST)
        if ip in BROADCAST and not allowed:
            raise error(errno.EACCES)

    def _source_for(self, ip: str) -> Address:
        assert self.claim is not None
        if self.claim.ip not in WILDCARD and not is_multicast(self.claim.ip):
            return self.claim.ip, self.claim.port
        if is_multicast(ip) and self._interface() == LO:
            return LOOPBACK[is_v6(ip)], self.claim.port
        return self.network.source_address(self.process, ip), self.claim.port

    def _send_to_one(self, datagram: Datagram) -> None:
        network, source = self.network, self.process
        host = network.host_at(source, datagram.target[0])
        if host is None:
            return  # nobody has the address: the datagram is lost on the way
        arrivals = network.links.datagram_ns(
            source.host.name, host.name, len(datagram.payload), network.clock.now_ns
        )
        if not arrivals:
            network.trace.add("lost", _path(datagram), cause=datagram.sent)
        for at_ns in arrivals:
            network.agenda.at(at_ns, lambda: self._arrive(datagram, host.name))

    def _arrive(self, datagram: Datagram, host_name: str) -> None:
        target = self._living_process(host_name)
        if target is None:
            return
        for socket_there in self.network.datagram_sockets(target, datagram.target):
            if socket_there.accepts(datagram):
                self._one_of(target, datagram).deliver(datagram)
                return
        self.network.trace.add(
            "icmp", f"{_path(datagram)} port unreachable", cause=datagram.sent, on=host_name
        )
        back_ns = self.network.latency_ns(target, self.process)
        at_ns = self.network.clock.now_ns + back_ns
        self.network.agenda.at(at_ns, lambda: self._unreachable(datagram, target))

    def _living_process(self, host_name: str) -> Process | None:
        """The process of a host that a datagram gets through to now."""
        for process in self.network.processes():
            if process.host.name == host_name:
                return process if self.network.reaches(self.process, process) else None
        return None

    def _one_of(self, process: Process, datagram: Datagram) -> UdpSocket:
        """Who gets a datagram: the most specific socket; of equals by SO_REUSEPORT one is drawn.

        Without SO_REUSEPORT the socket that was bound last wins, as on Linux.
        """
        able = [
            one
            for one in self.network.datagram_sockets(process, datagram.target)
            if one.accepts(datagram)
        ]
        best = max(one.rank(datagram) for one in able)
        equals = [one for one in able if one.rank(datagram) == best]
        claims = [one.claim for one in equals if one.claim is not None]
        if len(equals) > 1 and all(claim.shares_port for claim in claims):
            return equals[self.network.choices.pick("net.reuseport", len(equals))]
        return equals[-1]

    def rank(self, datagram: Datagram) -> int:
        """How well this socket fits: a connected one best, then one of the exact address."""
        assert self.claim is not None
        return 2 * (self.remote is not None) + (self.claim.ip == datagram.target[0])

    def _unreachable(self, datagram: Datagram, by: Process) -> None:
        if not self.process.alive or self.claim is None or self.remote != datagram.target:
            return
        if self.network.reaches(by, self.process):
            self.error = errno.ECONNREFUSED
            self.touch()

    # Groups and broadcast

    def _interface(self) -> int:
        return self._multicast_if or ETH0

    def _send_to_many(self, datagram: Datagram) -> None:
        network, here = self.network, self.process
        index = ETH0 if datagram.target[0] in BROADCAST else self._interface()
        reached = [here] if index == LO or self._stays_here(datagram) else network.processes()
        for process in reached:
            if process is here and index != LO and not self._loops_back(datagram):
                continue
            arrivals = network.links.datagram_ns(
                here.host.name, process.host.name, len(datagram.payload), network.clock.now_ns
            )
            for at_ns in arrivals:
                self._deliver_later(at_ns, datagram, process.host.name, index)

    def _stays_here(self, datagram: Datagram) -> bool:
        if datagram.target[0] in BROADCAST:
            return False
        if is_v6(datagram.target[0]):
            return self.options.number(_IPV6, socket.IPV6_MULTICAST_HOPS) == 0
        return self.options.number(_IP, socket.IP_MULTICAST_TTL) == 0

    def _loops_back(self, datagram: Datagram) -> bool:
        if datagram.target[0] in BROADCAST:
            return True
        if is_v6(datagram.target[0]):
            return self.options.number(_IPV6, socket.IPV6_MULTICAST_LOOP) != 0
        return self.options.number(_IP, socket.IP_MULTICAST_LOOP) != 0

    def _deliver_later(self, at_ns: int, datagram: Datagram, host_name: str, index: int) -> None:
        def arrive() -> None:
            process = self._living_process(host_name)
            if process is None:
                return
            there = self.network.datagram_sockets(process, datagram.target)
            group = datagram.target[0]
            # A host takes a group's packets when any of its sockets has joined on the interface;
            # then every socket of the port gets one (IP_MULTICAST_ALL, Linux's default).
            joins = group in BROADCAST or any(
                (group, index) in one.groups for one in self.network.datagram_sockets_of(process)
            )
            if not joins:
                return
            for one in there:
                if one.accepts(datagram):
                    one.deliver(datagram)

        self.network.agenda.at(at_ns, arrive)

    # Receiving

    def accepts(self, datagram: Datagram) -> bool:
        """Whether a datagram that came to this port is for this socket."""
        if is_v6(datagram.target[0]) and self.family == socket.AF_INET:
            return False
        if not is_v6(datagram.target[0]) and self.family == socket.AF_INET6 and self.is_v6only():
            return False
        return self.remote is None or self.remote == datagram.source

    def deliver(self, datagram: Datagram) -> None:
        """Queue a datagram, or drop it when the buffer is full."""
        cost = len(datagram.payload) + _OVERHEAD_BYTES
        limit = self.options.buffer(socket.SO_RCVBUF)
        if self.queued_bytes + cost > (BUFFER_MAX if limit is None else 2 * limit):
            self.network.trace.add(
                "drop", f"{_path(datagram)} buffer full", cause=datagram.sent, on=self.process.name
            )
            return
        self.queue.append(datagram)
        self.queued_bytes += cost
        self.network.trace.add(
            "deliver",
            f"{_path(datagram)} {len(datagram.payload)}",
            cause=datagram.sent,
            on=self.process.name,
        )
        self.touch()

    def receive(self, size: int, peek: bool) -> bytes:
        """The next datagram, cut off at ``size``."""
        return self.receive_from(size, peek)[0]

    def receive_from(self, size: int, peek: bool) -> Received:
        """The next datagram, where it is from, and MSG_TRUNC when it was cut off."""
        self._raise_pending()
        if not self.queue:
            if self.closed_for_reading:
                return b"", None, 0, []
            raise error(errno.EAGAIN)
        datagram = self.queue[0]
        if not peek:
            self.queue.popleft()
            self.queued_bytes -= len(datagram.payload) + _OVERHEAD_BYTES
        payload = datagram.payload[:size]
        flags = socket.MSG_TRUNC if len(payload) < len(datagram.payload) else 0
        return payload, self.shape(datagram.source), int(flags), self._packet_info(datagram)

    def _packet_info(self, datagram: Datagram) -> Ancillary:
        """To which address a datagram was sent, for a socket that has asked for it."""
        ip = datagram.target[0]
        index = LO if ip in LOOPBACK or ip.startswith("127.") else ETH0
        if self.family == socket.AF_INET6 and self.options.number(_IPV6, socket.IPV6_RECVPKTINFO):
            shown = ip if is_v6(ip) else f"::ffff:{ip}"
            packed = socket.inet_pton(socket.AF_INET6, shown) + struct.pack("I", index)
            return [(_IPV6, socket.IPV6_PKTINFO, packed)]
        if self.family == socket.AF_INET and self.options.number(_IP, _IP_PKTINFO):
            address = socket.inet_pton(socket.AF_INET, ip)
            return [(_IP, _IP_PKTINFO, struct.pack("i", index) + address + address)]
        return []

    # Ending

    def shutdown(self, how: int) -> None:
        """Close one direction or both of a connected socket."""
        if self.remote is None:
            raise error(errno.ENOTCONN)
        self.closed_for_reading |= how in (socket.SHUT_RD, socket.SHUT_RDWR)
        self.closed_for_writing |= how in (socket.SHUT_WR, socket.SHUT_RDWR)
        self.touch()

    def close(self) -> None:
        """Let go of the port; datagrams on the way still arrive elsewhere."""
        self.let_go()
        self.groups.clear()
        self.queue.clear()

    # Options

    def set_option(self, level: int, option: int, value: Any) -> None:
        """Set an option; memberships and the interface of groups take effect at once."""
        key = (level, option)
        if key in _JOIN:
            self._join(self._membership(level, value))
        elif key in _LEAVE:
            membership = self._membership(level, value)
            if membership not in self.groups:
                raise error(errno.EADDRNOTAVAIL)
            self.groups.remove(membership)
        else:
            super().set_option(level, option, value)
            if key in _MULTICAST_IF:
                self._multicast_if = self._interface_of(level, value)

    def _join(self, membership: Membership) -> None:
        if membership in self.groups:
            raise error(errno.EADDRINUSE)
        self.groups.append(membership)
        self.network.trace.add("join", f"{membership[0]} {interface_name(membership[1])}")

    def _membership(self, level: int, value: Any) -> Membership:
        payload = bytes(value)
        if level == _IPV6:
            if len(payload) < 20:
                raise error(errno.EINVAL)
            group = plain(socket.inet_ntop(socket.AF_INET6, payload[:16]))
            index = struct.unpack("I", payload[16:20])[0]
        else:
            if len(payload) < 8:
                raise error(errno.EINVAL)
            group = socket.inet_ntop(socket.AF_INET, payload[:4])
            index = self._interface_of(_IP, payload[4:])
        if not is_multicast(group):
            raise error(errno.EINVAL)
        if index:
            try:
                interface_name(index)
            except OSError as unknown:
                raise error(errno.ENODEV) from unknown
        return group, index or ETH0

    def _interface_of(self, level: int, value: Any) -> int:
        """The interface that an option names by index, or, for IPv4, by its address; 0: any."""
        if isinstance(value, int):
            return value
        payload = bytes(value)
        if level == _IPV6:
            return int(struct.unpack("I", payload[:4])[0])
        if len(payload) >= 12:  # struct ip_mreqn names the index last
            index = int(struct.unpack("i", payload[8:12])[0])
            if index:
                return index
            payload = payload[4:8]
        elif len(payload) == 8:  # what follows the group in ip_mreqn: an address and an index
            index = int(struct.unpack("i", payload[4:8])[0])
            if index:
                return index
        address = socket.inet_ntop(socket.AF_INET, payload[:4])
        if address == ANY_V4:
            return 0
        if self.network.host_at(self.process, address) is not self.process.host:
            raise error(errno.EADDRNOTAVAIL)
        return LO if address.startswith("127.") else ETH0


def _path(datagram: Datagram) -> str:
    return f"{joined(datagram.source)}>{joined(datagram.target)}"
