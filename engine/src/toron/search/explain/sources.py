"""The line of code behind a place of a trace."""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
from pathlib import Path

_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+) in (?P<function>.*)")
_INSTALLED = "site-packages/"
_OF_PYTHON = "python/"


class Sources:
    """Reads lines of the program whose names are relative to ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def code(self, place: str) -> str:
        """The line at ``place``, stripped; empty when its file is not here."""
        match = _PLACE.fullmatch(place)
        path = None if match is None else self._path(match["file"])
        if match is None or path is None:
            return ""
        number = int(match["line"])
        code = linecache.getline(str(path), number).strip()
        while code.startswith("@"):  # a function begins at its decorators
            number += 1
            code = linecache.getline(str(path), number).strip()
        return code

    def _path(self, name: str) -> Path | None:
        if name.startswith(_OF_PYTHON):
            found = [Path(sysconfig.get_paths()["stdlib"]) / name.removeprefix(_OF_PYTHON)]
        elif name.startswith(_INSTALLED):
            rest = name.removeprefix(_INSTALLED)
            found = [Path(folder) / rest for folder in sys.path if "site-packages" in folder]
        else:
            found = [self._root / name]
        return next((path for path in found if path.is_file()), None)


def short_place(place: str) -> str:
    """``file.py:12`` of ``folder/file.py:12 in function``; nothing for Python's own code."""
    match = _PLACE.fullmatch(place)
    if match is None or is_pythons(place):
        return ""
    return f"{match['file'].rpartition('/')[2]}:{match['line']}"


def is_pythons(place: str) -> bool:
    """Whether a place is in Python itself, where no line of the program stood."""
    return place.startswith(_OF_PYTHON)
