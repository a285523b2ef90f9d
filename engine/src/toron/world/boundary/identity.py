"""Hashes plain objects by the order in which they were first hashed, not by where they lie.

A set of objects without a `__hash__` of their own iterates in the order of their addresses. anyio
cancels its child scopes in that order, aiormq pops futures by it, websockets broadcasts by it; the
order differs between machines, builds and even checkouts in paths of another length. Giving the
classes of the program a hash that counts makes such sets iterate alike everywhere, and changes no
meaning: equality stays identity.

Out of reach stay classes without weak references (`__slots__` without `__weakref__`), built-in
types such as functions, and classes made during the run. Objects that exist before the run keep
the hash under which they may already be filed.
"""

from __future__ import annotations

import functools
import gc
import itertools
import weakref
from typing import Any

_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8

_counter = itertools.count(1)
_numbers: dict[int, int] = {}
_watchers: dict[int, weakref.ref[Any]] = {}


def install() -> None:
    """Give every class that hashes by address a hash that counts. Call after the imports."""
    patched = set()
    for cls in _all_classes():
        if _hashes_by_address(cls):
            # Through `type`: a metaclass may guard its classes against attributes (enum, ctypes).
            type.__setattr__(cls, "__hash__", identity_hash)
    for cls in _all_classes():
        if _attribute(cls, "__hash__") is identity_hash:
            patched.add(cls)
    gc.unfreeze()  # what a program has frozen is not listed, and would lose its place in its sets
    for thing in gc.get_objects():
        if type(thing) in patched:
            _file(thing, object.__hash__(thing))


def identity_hash(self: object) -> int:
    """The number of this object: 1 for the first that was ever hashed, and so on."""
    number = _numbers.get(id(self))
    if number is None:
        number = next(_counter)
        _file(self, number)
    return number


def _file(thing: object, number: int) -> None:
    key = id(thing)
    _numbers[key] = number
    _watchers[key] = weakref.ref(thing, functools.partial(_forget, key))


def _forget(key: int, _watcher: object) -> None:
    del _numbers[key]
    del _watchers[key]


def _all_classes() -> list[type]:
    """Every class that exists, bases before the classes derived from them."""
    found: dict[type, None] = {}
    waiting: list[type] = [object]
    while waiting:
        cls = waiting.pop()
        if cls not in found:
            found[cls] = None
            # `type.__subclasses__` and not the method: a metaclass has an unbound one of its own.
            waiting.extend(type.__subclasses__(cls))
    return list(found)


def _hashes_by_address(cls: type) -> bool:
    flags = cls.__flags__
    if not flags & _HEAP_TYPE or flags & _IMMUTABLE_TYPE or issubclass(cls, type):
        return False
    if _attribute(cls, "__hash__") is not object.__hash__:
        return False
    if _attribute(cls, "__eq__") is not object.__eq__:
        return False
    if getattr(cls, "_is_protocol", False):
        return False  # every attribute of a protocol class is a member that others must have
    return cls.__weakrefoffset__ != 0


def _attribute(cls: type, name: str) -> object:
    """Past any ``__getattribute__`` of the metaclass: the one of ``typing.re`` warns."""
    value: object = type.__getattribute__(cls, name)
    return value
