"""`socket.socket` of the simulated world: the same class to a program, another kernel behind it.

Each simulated socket holds an inert real descriptor (a unix datagram socket that is never bound),
so that `fileno` and `fcntl` work on it and no number is used twice; no byte ever goes through it.
Sockets do not block: asyncio's never do, and a blocking call in the loop's thread would stop the
world.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
import struct
from collections.abc import Iterable
from typing import Any

from toron.core.process import Process
from toron.core.selector import Descriptors
from toron.errors import EscapeError
from toron.world.network import Network
from toron.world.tcp import Address, Connect, Endpoint, Listener

RealSocket = socket.socket
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class Inert(_socket.socket):
    """A real socket that is only a descriptor number; the one kind that may be made in a run."""


class _Attached:
    """The network that new sockets belong to; one run at a time lives in a process."""

    network: Network | None = None


def attach(network: Network | None) -> None:
    """Make new sockets belong to ``network``."""
    _Attached.network = network


def _network() -> Network:
    network = _Attached.network
    if network is None:
        raise EscapeError("a socket was made outside of a simulation (at import time?)")
    return network


class SimSocket(RealSocket):
    """A socket whose kernel is simulated."""

    def __init__(
        self,
        family: int = -1,
        type: int = -1,  # noqa: A002  (the standard library's name)
        proto: int = -1,
        fileno: int | None = None,
        *,
        _endpoint: Endpoint | None = None,
    ) -> None:
        network = _network()
        family = socket.AF_INET if family == -1 else family
        type = socket.SOCK_STREAM if type == -1 else type  # noqa: A001
        plain_type = type & ~(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if fileno is not None:
            raise EscapeError("socket(fileno=...) adopts a descriptor of the real world")
        if plain_type != socket.SOCK_STREAM or family not in (*_INTERNET, socket.AF_UNIX):
            raise EscapeError(
                f"socket({_name(family)}, {_name(socket.SocketKind(plain_type))}) is not simulated "
                "by this version of Toron; TCP over IPv4 and IPv6 is"
            )
        proto = 0 if proto == -1 else proto
        fd = Inert(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK).detach()
        super().__init__(family, plain_type, proto, fileno=fd)
        self._process: Process = network.current_process()
        self._net = network
        self._descriptors: Descriptors = network.descriptors
        self._fd = fd
        self._timeout: float | None = 0.0 if type & socket.SOCK_NONBLOCK else None
        self._local: Address | None = None
        self._options: dict[tuple[int, int], int | bytes] = {}
        self._listener: Listener | None = None
        self._end = _endpoint or Endpoint(network, self._process, ("0.0.0.0", 0))  # noqa: S104
        self._end.on_change = self._touch
        self._descriptors.add(fd, self, self._process)
        if _endpoint is not None:
            self._local = _endpoint.local

    # Readiness

    def readable(self) -> bool:
        """Whether reading, or accepting, would not block."""
        return self._listener.readable() if self._listener is not None else self._end.readable()

    def writable(self) -> bool:
        """Whether writing would not block."""
        return self._listener.writable() if self._listener is not None else self._end.writable()

    def _touch(self) -> None:
        self._descriptors.touch(self._fd)

    def _must_be_open(self) -> None:
        if self._fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _would_block(self, call: str) -> OSError:
        if self._timeout == 0.0:
            return OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return EscapeError(
            f"socket.{call} would block the event loop's thread, and with it every simulated host; "
            "use the loop's methods or setblocking(False)"
        )

    # Names and options

    def bind(self, address: Any) -> None:
        """Take an address."""
        self._must_be_open()
        if self.family == socket.AF_UNIX:
            raise EscapeError(f"bind({address!r}): unix sockets are not simulated by this version")
        if self._local is not None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        ip, port = self._resolve(address)
        # Linux lets a listener re-use a port in TIME_WAIT only; nothing lingers here, so a taken
        # port is taken whether SO_REUSEADDR is set or not. SO_REUSEPORT shares it.
        reuse = bool(self._options.get((socket.SOL_SOCKET, socket.SO_REUSEPORT), 0))
        self._local = self._net.bind(self._process, (ip, port), self, reuse=reuse)
        self._end.local = self._local

    def _resolve(self, address: Any) -> Address:
        host, port = address[0], address[1]
        if not 0 <= port <= 65_535:
            raise OverflowError("bind(): port must be 0-65535.")
        answers = self._net.resolve(host or "", port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
        ip: str = answers[0][4][0]
        return ip, port

    def listen(self, backlog: int = 128) -> None:
        """Start to accept connections."""
        self._must_be_open()
        if self._local is None:
            self.bind(("", 0))
        assert self._local is not None
        if self._listener is None:
            self._listener = self._net.listen(self._process, self._local, backlog)
            self._listener.on_change = self._touch

    def getsockname(self) -> Any:
        """The local address."""
        self._must_be_open()
        local = self._local or self._end.local
        return self._shape(local)

    def getpeername(self) -> Any:
        """The remote address; ENOTCONN without one."""
        self._must_be_open()
        if self._end.remote is None or self._end.state in ("new", "connecting"):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._shape(self._end.remote)

    def _shape(self, address: Address) -> Any:
        if self.family == socket.AF_UNIX:
            return ""
        return (*address, 0, 0) if self.family == socket.AF_INET6 else address

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        """Remember an option; SO_LINGER and SO_REUSEPORT have an effect."""
        self._options[level, option] = value[0] if value[0] is not None else b""

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        """An option as it was set, else Linux's default."""
        if level == socket.SOL_SOCKET:
            if option == socket.SO_ERROR:
                return self._end.take_error()
            if option == socket.SO_TYPE:
                return int(self.type)
            if option == socket.SO_ACCEPTCONN:
                return int(self._listener is not None)
        value = self._options.get((level, option), 0)
        if size and isinstance(value, int):
            return struct.pack("i", value)
        return value

    def setblocking(self, flag: bool) -> None:
        """Remember the mode; a blocking call that would wait is refused."""
        self.settimeout(None if flag else 0.0)

    def settimeout(self, value: float | None) -> None:
        """Remember the timeout."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def gettimeout(self) -> float | None:
        """The timeout as it was set."""
        return self._timeout

    def getblocking(self) -> bool:
        """Whether calls may wait."""
        return self._timeout != 0.0

    @property
    def timeout(self) -> float | None:
        """The timeout as it was set."""
        return self._timeout

    # Connections

    def connect(self, address: Any) -> None:
        """Begin to connect: EINPROGRESS, then writable, as a non-blocking socket does."""
        self._must_be_open()
        if self.family == socket.AF_UNIX:
            raise EscapeError(f"connect({address!r}): unix sockets are not simulated yet")
        end = self._end
        if end.state == "open":
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        if end.state == "connecting":
            raise OSError(errno.EALREADY, os.strerror(errno.EALREADY))
        if end.error:
            number = end.take_error()
            raise OSError(number, os.strerror(number))
        if self._timeout != 0.0:
            raise self._would_block("connect")
        answers = self._net.resolve(address[0], address[1], 0, socket.SOCK_STREAM)
        ip: str = answers[0][4][0]
        source = self._net.source_address(self._process, ip)
        if self._local is None:
            self._local = self._net.bind(self._process, (source, 0), self, reuse=False)
        self._local = (source, self._local[1])
        end.local = self._local
        Connect(end, (ip, int(address[1])))
        raise BlockingIOError(errno.EINPROGRESS, os.strerror(errno.EINPROGRESS))

    def connect_ex(self, address: Any) -> int:
        """Like `connect`, with the error number as the answer."""
        try:
            self.connect(address)
        except EscapeError:
            raise
        except OSError as error:
            return error.errno or 0
        return 0

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection."""
        self._must_be_open()
        if self._listener is None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if not self._listener.readable():
            raise self._would_block("accept")
        endpoint = self._listener.accept()
        connection = SimSocket(self.family, self.type, self.proto, _endpoint=endpoint)
        self._net.trace.add("accept", endpoint.path())
        return connection, connection.getpeername()

    def shutdown(self, how: int) -> None:
        """Half close."""
        self._must_be_open()
        if self._end.state not in ("open", "resetting"):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self._end.saw_end = True
            self._touch()
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self._end.shut_write()

    def _real_close(self, *arguments: Any) -> None:
        if self._fd >= 0:
            self._descriptors.remove(self._fd)
            self._fd = -1
            self._end.on_change = _ignore
            self.let_go()
        super()._real_close(*arguments)  # type: ignore[misc]

    def let_go(self) -> None:
        """Give up what the socket holds, as the system does when it is closed or forgotten."""
        if not self._process.alive:
            return
        if self._local is not None:
            self._net.release(self._process, self._local, self)
        if self._listener is not None:
            self._net.stop_listening(self._listener)
        linger = self._options.get((socket.SOL_SOCKET, socket.SO_LINGER), b"")
        self._end.close(abort=linger == struct.pack("ii", 1, 0))

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            # As the system does for a descriptor that a program forgot: the peer sees the end.
            fd, self._fd = self._fd, -1
            self._descriptors.remove(fd)
            self._end.on_change = _ignore
            self.let_go()
        super().__del__()  # type: ignore[misc]

    def detach(self) -> int:
        """Refused: the descriptor behind a simulated socket carries no bytes."""
        raise EscapeError("socket.detach() hands a simulated socket to the real world")

    def dup(self) -> SimSocket:
        """Refused, like `detach`."""
        raise EscapeError("socket.dup() of a simulated socket is not simulated by this version")

    # Bytes

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as much as the window takes."""
        self._must_be_open()
        payload = bytes(data) if not isinstance(data, memoryview) else data.tobytes()
        try:
            return self._end.send(payload)
        except BlockingIOError as error:
            raise self._would_block("send") from error

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything; refused when it would have to wait."""
        payload = memoryview(bytes(data))
        while payload:
            payload = payload[self.send(payload) :]

    def sendmsg(self, buffers: Iterable[Any], *arguments: Any) -> int:
        """Gather and send."""
        if any(arguments[:1]):
            raise EscapeError("sendmsg() with ancillary data is not simulated by this version")
        return self.send(b"".join(bytes(part) for part in buffers))

    def sendto(self, data: Any, *arguments: Any) -> int:
        """Send on a connected socket."""
        return self.send(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Take up to ``size`` bytes."""
        self._must_be_open()
        try:
            return self._end.receive(size, peek=bool(flags & socket.MSG_PEEK))
        except BlockingIOError as error:
            raise self._would_block("recv") from error

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Take bytes into ``buffer``."""
        view = memoryview(buffer).cast("B")
        payload = self.recv(nbytes or len(view), flags)
        view[: len(payload)] = payload
        return len(payload)

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        """Take bytes, and where they are from."""
        return self.recv(size, flags), None

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Take bytes into ``buffer``, and where they are from."""
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg(self, size: int, ancillary: int = 0, flags: int = 0) -> tuple[Any, ...]:
        """Take bytes; there is no ancillary data."""
        return self.recv(size, flags), [], 0, None

    def recvmsg_into(self, buffers: Iterable[Any], *arguments: Any) -> tuple[Any, ...]:
        """Take bytes into the first buffer that holds any."""
        for buffer in buffers:
            if memoryview(buffer):
                return self.recv_into(buffer), [], 0, None
        return 0, [], 0, None


def sim_socketpair(
    family: int | None = None,
    type: int = socket.SOCK_STREAM,  # noqa: A002  (the standard library's name)
    proto: int = 0,
) -> tuple[SimSocket, SimSocket]:
    """Two connected sockets on the current host."""
    network = _network()
    process = network.current_process()
    first = Endpoint(network, process, ("socketpair", 0))
    second = Endpoint(network, process, ("socketpair", 1))
    first.peer, second.peer = second, first
    first.remote, second.remote = second.local, first.local
    first.state = second.state = "open"
    family = socket.AF_UNIX if family is None else family
    return (
        SimSocket(family, type, proto, _endpoint=first),
        SimSocket(family, type, proto, _endpoint=second),
    )


def _ignore() -> None:
    return None


def _name(member: Any) -> str:
    return getattr(member, "name", str(member))


__all__ = ["Inert", "RealSocket", "SimSocket", "attach", "sim_socketpair"]
