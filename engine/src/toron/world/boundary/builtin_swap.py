"""Replaces what a C function does without replacing the function object.

`from time import monotonic` copies a reference; a class may hold `clock = time.monotonic`, which as
a Python function would begin to bind. So the object stays, and the C pointer in its method
definition (``PyMethodDef.ml_meth``) is pointed at a callback instead: every alias made before or
after sees virtual time, `datetime.now` of the C class included. (The technique of the time-machine
library, here by ctypes, because Toron has no compiled part.)

A callback must not raise: there is no way to hand an exception back through ctypes. Functions that
can raise are replaced by attribute instead.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

_METH_VARARGS, _METH_KEYWORDS, _METH_NOARGS, _METH_O, _METH_FASTCALL = 0x1, 0x2, 0x4, 0x8, 0x80
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_M_ML_OFFSET = object.__basicsize__
_ML_METH_OFFSET = _POINTER
_ML_FLAGS_OFFSET = 2 * _POINTER

_kept: list[Any] = []
"""Callbacks live as long as the process: C holds bare pointers to them."""

Replacement = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def swap(function: Any, replacement: Replacement) -> None:
    """Make the C function behind ``function`` call ``replacement(self, args, kwargs)``."""
    definition = ctypes.c_void_p.from_address(id(function) + _M_ML_OFFSET).value
    assert definition is not None
    flags = ctypes.c_int.from_address(definition + _ML_FLAGS_OFFSET).value
    callback = _callback(flags, replacement)
    _kept.append(callback)
    slot = ctypes.c_void_p.from_address(definition + _ML_METH_OFFSET)
    slot.value = ctypes.cast(callback, ctypes.c_void_p).value


def _callback(flags: int, replacement: Replacement) -> Any:
    py, size = ctypes.py_object, ctypes.c_ssize_t
    if flags & _METH_NOARGS:
        kind = ctypes.PYFUNCTYPE(py, py, ctypes.c_void_p)
        return kind(lambda this, _nothing: replacement(this, (), {}))
    if flags & _METH_O:
        kind = ctypes.PYFUNCTYPE(py, py, py)
        return kind(lambda this, argument: replacement(this, (argument,), {}))
    if flags & _METH_FASTCALL:
        vector = ctypes.POINTER(py)
        if not flags & _METH_KEYWORDS:
            kind = ctypes.PYFUNCTYPE(py, py, vector, size)
            return kind(lambda this, args, n: replacement(this, tuple(args[:n]), {}))

        def with_keywords(this: Any, args: Any, count: int, names_at: int | None) -> Any:
            names = () if not names_at else ctypes.cast(names_at, py).value
            keywords = {name: args[count + i] for i, name in enumerate(names)}
            return replacement(this, tuple(args[i] for i in range(count)), keywords)

        return ctypes.PYFUNCTYPE(py, py, vector, size, ctypes.c_void_p)(with_keywords)
    convention = flags & (_METH_VARARGS | _METH_KEYWORDS)
    assert convention == _METH_VARARGS, f"calling convention {flags:#x}"
    kind = ctypes.PYFUNCTYPE(py, py, ctypes.c_void_p)

    def with_tuple(this: Any, args_at: int | None) -> Any:
        return replacement(this, ctypes.cast(args_at, py).value if args_at else (), {})

    return kind(with_tuple)
