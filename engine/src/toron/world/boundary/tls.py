"""Makes TLS handshakes reproducible where OpenSSL lets one: chance, tickets and the time of day.

asyncio's TLS runs unmodified on simulated sockets. What would move between two processes lies in
the C library: its random numbers, session tickets that embed the real clock, and the clock by which
certificates are valid. All three are reached through the libcrypto and libssl that `_ssl` itself
has loaded; a build that hides their symbols is left alone, and the trace says so. Libraries with an
OpenSSL of their own inside (the wheels of `cryptography`) are the business of `pyca`.
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
from typing import Any

from toron.core.clock import SECOND_NS
from toron.errors import EscapeError
from toron.world.boundary.clocks import ClockSource
from toron.world.boundary.entropy import EntropySource

_CONTEXT_OFFSET = object.__basicsize__
"""Where a `_ssl._SSLContext` keeps its ``SSL_CTX *``: first after the object's head."""
_FILL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_ubyte), ctypes.c_int)
_SEED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_ADD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_double)
_CLEANUP = ctypes.CFUNCTYPE(None)
_STATUS = ctypes.CFUNCTYPE(ctypes.c_int)
_SYMBOLS = (
    "RAND_set_rand_method",
    "SSL_CTX_get0_param",
    "SSL_CTX_set_num_tickets",
    "X509_VERIFY_PARAM_set_time",
)
_kept: list[Any] = []
"""What C holds bare pointers to."""


class _RandMethod(ctypes.Structure):
    """OpenSSL's ``RAND_METHOD``."""

    _fields_ = (
        ("seed", _SEED),
        ("bytes", _FILL),
        ("cleanup", _CLEANUP),
        ("add", _ADD),
        ("pseudorand", _FILL),
        ("status", _STATUS),
    )


def install(clocks: ClockSource, entropy: EntropySource) -> str:
    """Take over OpenSSL's chance and time; return why not, or nothing."""
    _refuse_sockets()
    library = ctypes.CDLL(_ssl.__file__)
    missing = [name for name in _SYMBOLS if not hasattr(library, name)]
    if missing:
        return f"OpenSSL hides {', '.join(missing)}: bytes of TLS differ between processes"
    _seed_chance(library, entropy)
    _steer_contexts(library, clocks)
    return ""


def _seed_chance(library: Any, entropy: EntropySource) -> None:
    def fill(buffer: Any, count: int) -> int:
        if count > 0:
            ctypes.memmove(buffer, entropy.bytes(count), count)
        return 1

    filled = _FILL(fill)
    method = _RandMethod(
        _SEED(lambda _buffer, _count: 1),
        filled,
        _CLEANUP(lambda: None),
        _ADD(lambda _buffer, _count, _entropy: 1),
        filled,
        _STATUS(lambda: 1),
    )
    _kept.append(method)
    library.RAND_set_rand_method(ctypes.byref(method))


def _steer_contexts(library: Any, clocks: ClockSource) -> None:
    """No tickets, and certificates judged by the virtual clock."""
    library.SSL_CTX_get0_param.restype = ctypes.c_void_p
    library.SSL_CTX_get0_param.argtypes = (ctypes.c_void_p,)
    library.SSL_CTX_set_num_tickets.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    library.X509_VERIFY_PARAM_set_time.argtypes = (ctypes.c_void_p, ctypes.c_long)
    make, wrap = ssl.SSLContext.__new__, ssl.SSLContext.wrap_bio

    def new(cls: Any, *arguments: Any, **options: Any) -> ssl.SSLContext:
        context: ssl.SSLContext = make(cls, *arguments, **options)
        context.options |= ssl.OP_NO_TICKET
        library.SSL_CTX_set_num_tickets(_pointer(context), 0)
        return context

    def wrap_bio(self: ssl.SSLContext, *arguments: Any, **options: Any) -> ssl.SSLObject:
        parameters = library.SSL_CTX_get0_param(_pointer(self))
        library.X509_VERIFY_PARAM_set_time(parameters, clocks.wall() // SECOND_NS)
        return wrap(self, *arguments, **options)

    ssl.SSLContext.__new__ = new  # type: ignore[assignment]
    ssl.SSLContext.wrap_bio = wrap_bio  # type: ignore[method-assign]


def _pointer(context: ssl.SSLContext) -> int | None:
    return ctypes.c_void_p.from_address(id(context) + _CONTEXT_OFFSET).value


def _refuse_sockets() -> None:
    def wrap_socket(self: ssl.SSLContext, *_arguments: Any, **_options: Any) -> ssl.SSLSocket:
        raise EscapeError(
            "SSLContext.wrap_socket() lets OpenSSL read and write the descriptor in C; "
            "use asyncio's ssl= or start_tls, or SSLContext.wrap_bio"
        )

    ssl.SSLContext.wrap_socket = wrap_socket  # type: ignore[method-assign]
