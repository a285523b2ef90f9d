"""Finds C libraries by name without starting `ldconfig`, for modules that are imported in a run.

`ctypes.util.find_library` asks other programs, which a simulated program may not start. Many
packages call it while they are imported (asyncssh, ifaddr); imported before the run, they get
CPython's own answer.
"""

from __future__ import annotations

import ctypes.util
from pathlib import Path

from toron.world.boundary.aliases import Stand, replace
from toron.world.boundary.refusals import Refusals
from toron.world.disk import real

_FOLDERS = ("lib", "usr/lib", "lib64", "usr/lib64", "usr/local/lib")
_MULTIARCH = ("x86_64-linux-gnu", "aarch64-linux-gnu")


def install(refusals: Refusals) -> None:
    """Answer from the usual folders while a run goes on."""
    original = ctypes.util.find_library

    def find_library(name: str) -> str | None:
        if not refusals.active:
            return original(name)
        refusals.active = False  # Toron looks, not the program
        try:
            return _search(name)
        finally:
            refusals.active = True

    replace(ctypes.util, "find_library", Stand(original, find_library))


def _search(name: str) -> str | None:
    """The shortest versioned name, as the cache of `ldconfig` lists it: ``libc.so.6``."""
    if not name or "/" in name:
        return None
    for folder in _FOLDERS:
        for path in (*(Path("/", folder, arch) for arch in _MULTIARCH), Path("/", folder)):
            found = [one for one in _listed(path) if one.startswith(f"lib{name}.so.")]
            if found:
                return min(found, key=_by_length)
    return None


def _listed(folder: Path) -> list[str]:
    """The names in a real folder; none when there is no such folder."""
    try:
        return real.listdir(folder)
    except FileNotFoundError:
        return []


def _by_length(name: str) -> tuple[int, str]:
    return len(name), name
