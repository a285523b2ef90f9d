"""`socket.socket` of the simulated world: the same class to a program, another kernel behind it.

Each simulated socket holds an inert real descriptor (a unix datagram socket that is never bound),
so that `fileno` and `fcntl` work on it and no number is used twice; no byte ever goes through it.
What a descriptor refers to is a `Description`, which `dup`, `detach` and `fromfd` share.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

from toron.core.baton import Ready
from toron.core.process import Process
from toron.core.selector import Descriptors
from toron.errors import EscapeError
from toron.world.addresses import error
from toron.world.descriptions import Description, Received
from toron.world.network import Network
from toron.world.options import packed
from toron.world.tcp import connected_pair
from toron.world.tcp_sockets import TcpSocket
from toron.world.udp import UdpSocket
from toron.world.unix import UnixDatagram, UnixStream

RealSocket = socket.socket
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_SIMULATED = "TCP, UDP and unix sockets (streams and datagrams) are"
_ERROR_QUEUE = 0x2000


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


def inert_descriptor() -> int:
    """A new descriptor number with nothing behind it."""
    return Inert(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK).detach()


def description_at(fd: int) -> Description | None:
    """The simulated socket to which ``fd`` refers, or None when it is none."""
    found = _network().descriptors.get(fd)
    return found if isinstance(found, Description) else None


def duplicate_descriptor(fd: int) -> int:
    """What ``dup`` does: another descriptor of the same simulated socket."""
    description = description_at(fd)
    if description is None:
        raise EscapeError("dup() of a descriptor of the real world")
    other = inert_descriptor()
    description.open_at(other)
    return other


def close_descriptor(fd: int) -> bool:
    """Close a detached descriptor; say whether it was a simulated socket's."""
    description = description_at(fd)
    if description is None:
        return False
    description.close_at(fd)
    os.close(fd)
    return True


def _describe(network: Network, family: int, kind: int, proto: int) -> Description:
    """A new description of the kind that was asked for; anything else is refused by name."""
    if family in _INTERNET and kind == socket.SOCK_STREAM and proto in (0, 6):
        return TcpSocket(network, family, proto)
    if family in _INTERNET and kind == socket.SOCK_DGRAM and proto in (0, 17):
        return UdpSocket(network, family, proto)
    if family == socket.AF_UNIX and kind == socket.SOCK_STREAM:
        return UnixStream(network, proto)
    if family == socket.AF_UNIX and kind == socket.SOCK_DGRAM:
        return UnixDatagram(network, proto)
    raise EscapeError(
        f"socket({_name(socket.AddressFamily, family)}, {_name(socket.SocketKind, kind)}) is not "
        f"simulated by this version of Toron; {_SIMULATED}"
    )


class SimSocket(RealSocket):
    """A socket whose kernel is simulated."""

    def __init__(
        self,
        family: int = -1,
        type: int = -1,  # noqa: A002  (the standard library's name)
        proto: int = -1,
        fileno: int | None = None,
        *,
        _file: Description | None = None,
    ) -> None:
        network = _network()
        plain_type = socket.SOCK_STREAM if type == -1 else type
        plain_type &= ~(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if fileno is not None:
            _file, fd = _adopted(fileno), fileno
        else:
            family = socket.AF_INET if family == -1 else family
            proto = 0 if proto == -1 else proto
            if _file is None:
                _file = _describe(network, family, plain_type, proto)
            fd = inert_descriptor()
            _file.open_at(fd)
        super().__init__(_file.family, _file.kind, _file.proto, fileno=fd)
        self._file = _file
        self._process: Process = _file.process
        self._net = network
        self._descriptors: Descriptors = network.descriptors
        self._fd = fd
        self._timeout: float | None = socket.getdefaulttimeout()
        if type != -1 and type & socket.SOCK_NONBLOCK:
            self._timeout = 0.0

    # Readiness

    def readable(self) -> bool:
        """Whether reading, or accepting, would not block."""
        return self._file.readable()

    def writable(self) -> bool:
        """Whether writing would not block."""
        return self._file.writable()

    def _must_be_open(self) -> None:
        if self._fd < 0:
            raise error(errno.EBADF)

    def _wait(self, call: str, ready: Ready, flags: int, until_ns: int | None) -> int | None:
        """Let a blocking call wait, until the same time however often it has to.

        EAGAIN for one that may not wait, TimeoutError when the socket's timeout has passed.
        """
        if self._timeout == 0.0 or flags & socket.MSG_DONTWAIT:
            raise error(errno.EAGAIN)
        if until_ns is None and self._timeout is not None:
            until_ns = self._net.clock.after(self._timeout)
        if not self._net.baton.wait(ready, until_ns, f"socket.{call}"):
            raise TimeoutError("timed out")
        self._must_be_open()
        return until_ns

    # Names and options

    def bind(self, address: Any) -> None:
        """Take an address."""
        self._must_be_open()
        self._file.bind(self._file.parse(address, "bind"))

    def listen(self, backlog: int = 128) -> None:
        """Start to accept connections."""
        self._must_be_open()
        self._file.listen(backlog)

    def getsockname(self) -> Any:
        """The local address."""
        self._must_be_open()
        return self._file.name()

    def getpeername(self) -> Any:
        """The remote address; ENOTCONN without one."""
        self._must_be_open()
        return self._file.peer_name()

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        """Set an option; the system's error for one that this kind of socket does not have."""
        self._must_be_open()
        self._file.set_option(level, option, value[0])

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        """An option as it was set, else Linux's default."""
        self._must_be_open()
        return packed(self._file.get_option(level, option), size)

    def setblocking(self, flag: bool) -> None:
        """Remember the mode."""
        self.settimeout(None if flag else 0.0)

    def settimeout(self, value: float | None) -> None:
        """Remember the timeout."""
        self._must_be_open()
        if value is not None:
            value = float(value)
            if value < 0:
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
        """Connect, or begin to: EINPROGRESS, then writable, as a non-blocking socket does."""
        self._must_be_open()
        file = self._file
        target = file.parse(address, "connect")
        until_ns: int | None = None
        while True:
            try:
                file.connect(target)
            except BlockingIOError as waits:
                if self._timeout == 0.0:
                    raise
                until_ns = self._wait("connect", file.writable, 0, until_ns)
                if waits.errno != errno.EAGAIN:
                    break
            else:
                return
        number = file.take_error()
        if number:
            raise error(number)

    def connect_ex(self, address: Any) -> int:
        """Like `connect`, with the error number as the answer."""
        try:
            self.connect(address)
        except (EscapeError, socket.gaierror):
            raise
        except OSError as failed:
            return failed.errno or 0
        return 0

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection."""
        self._must_be_open()
        until_ns: int | None = None
        while True:
            try:
                file, address = self._file.accept()
            except BlockingIOError:
                until_ns = self._wait("accept", self._file.readable, 0, until_ns)
            else:
                return SimSocket(self.family, self.type, self.proto, _file=file), address

    def shutdown(self, how: int) -> None:
        """Half close."""
        self._must_be_open()
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise error(errno.EINVAL)
        self._file.shutdown(how)

    def _real_close(self, *arguments: Any) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._file.close_at(fd)
        super()._real_close(*arguments)  # type: ignore[misc]

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            # As the system does for a descriptor that a program forgot: the peer sees the end.
            fd, self._fd = self._fd, -1
            self._file.close_at(fd)
        super().__del__()  # type: ignore[misc]

    def detach(self) -> int:
        """Give the descriptor away; `socket.socket(fileno=...)` adopts it again."""
        self._fd = -1
        return super().detach()

    def dup(self) -> SimSocket:
        """Another socket object for the same connection."""
        self._must_be_open()
        other = self.__class__(fileno=duplicate_descriptor(self._fd))
        other.settimeout(self._timeout)
        return other

    # Bytes

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as much as there is room for."""
        self._must_be_open()
        payload = bytes(data) if not isinstance(data, memoryview) else data.tobytes()
        until_ns: int | None = None
        while True:
            try:
                return self._file.send(payload)
            except BlockingIOError:
                until_ns = self._wait("send", self._file.writable, flags, until_ns)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything."""
        payload = memoryview(data).cast("B")
        if not payload:
            self.send(b"", flags)
        while payload:
            payload = payload[self.send(payload, flags) :]

    def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: Any = None,
    ) -> int:
        """Gather and send; descriptors do not travel."""
        for level, kind, _ in ancdata:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                raise EscapeError(
                    "sendmsg() with SCM_RIGHTS: descriptors do not travel between simulated "
                    "processes; send the address and let the other side connect"
                )
        payload = b"".join(bytes(part) for part in buffers)
        return (
            self.send(payload, flags) if address is None else self.sendto(payload, flags, address)
        )

    def sendto(self, data: Any, *arguments: Any) -> int:
        """Send to an address: ``sendto(data, address)`` or ``sendto(data, flags, address)``."""
        self._must_be_open()
        if not 1 <= len(arguments) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({1 + len(arguments)} given)")
        flags, address = (0, arguments[0]) if len(arguments) == 1 else arguments
        if address is None:
            return self.send(data, flags)
        payload = bytes(data) if not isinstance(data, memoryview) else data.tobytes()
        target = self._file.parse(address, "sendto")
        until_ns: int | None = None
        while True:
            try:
                return self._file.send_to(payload, target)
            except BlockingIOError:
                until_ns = self._wait("sendto", self._file.writable, flags, until_ns)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Take up to ``size`` bytes."""
        if self._fd < 0:
            raise error(errno.EBADF)
        if size < 0:
            raise ValueError("negative buffersize in recv")
        if flags:
            return self._receive_from(size, flags, "recv")[0]
        until_ns: int | None = None
        while True:
            try:
                return self._file.receive(size, False)
            except BlockingIOError:
                until_ns = self._wait("recv", self._file.readable, 0, until_ns)

    def _receive(self, size: int, flags: int) -> Received:
        if flags & _ERROR_QUEUE:
            raise error(errno.EAGAIN)  # nothing is ever queued there
        if flags & socket.MSG_OOB:
            raise error(errno.EINVAL)  # no urgent byte is pending
        return self._file.receive_from(size, bool(flags & socket.MSG_PEEK))

    def _receive_from(self, size: int, flags: int, call: str) -> Received:
        self._must_be_open()
        if size < 0:
            raise ValueError(f"negative buffersize in {call}")
        until_ns: int | None = None
        while True:
            try:
                return self._receive(size, flags)
            except BlockingIOError:
                if flags & _ERROR_QUEUE:
                    raise
                until_ns = self._wait(call, self._file.readable, flags, until_ns)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Take bytes into ``buffer``."""
        view = memoryview(buffer).cast("B")
        payload = self.recv(_room(view, nbytes), flags)
        view[: len(payload)] = payload
        return len(payload)

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        """Take bytes, and where they are from."""
        payload, address, _, _ = self._receive_from(size, flags, "recvfrom")
        return payload, address

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Take bytes into ``buffer``, and where they are from."""
        view = memoryview(buffer).cast("B")
        payload, address = self.recvfrom(_room(view, nbytes), flags)
        view[: len(payload)] = payload
        return len(payload), address

    def recvmsg(self, size: int, ancillary: int = 0, flags: int = 0) -> tuple[Any, ...]:
        """Take bytes, control messages if there is room for them, flags and the sender."""
        payload, address, found, control = self._receive_from(size, flags, "recvmsg")
        return payload, control if ancillary else [], found, address

    def recvmsg_into(
        self, buffers: Iterable[Any], ancillary: int = 0, flags: int = 0
    ) -> tuple[Any, ...]:
        """Take bytes into the buffers, one after the other."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        payload, *rest = self.recvmsg(sum(map(len, views)), ancillary, flags)
        left = payload
        for view in views:
            view[: len(left)] = left[: len(view)]
            left = left[len(view) :]
        return len(payload), *rest

    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        # The system call would read and write real descriptors.
        raise socket._GiveupOnSendfile  # type: ignore[attr-defined]


def _room(view: memoryview, nbytes: int) -> int:
    if nbytes < 0:
        raise ValueError("negative buffersize in recv_into")
    if nbytes > len(view):
        raise ValueError("buffer too small for requested bytes")
    return nbytes or len(view)


def _adopted(fd: int) -> Description:
    """What stands behind a descriptor that a program hands to `socket.socket(fileno=...)`."""
    if isinstance(fd, float):
        raise TypeError("integer argument expected, got float")
    if fd < 0:
        raise ValueError("negative file descriptor")
    description = description_at(fd)
    if description is None:
        os.fstat(fd)  # EBADF when there is no such descriptor at all
        raise EscapeError("socket(fileno=...) adopts a descriptor of the real world")
    return description


def sim_socketpair(
    family: int | None = None,
    type: int = socket.SOCK_STREAM,  # noqa: A002  (the standard library's name)
    proto: int = 0,
) -> tuple[SimSocket, SimSocket]:
    """Two connected unix sockets on the current host."""
    network = _network()
    process = network.current_process()
    if family not in (None, socket.AF_UNIX):
        raise error(errno.EOPNOTSUPP)
    kind = type & ~(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    files: list[Description]
    if kind == socket.SOCK_STREAM:
        first, second = connected_pair(network, process, "socketpair")
        files = [UnixStream(network, proto, end=first), UnixStream(network, proto, end=second)]
    elif kind == socket.SOCK_DGRAM:
        left, right = UnixDatagram(network, proto), UnixDatagram(network, proto)
        left.peer, right.peer = right, left
        files = [left, right]
    else:
        raise EscapeError(
            f"socketpair({_name(socket.SocketKind, kind)}) is not simulated by this version of "
            f"Toron; {_SIMULATED}"
        )
    one, other = (SimSocket(socket.AF_UNIX, type, proto, _file=file) for file in files)
    return one, other


def sim_fromfd(fd: int, family: int, type: int, proto: int = 0) -> SimSocket:  # noqa: A002
    """A socket object for a duplicate of ``fd``."""
    if description_at(fd) is None:
        raise EscapeError("socket.fromfd() adopts a descriptor of the real world")
    return SimSocket(family, type, proto, fileno=duplicate_descriptor(fd))


def _name(kind: Any, number: int) -> str:
    try:
        return str(kind(number).name)
    except ValueError:
        return str(number)


__all__ = ["Inert", "RealSocket", "SimSocket", "attach", "sim_socketpair"]
