"""Replaces a module's function, and every copy of it that other modules have imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any


class Stand:
    """A callable put in place of a built-in function.

    Not a function on purpose: as a class attribute it must not bind, and neither did the built-in.
    """

    def __init__(self, original: Any, replacement: Any) -> None:
        self._replacement = replacement
        self.__wrapped__ = original
        self.__name__ = self.__qualname__ = getattr(original, "__name__", "?")
        self.__module__ = str(getattr(original, "__module__", "builtins"))

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._replacement(*arguments, **keywords)

    def __repr__(self) -> str:
        return f"<simulated {self.__module__}.{self.__name__}>"


_C_MODULES = ("_io",)
"""What C code looks into by itself: `open_code` of the import system takes `open` from there."""

_replaced: dict[int, tuple[Any, Any]] = {}
"""What was there by its identity, with what stands there now; kept alive, so that ids stay true."""


def replace(module: ModuleType, name: str, replacement: Any) -> None:
    """Put ``replacement`` at ``module.name``; `spread` puts it at the aliases of what was there."""
    original = getattr(module, name, None)
    if original is not None:
        setattr(module, name, replacement)
        _replaced[id(original)] = original, replacement


def spread() -> None:
    """Carry all replacements to every alias in a module, a class or a function's defaults.

    One walk over what is imported; what is imported later copies the replacements.
    """
    for imported_as, module in list(sys.modules.items()):
        if imported_as.startswith("toron.") or imported_as in _C_MODULES:
            continue
        for alias, value in list(_names_in(module).items()):
            known = _replaced.get(id(value))
            if known is not None:
                setattr(module, alias, known[1])
            elif isinstance(value, FunctionType):
                _spread_defaults(value)
            elif isinstance(value, type) and getattr(value, "__module__", "") == imported_as:
                _spread_class(value)


def _spread_class(cls: type) -> None:
    for name, value in list(type.__getattribute__(cls, "__dict__").items()):
        inner = value.__func__ if isinstance(value, staticmethod) else value
        known = _replaced.get(id(inner))
        if known is not None and not isinstance(inner, type):
            kept = staticmethod(known[1]) if inner is not value else known[1]
            type.__setattr__(cls, name, kept)
        elif isinstance(inner, FunctionType):
            _spread_defaults(inner)


def _spread_defaults(function: FunctionType) -> None:
    defaults, named = function.__defaults__, function.__kwdefaults__
    if defaults and any(id(value) in _replaced for value in defaults):
        function.__defaults__ = tuple(_now(value) for value in defaults)
    if named:
        named.update({name: _now(value) for name, value in named.items()})


def _now(value: Any) -> Any:
    known = _replaced.get(id(value))
    return value if known is None else known[1]


def _names_in(module: object) -> Mapping[str, Any]:
    """What stands in a module, past any ``__getattribute__`` of its own: some warn or import."""
    try:
        names: Mapping[str, Any] = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return names
