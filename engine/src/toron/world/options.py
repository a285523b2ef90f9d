"""Socket options: what was set, what Linux answers when nothing was, and which have an effect.

The effects themselves (buffers, keep-alive, sharing of ports, groups) belong to the kind of socket,
which looks here.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from toron.world.addresses import error

_SOL, _TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
_IP, _IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
BUFFER_MAX = 212_992
SO_DOMAIN, SO_PROTOCOL, SO_PEERCRED = 39, 38, 17
TCP_INFO_BYTES = 232
_ESTABLISHED, _CLOSE, _LISTEN = 1, 7, 10

DEFAULTS: dict[tuple[int, int], int] = {
    (_SOL, socket.SO_RCVBUF): 131_072,
    (_SOL, socket.SO_SNDBUF): 131_072,
    (_TCP, socket.TCP_KEEPIDLE): 7_200,
    (_TCP, socket.TCP_KEEPINTVL): 75,
    (_TCP, socket.TCP_KEEPCNT): 9,
    (_TCP, socket.TCP_MAXSEG): 536,
    (_TCP, socket.TCP_SYNCNT): 6,
    (_IP, socket.IP_TTL): 64,
    (_IP, socket.IP_MULTICAST_TTL): 1,
    (_IP, socket.IP_MULTICAST_LOOP): 1,
    (_IPV6, socket.IPV6_UNICAST_HOPS): 64,
    (_IPV6, socket.IPV6_MULTICAST_HOPS): 1,
    (_IPV6, socket.IPV6_MULTICAST_LOOP): 1,
}
_FLAGS = {
    (_SOL, socket.SO_REUSEADDR),
    (_SOL, socket.SO_REUSEPORT),
    (_SOL, socket.SO_KEEPALIVE),
    (_SOL, socket.SO_BROADCAST),
    (_SOL, socket.SO_OOBINLINE),
    (_TCP, socket.TCP_NODELAY),
    (_TCP, socket.TCP_QUICKACK),
    (_TCP, socket.TCP_CORK),
    (_IPV6, socket.IPV6_V6ONLY),
    (_IP, socket.IP_MULTICAST_LOOP),
    (_IPV6, socket.IPV6_MULTICAST_LOOP),
}
_BUFFERS = {(_SOL, socket.SO_RCVBUF): 2_304, (_SOL, socket.SO_SNDBUF): 4_608}
_READ_ONLY = {socket.SO_ERROR, socket.SO_TYPE, socket.SO_ACCEPTCONN, SO_DOMAIN, SO_PROTOCOL}


class Options:
    """The options of one socket."""

    __slots__ = ("_known", "_values")

    def __init__(self, family: int, kind: int) -> None:
        self._values: dict[tuple[int, int], Any] = {}
        self._known = _levels(family, kind)

    def copy_from(self, other: Options) -> None:
        """Begin with the options of ``other``, as an accepted connection does."""
        self._values = dict(other._values)

    def set(self, level: int, option: int, value: Any) -> None:
        """Remember an option; ENOPROTOOPT for what this kind of socket does not have."""
        self._check(level)
        key = (level, option)
        if level == _SOL and option in _READ_ONLY:
            raise error(errno.ENOPROTOOPT)
        if not isinstance(value, int):
            value = bytes(value) if value is not None else b""
            if len(value) == 4 and (key in _FLAGS or key in DEFAULTS):
                value = struct.unpack("i", value)[0]
        if key in _FLAGS and isinstance(value, int):
            value = int(bool(value))
        elif key in _BUFFERS and isinstance(value, int):
            value = max(_BUFFERS[key], 2 * min(value, BUFFER_MAX))
        self._values[key] = value

    def get(self, level: int, option: int) -> Any:
        """An option as it was set, else Linux's default."""
        self._check(level)
        key = (level, option)
        value = self._values.get(key)
        if value is None:
            value = bytes(8) if key == (_SOL, socket.SO_LINGER) else DEFAULTS.get(key, 0)
        return value

    def number(self, level: int, option: int) -> int:
        """An option as a number, whatever this kind of socket has."""
        value = self._values.get((level, option))
        if value is None:
            return DEFAULTS.get((level, option), 0)
        return value if isinstance(value, int) else int.from_bytes(value[:4], "little")

    def payload(self, level: int, option: int) -> bytes | None:
        """An option that is a structure, or None when it was not set."""
        value = self._values.get((level, option))
        return value if isinstance(value, bytes) else None

    def buffer(self, option: int) -> int | None:
        """The size of a buffer as the program asked for it, or None."""
        value = self._values.get((_SOL, option))
        return value // 2 if isinstance(value, int) else None

    def _check(self, level: int) -> None:
        if level not in self._known:
            raise error(errno.ENOPROTOOPT if level in (_IP, _IPV6) else errno.EOPNOTSUPP)


def tcp_info(*, listens: bool, is_open: bool) -> bytes:
    """A ``struct tcp_info`` that says the state; nothing else of it is simulated."""
    state = _LISTEN if listens else _ESTABLISHED if is_open else _CLOSE
    return bytes([state]) + bytes(TCP_INFO_BYTES - 1)


def packed(value: Any, size: int) -> Any:
    """The answer of ``getsockopt``: an int without a size, bytes of at most ``size`` with one."""
    if size == 0:
        return value if isinstance(value, int) else int.from_bytes(value[:4], "little")
    return (struct.pack("i", value) if isinstance(value, int) else value)[:size]


def _levels(family: int, kind: int) -> tuple[int, ...]:
    if family == socket.AF_UNIX:
        return (_SOL,)
    own = (_TCP,) if kind == socket.SOCK_STREAM else (socket.IPPROTO_UDP,)
    return (_SOL, _IP, *own) if family == socket.AF_INET else (_SOL, _IP, _IPV6, *own)
