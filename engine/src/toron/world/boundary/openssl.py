"""Seeded chance inside OpenSSL, which does not ask Python for it.

A TLS handshake draws its secrets in C. Until version 4 OpenSSL lets a program put a source of its
own in place (``RAND_set_rand_method``), for the library's default context: the copy of libcrypto
that Python's `ssl` uses, and no other (the `cryptography` package has its own inside).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_Fill = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_Status = ctypes.CFUNCTYPE(ctypes.c_int)
_Seed = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_Add = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_double)


class _Method(ctypes.Structure):
    """``RAND_METHOD`` of <openssl/rand.h>."""

    _fields_ = (
        ("seed", _Seed),
        ("bytes", _Fill),
        ("cleanup", ctypes.c_void_p),
        ("add", _Add),
        ("pseudorand", _Fill),
        ("status", _Status),
    )


_kept: list[object] = []
"""OpenSSL holds a bare pointer to the method: it lives as long as the process."""


def install(draw: Callable[[int], bytes]) -> bool:
    """Make OpenSSL draw its chance from ``draw``; False where it cannot be done."""
    try:
        import _ssl
    except ImportError:
        return False
    # Python's extension, not a libcrypto by name: its symbols are those of the copy it links to.
    library = ctypes.CDLL(getattr(_ssl, "__file__", None))
    set_method = getattr(library, "RAND_set_rand_method", None)
    if set_method is None:
        return False

    def fill(buffer: int, count: int) -> int:
        if count > 0:
            ctypes.memmove(buffer, draw(count), count)
        return 1

    method = _Method(
        seed=_Seed(lambda _buffer, _count: 1),
        bytes=_Fill(fill),
        cleanup=None,
        add=_Add(lambda _buffer, _count, _entropy: 1),
        pseudorand=_Fill(fill),
        status=_Status(lambda: 1),
    )
    _kept.append(method)
    set_method.argtypes = [ctypes.POINTER(_Method)]
    return bool(set_method(ctypes.byref(method)))
