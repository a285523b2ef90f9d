"""A TCP socket behind its descriptor: bind, listen, connect, accept, and its options' effects."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, ClassVar

from toron.core.clock import SECOND_NS
from toron.core.process import Process
from toron.world.addresses import ANY_V4, ANY_V6, LOOPBACK, Address, error
from toron.world.descriptions import InternetDescription
from toron.world.network import Network
from toron.world.options import tcp_info
from toron.world.tcp import GIVE_UP_NS, Connect, Endpoint, KeepAlive, Listener

_LINGER_0 = struct.pack("ii", 1, 0)
_SOL, _TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
_TCP_USER_TIMEOUT = 18
_BUFFERS = (socket.SO_RCVBUF, socket.SO_SNDBUF)
_KEEP = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)


class TcpSocket(InternetDescription):
    """A stream socket over IPv4 or IPv6."""

    protocol: ClassVar[str] = "tcp"
    waits_to_connect: ClassVar[bool] = True

    def __init__(
        self,
        network: Network,
        family: int,
        proto: int = 0,
        *,
        process: Process | None = None,
        end: Endpoint | None = None,
    ) -> None:
        super().__init__(network, family, socket.SOCK_STREAM, proto, process)
        self.listener: Listener | None = None
        self.end = end or Endpoint(network, self.process, (self.any_address(), 0))
        self.end.on_change = self.touch

    # Readiness

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

    # Names

    def bind(self, target: Address) -> None:
        """Take an address."""
        super().bind(target)
        assert self.claim is not None
        self.end.local = (self.claim.ip, self.claim.port)

    def name(self) -> Any:
        """What `getsockname` says."""
        return self.shape(self.end.local)

    def peer_name(self) -> Any:
        """What `getpeername` says; ENOTCONN without one."""
        end = self.end
        if end.remote is None or end.state in ("new", "connecting"):
            raise error(errno.ENOTCONN)
        return self.shape(end.remote)

    # Connections

    def listen(self, backlog: int) -> None:
        """Start to accept connections; a second call changes the backlog."""
        if self.listener is not None:
            self.listener.backlog = max(1, backlog)
            return
        if self.end.state != "new":
            raise error(errno.EINVAL)
        if self.claim is None:
            self.bind((self.any_address(), 0))
        assert self.claim is not None
        listener = Listener(self.process, self.end.local, backlog)
        listener.send_buffer = self.end.send_buffer
        listener.receive_buffer = self.end.receive_buffer
        self.network.listen(self.claim, listener)
        listener.on_change = self.touch
        self.listener = listener

    def connect(self, target: Address) -> None:
        """Begin to connect: EINPROGRESS, then writable."""
        end = self.end
        if self.listener is not None:
            raise error(errno.EISCONN)
        if end.state == "open":
            raise error(errno.EISCONN)
        if end.state == "connecting":
            raise error(errno.EALREADY)
        if end.error:
            raise error(end.take_error())
        if end.state != "new":
            raise error(errno.EINVAL)
        ip, port = target
        ip = {ANY_V4: LOOPBACK[0], ANY_V6: LOOPBACK[1]}.get(ip, ip)
        source = self.network.source_address(self.process, ip)
        if self.claim is None:
            self.bind((source, 0))
        assert self.claim is not None
        end.local = (
            source if self.claim.ip in (ANY_V4, ANY_V6) else self.claim.ip,
            self.claim.port,
        )
        Connect(end, (ip, port))
        raise error(errno.EINPROGRESS)

    def accept(self) -> tuple[TcpSocket, Any]:
        """The next connection; it inherits the listener's options."""
        if self.listener is None:
            raise error(errno.EINVAL)
        end = self.listener.accept()
        connection = TcpSocket(self.network, self.family, self.proto, process=self.process, end=end)
        connection.options.copy_from(self.options)
        connection._apply_keep_alive()
        self.network.trace.add("accept", end.path(), cause=end.asked)
        remote = end.remote
        assert remote is not None
        return connection, self.shape(remote)

    def shutdown(self, how: int) -> None:
        """Half close, or stop to listen."""
        if self.listener is not None:
            if how != socket.SHUT_WR:
                self.listener.close()
                self.touch()
            return
        if self.end.state not in ("open", "resetting"):
            raise error(errno.ENOTCONN)
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self.end.shut_read()
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self.end.shut_write()

    def ended(self) -> None:
        """No descriptor is left."""
        self.end.on_change = _nothing

    def close(self) -> None:
        """Let go of the port and of the connection; SO_LINGER of 0 resets it."""
        self.let_go()
        if self.listener is not None:
            self.listener.close()
        linger = self.options.payload(_SOL, socket.SO_LINGER)
        self.end.close(abort=linger == _LINGER_0)

    # Bytes

    def send(self, payload: bytes) -> int:
        """Send as much as the window takes."""
        return self.end.send(payload)

    def send_to(self, payload: bytes, target: Any) -> int:
        """Send on the connection; the address of a stream is ignored, as Linux does."""
        return self.end.send(payload)

    def receive(self, size: int, peek: bool) -> bytes:
        """Take up to ``size`` bytes."""
        return self.end.receive(size, peek=peek)

    # Options

    def set_option(self, level: int, option: int, value: Any) -> None:
        """Set an option; buffers, keep-alive and TCP_USER_TIMEOUT take effect at once."""
        super().set_option(level, option, value)
        if level == _SOL and option in _BUFFERS:
            self._apply_buffers()
        elif (level == _SOL and option == socket.SO_KEEPALIVE) or (
            level == _TCP and option in _KEEP
        ):
            self._apply_keep_alive()
        elif level == _TCP and option == _TCP_USER_TIMEOUT:
            milliseconds = self.options.number(_TCP, option)
            self.end.give_up_ns = milliseconds * SECOND_NS // 1_000 or GIVE_UP_NS

    def get_option(self, level: int, option: int) -> Any:
        """An option: a number or a structure as bytes."""
        if level == _TCP and option == socket.TCP_INFO:
            return tcp_info(listens=self.listens(), is_open=self.end.state == "open")
        return super().get_option(level, option)

    def _apply_buffers(self) -> None:
        received, sent = (self.options.buffer(option) for option in _BUFFERS)
        holders: list[Endpoint | Listener] = [self.end]
        if self.listener is not None:
            holders.append(self.listener)
        for holder in holders:
            holder.receive_buffer = holder.receive_buffer if received is None else received
            holder.send_buffer = holder.send_buffer if sent is None else sent
        self.end.size_window()

    def _apply_keep_alive(self) -> None:
        end = self.end
        if not self.options.number(_SOL, socket.SO_KEEPALIVE):
            end.keep_alive = None
            return
        idle, interval, count = (self.options.number(_TCP, option) for option in _KEEP)
        end.keep_alive = KeepAlive(idle * SECOND_NS, interval * SECOND_NS, count)
        peer = end.peer
        if peer is not None and not self.network.is_round_trip_possible(self.process, peer.process):
            end.peer_may_be_gone()


def _nothing() -> None:
    return None
