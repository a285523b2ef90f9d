"""Unix sockets of one host: streams and datagrams by path or by abstract name.

A path lies on the disk of its host, as a socket file that `os.stat` shows and `os.unlink` removes.
Bytes are there as soon as they are written, as inside one kernel. Descriptors do not travel over
these sockets.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

from toron.core.process import Process
from toron.world.addresses import error
from toron.world.descriptions import Description, Received, path_of
from toron.world.network import Network
from toron.world.options import BUFFER_MAX
from toron.world.tcp import Endpoint, Listener, LocalEndpoint

_OVERHEAD_BYTES = 256

Name = str | bytes


class UnixDescription(Description):
    """What the kinds of unix sockets have in common: a name."""

    def __init__(
        self, network: Network, kind: int, proto: int = 0, process: Process | None = None
    ) -> None:
        super().__init__(network, socket.AF_UNIX, kind, proto, process)
        self.given: Name = ""

    def parse(self, address: Any, call: str) -> Name:
        """A path or an abstract name."""
        return path_of(address)

    def bind(self, target: Name) -> None:
        """Take a name: EINVAL when this has one, EADDRINUSE when it is taken."""
        if self.given:
            raise error(errno.EINVAL)
        if not target:
            target = self.network.free_abstract_name(self.process)
        self.network.bind_unix(self.process, absolute(target), self)
        self.given = target
        self.network.trace.add("bind", shown(target))

    def find(self, target: Name) -> UnixDescription:
        """Who is bound at ``target``: ENOENT without a path, ECONNREFUSED without an owner."""
        found = self.network.unix_socket(self.process, absolute(target))
        if not isinstance(found, UnixDescription) or not found.process.alive or found.is_closed():
            raise error(errno.ECONNREFUSED)
        if found.kind != self.kind:  # abstract names are separate for each kind
            is_abstract = isinstance(target, bytes)
            raise error(errno.ECONNREFUSED if is_abstract else errno.EPROTOTYPE)
        return found

    def is_closed(self) -> bool:
        """Whether no descriptor refers to this any more."""
        return not self._fds

    def name(self) -> Name:
        """What `getsockname` says."""
        return self.given

    def let_go(self) -> None:
        """Give an abstract name back; a path stays, as a file does."""
        if isinstance(self.given, bytes):
            self.network.free_abstract(self.process, self.given, self)


class UnixStream(UnixDescription):
    """A stream socket."""

    def __init__(
        self,
        network: Network,
        proto: int = 0,
        *,
        process: Process | None = None,
        end: Endpoint | None = None,
    ) -> None:
        super().__init__(network, socket.SOCK_STREAM, proto, process)
        self.listener: Listener | None = None
        self.end = end or LocalEndpoint(network, self.process, ("unix", 0))
        self.end.on_change = self.touch
        self.peer_given: Name = ""

    def readable(self) -> bool:
        """Whether reading, or accepting, would not block."""
        return self.listener.readable() if self.listener is not None else self.end.readable()

    def writable(self) -> bool:
        """Whether writing would not block."""
        return self.listener.writable() if self.listener is not None else self.end.writable()

    def listens(self) -> bool:
        """Whether this is a listener."""
        return self.listener is not None

    def take_error(self) -> int:
        """The pending error, which is then forgotten."""
        return self.end.take_error()

    def listen(self, backlog: int) -> None:
        """Start to accept connections."""
        if self.listener is not None:
            self.listener.backlog = max(1, backlog)
            return
        if not self.given:
            raise error(errno.EINVAL)
        self.listener = Listener(self.process, (shown(self.given), 0), backlog)
        self.listener.on_change = self.touch
        self.network.trace.add("listen", shown(self.given))

    def connect(self, target: Name) -> None:
        """Connect at once; EAGAIN while the backlog is full, for a socket that does not wait."""
        if self.end.state == "open":
            raise error(errno.EISCONN)
        server = self.find(target)
        assert isinstance(server, UnixStream)
        listener = server.listener
        if listener is None or listener.closed:
            raise error(errno.ECONNREFUSED)
        if listener.is_full():
            raise error(errno.EAGAIN)
        label = shown(target)
        there = LocalEndpoint(self.network, server.process, (f"{label} server", 0))
        self.end.local = (f"{label} client", 0)
        self.end.peer, there.peer = there, self.end
        self.end.remote, there.remote = there.local, self.end.local
        self.end.state = there.state = "open"
        self.peer_given = target
        self.network.trace.add("connect", label)
        listener.add(there)
        self.touch()

    def accept(self) -> tuple[UnixStream, Any]:
        """The next connection, and the name of its client, which is mostly empty."""
        if self.listener is None:
            raise error(errno.EINVAL)
        end = self.listener.accept()
        connection = UnixStream(self.network, self.proto, process=self.process, end=end)
        connection.given = self.given
        self.network.trace.add("accept", end.path())
        return connection, ""

    def peer_name(self) -> Name:
        """What `getpeername` says; ENOTCONN without one."""
        if self.end.state in ("new", "connecting"):
            raise error(errno.ENOTCONN)
        return self.peer_given

    def shutdown(self, how: int) -> None:
        """Half close, or stop to listen."""
        if self.listener is not None:
            self.listener.close()
            self.touch()
            return
        if self.end.state != "open":
            raise error(errno.ENOTCONN)
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self.end.shut_read()
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self.end.shut_write()

    def send(self, payload: bytes) -> int:
        """Write as much as the buffers take."""
        if self.end.state == "new":
            raise error(errno.ENOTCONN)
        return self.end.send(payload)

    def send_to(self, payload: bytes, target: Any) -> int:
        """A connected stream has no other peer: EISCONN."""
        raise error(errno.EISCONN if self.end.state == "open" else errno.EOPNOTSUPP)

    def receive(self, size: int, peek: bool) -> bytes:
        """Take bytes; EINVAL when this is not connected."""
        if self.end.state == "new":
            raise error(errno.EINVAL)
        return self.end.receive(size, peek=peek)

    def ended(self) -> None:
        """No descriptor is left."""
        self.end.on_change = _nothing

    def close(self) -> None:
        """Let go of the name and of the connection."""
        if self.listener is not None:
            self.listener.close()
            self.let_go()
        elif not self.peer_given and self.end.state == "new":
            self.let_go()
        self.end.close(abort=False)


class UnixDatagram(UnixDescription):
    """A datagram socket: reliable, in order, and the sender waits while the receiver is full."""

    pair_label: ClassVar[str] = "socketpair"

    def __init__(self, network: Network, proto: int = 0, process: Process | None = None) -> None:
        super().__init__(network, socket.SOCK_DGRAM, proto, process)
        self.queue: deque[tuple[bytes, Name]] = deque()
        self.queued_bytes = 0
        self.peer: UnixDatagram | None = None
        self.error = 0
        self.saw_end = self.sent_end = False
        self._waiting: list[UnixDatagram] = []

    def readable(self) -> bool:
        """Whether a datagram waits."""
        return bool(self.queue) or self.saw_end or self.error != 0

    def writable(self) -> bool:
        """Whether the peer has room."""
        return self.peer is None or self.peer.has_room(0)

    def has_room(self, size: int) -> bool:
        """Whether a datagram of ``size`` bytes finds a place; one always does in an empty queue."""
        limit = self.options.buffer(socket.SO_RCVBUF) or BUFFER_MAX
        return not self.queue or self.queued_bytes + size + _OVERHEAD_BYTES <= limit

    def connect(self, target: Name) -> None:
        """Fix the peer."""
        found = self.find(target)
        assert isinstance(found, UnixDatagram)
        self.peer = found

    def take_error(self) -> int:
        """The pending error, which is then forgotten."""
        number, self.error = self.error, 0
        return number

    def peer_name(self) -> Name:
        """What `getpeername` says; ENOTCONN without one."""
        if self.peer is None:
            raise error(errno.ENOTCONN)
        return self.peer.given

    def send(self, payload: bytes) -> int:
        """Send to the peer."""
        if self.peer is None:
            raise error(errno.ENOTCONN)
        return self._put(payload, self.peer)

    def send_to(self, payload: bytes, target: Name) -> int:
        """Send to whoever is bound at ``target``."""
        found = self.find(target)
        assert isinstance(found, UnixDatagram)
        return self._put(payload, found)

    def _put(self, payload: bytes, there: UnixDatagram) -> int:
        if self.sent_end:
            raise error(errno.EPIPE)
        if not there.process.alive or there.is_closed():
            raise error(errno.ECONNREFUSED if there.given else errno.ECONNRESET)
        if len(payload) > BUFFER_MAX:
            raise error(errno.EMSGSIZE)
        if not there.has_room(len(payload)):
            if self not in there._waiting:
                there._waiting.append(self)
            raise error(errno.EAGAIN)
        there.queue.append((payload, self.given))
        there.queued_bytes += len(payload) + _OVERHEAD_BYTES
        self.network.trace.add_bytes("write", shown(there.given) or self.pair_label, payload)
        there.touch()
        return len(payload)

    def receive(self, size: int, peek: bool) -> bytes:
        """The next datagram, cut off at ``size``."""
        return self.receive_from(size, peek)[0]

    def receive_from(self, size: int, peek: bool) -> Received:
        """The next datagram and the name of its sender, None for one without a name."""
        if not self.queue:
            if self.error:
                raise error(self.take_error())
            if self.saw_end:
                return b"", None, 0, []
            raise error(errno.EAGAIN)
        payload, name = self.queue[0]
        if not peek:
            self.queue.popleft()
            self.queued_bytes -= len(payload) + _OVERHEAD_BYTES
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.touch()
            if self.peer is not None:
                self.peer.touch()
        flags = socket.MSG_TRUNC if len(payload) > size else 0
        return payload[:size], name or None, int(flags), []

    def shutdown(self, how: int) -> None:
        """Close one direction or both."""
        if self.peer is None:
            raise error(errno.ENOTCONN)
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self.saw_end = True
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self.sent_end = True
        self.touch()

    def close(self) -> None:
        """Let go of the name; a peer of a pair learns of it at its next call."""
        self.let_go()
        if self.peer is not None:
            self.peer.touch()
        self.queue.clear()


def absolute(name: Name) -> Name:
    """The name under which the registry knows a socket: a path without ``.`` and ``..``."""
    return name if isinstance(name, bytes) else os.path.abspath(name)  # noqa: PTH100


def shown(name: Name) -> str:
    """A name for the trace: of a path its last part, since its folders differ by machine."""
    if isinstance(name, bytes):
        return "@" + name[1:].decode("utf-8", "backslashreplace")
    return Path(name).name


def _nothing() -> None:
    return None
