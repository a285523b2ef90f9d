"""Calls a function when a module is imported, and at once for one that is imported already.

For libraries that a program may or may not use: Toron imports none of them, and changes them only
once the program has.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Hook = Callable[[ModuleType], object]


class _Watcher:
    """A finder that finds nothing by itself: it lets the others find, and wraps the loader."""

    def __init__(self) -> None:
        self.hooks: dict[str, list[Hook]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a watched module, whose loader calls the hooks when it is done."""
        if name not in self.hooks:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self._wrap(spec, self.hooks.pop(name))
                return spec
        return None

    @staticmethod
    def _wrap(spec: importlib.machinery.ModuleSpec, hooks: list[Hook]) -> None:
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for hook in hooks:
                hook(module)

        loader.exec_module = exec_module


_watcher = _Watcher()


def when_imported(name: str, hook: Hook) -> None:
    """Call ``hook(module)`` once the module called ``name`` has been imported."""
    if _watcher not in sys.meta_path:
        sys.meta_path.insert(0, _watcher)
    module = sys.modules.get(name)
    if module is not None:
        hook(module)
    else:
        _watcher.hooks.setdefault(name, []).append(hook)
