"""TCP as a program meets it: connect, accept, streams with flow control, half close, reset.

Loss is what it is to a stream, a delay: a packet that does not get through is sent again after a
retransmission timeout that doubles (RFC 6298, from Linux's 200 ms), and a connection whose packets
never get through for 15 minutes ends with ETIMEDOUT. A closed port answers with a reset, a dead
host does not answer at all. Addresses and ports belong to `network`, sockets to `tcp_sockets`.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toron.core.clock import SECOND_NS
from toron.core.process import Process
from toron.world.addresses import Address, error, joined

if TYPE_CHECKING:
    from toron.world.network import Network

BUFFER_BYTES = 128 * 1024
WINDOW_BYTES = 2 * BUFFER_BYTES
"""What one direction holds: the sender's and the receiver's buffers of a Linux socket, roughly."""
RTO_MIN_NS = SECOND_NS // 5
RTO_MAX_NS = 120 * SECOND_NS
GIVE_UP_NS = 924 * SECOND_NS
SYN_RETRIES_NS = tuple(n * SECOND_NS for n in (1, 2, 4, 8, 16, 32, 64))
KEEP_IDLE_NS, KEEP_INTERVAL_NS, KEEP_COUNT = 7_200 * SECOND_NS, 75 * SECOND_NS, 9
"""Linux's defaults of TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT."""
_FIN = b""
_RST = None


@dataclass(slots=True)
class Segment:
    """Bytes on their way (empty: the end of the stream; None: a reset), and when they arrive."""

    payload: bytes | None
    arrives_ns: int
    sent: int
    """The number of the event that sent it, for those who look at the trace."""


@dataclass(slots=True)
class KeepAlive:
    """How an idle connection asks whether its peer is still there."""

    idle_ns: int = KEEP_IDLE_NS
    interval_ns: int = KEEP_INTERVAL_NS
    count: int = KEEP_COUNT


class Endpoint:
    """One end of a connection."""

    def __init__(self, network: Network, process: Process, local: Address) -> None:
        self.network = network
        self.process = process
        self.local = local
        self.remote: Address | None = None
        self.peer: Endpoint | None = None
        self.state = "new"
        """new, connecting, open; then resetting (in flight), reset (by this end) or dead."""
        self.received = bytearray()
        self.saw_end = False
        self.sent_end = False
        self.closed = False
        self.error = 0
        self.unacked = 0
        self.send_buffer = self.receive_buffer = BUFFER_BYTES
        self.window = WINDOW_BYTES
        self.swallowed = False
        """A middlebox on the path drops all packets of this connection, and tells nobody."""
        self.keep_alive: KeepAlive | None = None
        self.heard_ns = 0
        self.probing = False
        self.give_up_ns = GIVE_UP_NS
        self.outbox: deque[Segment] = deque()
        self.last_arrival_ns = 0
        self.rto_ns = RTO_MIN_NS
        self.blocked_since_ns: int | None = None
        self.pumping = False
        self.on_change: Callable[[], None] = _nothing
        self._path = ""
        self.asked = 0
        """The number of the event that asked for the connection."""

    # What a socket asks

    def readable(self) -> bool:
        """Whether `receive` would not block."""
        if self.received or self.saw_end or self.error:
            return True
        return self.state in ("dead", "reset")

    def writable(self) -> bool:
        """Whether `send` would not block."""
        if self.state in ("new", "connecting"):
            return self.error != 0
        gone = self.sent_end or self.error != 0 or self.state in ("dead", "reset")
        return gone or self.unacked < self.window

    def take_error(self) -> int:
        """The pending error, which is then forgotten, as SO_ERROR does."""
        number, self.error = self.error, 0
        return number

    def size_window(self) -> None:
        """Take the buffers of both ends into account, which a socket option may have changed."""
        peer = self.peer
        if peer is not None:
            self.window = self.send_buffer + peer.receive_buffer
            peer.window = peer.send_buffer + self.receive_buffer

    def send(self, payload: bytes) -> int:
        """Put as many bytes on the way as the window takes; OSError as the system's."""
        if self.error:
            raise error(self.take_error())
        if self.state in ("new", "connecting"):
            raise error(errno.EPIPE if self.state == "new" else errno.EAGAIN)
        if self.sent_end or self.state in ("dead", "reset"):
            raise error(errno.EPIPE)
        taken = min(len(payload), self.window - self.unacked)
        if taken <= 0:
            if not payload:
                return 0
            raise error(errno.EAGAIN)
        self.unacked += taken
        payload = payload[:taken]
        self._record_send(payload)
        for part in self.network.split(self, payload):
            self._transmit(part)
        return taken

    def _record_send(self, payload: bytes) -> None:
        self.network.trace.add_bytes("send", self._path or self.path(), payload)

    def receive(self, size: int, *, peek: bool = False) -> bytes:
        """Take up to ``size`` bytes; empty at the end of the stream; OSError as the system's."""
        if self.received:
            payload = bytes(self.received[:size])
            if not peek:
                del self.received[: len(payload)]
                self._acknowledge(len(payload))
            return payload
        if self.error:
            raise error(self.take_error())
        if self.saw_end or self.state in ("dead", "reset"):
            return b""
        raise error(errno.ENOTCONN if self.state == "new" else errno.EAGAIN)

    def shut_read(self) -> None:
        """Read no more: what arrives from now on is thrown away, and reading is at its end."""
        self.saw_end = True
        self.on_change()

    def shut_write(self) -> None:
        """Half close: the peer sees the end of the stream after all that was sent."""
        if self.state == "open" and not self.sent_end:
            self.sent_end = True
            self.network.trace.add("fin", self.path())
            self._transmit(_FIN)
        self.on_change()

    def close(self, *, abort: bool) -> None:
        """Let go of this end; unread bytes or ``abort`` make it a reset, as Linux does."""
        if self.closed:
            return
        self.closed = True
        if self.state == "open" and (abort or self.received):
            self.reset()
        elif self.state == "open":
            self.shut_write()
        elif self.state == "connecting":
            self.state = "dead"
        self.received.clear()

    def reset(self) -> None:
        """End the connection at once; the peer learns it after what is already in flight."""
        self.network.trace.add("rst", self.path())
        self.state = "reset"
        self._transmit(_RST)

    # What the network does

    def _transmit(self, payload: bytes | None) -> None:
        network = self.network
        arrives = max(self.last_arrival_ns, network.arrival_ns(self, len(payload or b"")))
        self.last_arrival_ns = arrives
        self.outbox.append(Segment(payload, arrives, network.trace.count))
        self._schedule_pump(arrives)

    def _schedule_pump(self, at_ns: int) -> None:
        if not self.pumping:
            self.pumping = True
            self.network.agenda.at(at_ns, self._pump)

    def _pump(self) -> None:
        """Deliver what has arrived by now, in order; try again later what does not get through."""
        self.pumping = False
        if self.state not in ("open", "reset") or not self.process.powered:
            return
        peer, now_ns = self.peer, self.network.clock.now_ns
        assert peer is not None
        while self.outbox and self.outbox[0].arrives_ns <= now_ns:
            if self.swallowed or not self.network.reaches(self.process, peer.process):
                if self.state == "open":
                    self._back_off(now_ns)
                return
            self.rto_ns, self.blocked_since_ns = RTO_MIN_NS, None
            segment = self.outbox.popleft()
            payload = segment.payload
            if payload is _RST:
                peer.on_reset(errno.ECONNRESET, segment.sent)
            elif peer.process.alive and peer.state == "open" and not peer.closed:
                peer.on_segment(payload, segment.sent)
            elif payload and self.state == "open":
                self._refused(segment.sent)
                return
        if self.outbox:
            self._schedule_pump(self.outbox[0].arrives_ns)

    def _back_off(self, now_ns: int) -> None:
        if self.blocked_since_ns is None:
            self.blocked_since_ns = now_ns
        if now_ns - self.blocked_since_ns > self.give_up_ns:
            self.on_reset(errno.ETIMEDOUT)
            return
        self._schedule_pump(now_ns + self.rto_ns)
        self.rto_ns = min(self.rto_ns * 2, RTO_MAX_NS)

    def _refused(self, sent: int) -> None:
        """The other end no longer exists: its host answers data with a reset."""
        self.state = "resetting"
        self.outbox.clear()
        self.network.after_latency(self, lambda: self.on_reset(errno.ECONNRESET, sent))

    def on_segment(self, payload: bytes | None, sent: int = 0) -> None:
        """Bytes, or the end of the stream, arrived here; event ``sent`` put them on their way."""
        self.heard_ns = self.network.clock.now_ns
        if not payload:
            self.saw_end = True
        elif not self.saw_end:  # else this end has shut its reading, and throws them away
            self.received += payload
        size = len(payload or b"")
        self.network.trace.add(
            "deliver", f"{self._path or self.path()} {size}", cause=sent, on=self.process.name
        )
        self.on_change()

    def on_reset(self, number: int, sent: int = 0) -> None:
        """The connection is gone; the program learns it at its next call."""
        if self.state in ("dead", "reset"):
            return
        self.state = "dead"
        self.outbox.clear()
        if not self.closed:
            self.error = number
            text = f"{self.path()} {errno.errorcode[number]}"
            self.network.trace.add("reset", text, cause=sent, on=self.process.name)
            self.on_change()

    def _acknowledge(self, size: int) -> None:
        """Give the peer its window back; at once, unless it waits for it."""
        peer = self.peer
        if peer is None:
            return
        if peer.unacked < peer.window:
            peer.unacked -= size
            return

        def credit() -> None:
            peer.unacked -= size
            peer.on_change()

        self.network.after_latency(self, credit)

    # Probes of an idle connection

    def peer_may_be_gone(self) -> None:
        """Begin to probe the peer, if this connection does; called when something has happened.

        Linux probes every idle connection for ever. Here probes begin when the peer's host lost
        power or a link was cut: before that they would change nothing but keep a world in which
        nothing else can happen from being called a deadlock.
        """
        if self.keep_alive is None or self.probing or self.state != "open":
            return
        self.probing = True
        now_ns = self.network.clock.now_ns
        begins_ns = max(now_ns + 1, self.heard_ns + self.keep_alive.idle_ns)
        self.network.agenda.at(begins_ns, lambda: self._probe(0))

    def _probe(self, unanswered: int) -> None:
        keep, peer, network = self.keep_alive, self.peer, self.network
        if keep is None or self.state != "open" or not self.process.alive:
            self.probing = False
            return
        assert peer is not None
        if not self.swallowed and network.is_round_trip_possible(self.process, peer.process):
            self.probing = False
            if not peer.process.alive or peer.state in ("dead", "reset"):
                network.after_latency(self, lambda: self.on_reset(errno.ECONNRESET))
        elif unanswered >= keep.count:
            self.probing = False
            self.on_reset(errno.ETIMEDOUT)
        else:
            network.agenda.at(
                network.clock.now_ns + keep.interval_ns, lambda: self._probe(unanswered + 1)
            )

    def path(self) -> str:
        """``from>to`` for the trace."""
        path = f"{joined(self.local)}>{joined(self.remote or ('?', 0))}"
        if self.state == "open":  # from here on neither end changes its name
            self._path = path
        return path


class LocalEndpoint(Endpoint):
    """One end of a socket pair or of a unix stream: bytes are there as soon as they are sent."""

    def _record_send(self, payload: bytes) -> None:
        self.network.trace.add_bytes("write", self.path(), payload)

    def path(self) -> str:
        """The name under which the trace knows this end."""
        return self.local[0]

    def _transmit(self, payload: bytes | None) -> None:
        peer = self.peer
        assert peer is not None
        if payload is _RST:
            peer.on_reset(errno.ECONNRESET)
        elif peer.process.alive and peer.state == "open" and not peer.closed:
            peer.on_segment(payload)
        elif payload:
            self.state = "dead"
            raise error(errno.EPIPE)

    def on_segment(self, payload: bytes | None, sent: int = 0) -> None:
        """Bytes, or the end of the stream, were written by the other end."""
        if not payload:
            self.saw_end = True
        elif not self.saw_end:
            self.received += payload
        self.on_change()

    def send(self, payload: bytes) -> int:
        """Write as many bytes as the buffers take; EPIPE at once when nobody reads any more."""
        peer = self.peer
        if self.state == "open" and (peer is None or peer.closed) and not self.error:
            raise error(errno.EPIPE)
        return super().send(payload)

    def _acknowledge(self, size: int) -> None:
        peer = self.peer
        if peer is not None:
            was_full = peer.unacked >= peer.window
            peer.unacked -= size
            if was_full:
                peer.on_change()


def connected_pair(network: Network, process: Process, label: str) -> tuple[Endpoint, Endpoint]:
    """Two open ends in one process, as `socketpair` makes them."""
    first = LocalEndpoint(network, process, (label, 0))
    second = LocalEndpoint(network, process, (label, 1))
    first.peer, second.peer = second, first
    first.remote, second.remote = second.local, first.local
    first.state = second.state = "open"
    return first, second


class Listener:
    """A listening socket and the connections that wait to be accepted."""

    def __init__(self, process: Process, local: Address, backlog: int) -> None:
        self.process = process
        self.local = local
        self.backlog = max(1, backlog)
        self.waiting: deque[Endpoint] = deque()
        self.pending = 0
        self.closed = False
        self.receive_buffer = BUFFER_BYTES
        self.send_buffer = BUFFER_BYTES
        self.on_change: Callable[[], None] = _nothing

    def readable(self) -> bool:
        """Whether `accept` would not block."""
        return bool(self.waiting) or self.closed

    def writable(self) -> bool:
        """A listener is never written to."""
        return False

    def is_full(self) -> bool:
        """Whether no further connection finds a place."""
        return len(self.waiting) + self.pending >= self.backlog

    def accept(self) -> Endpoint:
        """The next connection; EAGAIN when none waits, EINVAL after `shutdown`."""
        if self.closed:
            raise error(errno.EINVAL)
        if not self.waiting:
            raise error(errno.EAGAIN)
        return self.waiting.popleft()

    def add(self, endpoint: Endpoint) -> None:
        """Queue a connection."""
        self.waiting.append(endpoint)
        self.on_change()

    def close(self) -> None:
        """Stop listening; connections nobody accepted are reset."""
        self.closed = True
        for endpoint in self.waiting:
            endpoint.reset()
        self.waiting.clear()


class Connect:
    """One connection attempt, from the first SYN to open, refused or timed out."""

    def __init__(self, client: Endpoint, target: Address) -> None:
        self.client = client
        self.target = target
        self._attempt = 0
        network = client.network
        client.state = "connecting"
        client.remote = target
        network.trace.add("connect", client.path())
        client.asked = network.trace.count
        self._send_syn()

    def _send_syn(self) -> None:
        client, network = self.client, self.client.network
        if client.state != "connecting" or not client.process.alive:
            return
        host = network.host_at(client.process, self.target[0])
        if host is None:
            network.agenda.at(network.clock.now_ns + 1, lambda: self._fail(errno.EHOSTUNREACH))
            return
        delay_ns = network.links.latency_ns(client.process.host.name, host.name)
        now_ns = network.clock.now_ns
        lost = network.links.is_lost(client.process.host.name, host.name, now_ns)
        at_ns = network.clock.now_ns + delay_ns
        network.agenda.at(at_ns, self._retry if lost else self._on_syn)

    def _retry(self) -> None:
        if self._attempt == len(SYN_RETRIES_NS):
            self._fail(errno.ETIMEDOUT)
            return
        wait_ns = SYN_RETRIES_NS[self._attempt]
        self._attempt += 1
        network = self.client.network
        network.agenda.at(network.clock.now_ns + wait_ns, self._send_syn)

    def _on_syn(self) -> None:
        client, network = self.client, self.client.network
        if client.state != "connecting" or not client.process.alive:
            return
        process = network.process_at(client.process, self.target[0])
        if process is None or not network.reaches(client.process, process):
            self._retry()
            return
        listener = network.listener_at(process, self.target)
        back_ns = network.latency_ns(process, client.process)
        if not network.reaches(process, client.process):
            self._retry()
        elif listener is None:
            at_ns = network.clock.now_ns + back_ns
            network.agenda.at(at_ns, lambda: self._fail(errno.ECONNREFUSED))
        elif listener.is_full():
            self._retry()
        else:
            self._establish(listener, back_ns)

    def _establish(self, listener: Listener, back_ns: int) -> None:
        client, network = self.client, self.client.network
        server = Endpoint(network, listener.process, self.target)
        assert client.remote is not None
        server.remote = client.local
        server.peer, client.peer = client, server
        server.asked = client.asked
        server.state = "open"
        server.send_buffer, server.receive_buffer = listener.send_buffer, listener.receive_buffer
        server.size_window()
        open_ns = network.clock.now_ns + back_ns
        accept_ns = open_ns + network.latency_ns(client.process, listener.process)
        client.last_arrival_ns = accept_ns
        server.last_arrival_ns = open_ns
        client.heard_ns = server.heard_ns = open_ns
        listener.pending += 1

        def opened() -> None:
            if client.state == "connecting":
                client.state = "open"
                network.established(client)
                network.trace.add("open", client.path(), cause=client.asked, on=client.process.name)
                client.on_change()

        def accepted() -> None:
            listener.pending -= 1
            if not listener.process.alive:
                return
            if listener.closed or client.state != "open":
                server.reset()
                return
            listener.add(server)

        network.agenda.at(open_ns, opened)
        network.agenda.at(accept_ns, accepted)

    def _fail(self, number: int) -> None:
        client = self.client
        if client.state == "connecting" and client.process.alive:
            client.state = "new"
            client.error = number
            client.network.trace.add(
                "refused",
                f"{client.path()} {errno.errorcode[number]}",
                cause=client.asked,
                on=client.process.name,
            )
            client.on_change()


def _nothing() -> None:
    return None


__all__ = ["Address", "Connect", "Endpoint", "KeepAlive", "Listener", "connected_pair"]
