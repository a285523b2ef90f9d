"""Replaces a module's function, and every copy of it that other modules have imported."""

from __future__ import annotations

import sys
from types import ModuleType
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


def replace(module: ModuleType, name: str, replacement: Any) -> None:
    """Put ``replacement`` at ``module.name`` and at every module-level alias of what was there."""
    original = getattr(module, name, None)
    if original is None:
        return
    setattr(module, name, replacement)
    for other in list(sys.modules.values()):
        if str(getattr(other, "__name__", "")).startswith("toron."):
            continue
        for alias, value in list(getattr(other, "__dict__", {}).items()):
            if value is original:
                setattr(other, alias, replacement)
