"""Says where in the program something happened, alike on every machine.

A place is ``file:line in function`` with the file relative to the project, or to the library that
it belongs to. The program's own frames are preferred over a library's, a library's over Python's.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType

_TORON = str(Path(__file__).resolve().parent.parent) + os.sep
_STDLIB = str(Path(sysconfig.get_paths()["stdlib"]).resolve()) + os.sep
_STACK_MAX = 200
_RANK_OF_TORON = 3

_Frame = tuple[str, int, str]
"""File, line and function."""


class Places:
    """Names places relative to ``root``, the project of the program under test."""

    def __init__(self, root: Path) -> None:
        self._root = str(root.resolve()) + os.sep
        home = os.environ.get("HOME", "").rstrip(os.sep)
        self._ranks: dict[str, int] = {}
        known = [(str(root.resolve()), ""), (_STDLIB.rstrip(os.sep), "python/"), (home, "~/")]
        self._folders = [(folder, short) for folder, short in known if folder not in ("", os.sep)]

    def of_frame(self, frame: FrameType | None) -> str:
        """The innermost frame of the program on the stack of ``frame``."""
        return self._best(_stack_of(frame))

    def of_stack(self, frames: Sequence[FrameType]) -> str:
        """The innermost frame of the program in ``frames``, given innermost first."""
        return self._best(
            (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname) for frame in frames
        )

    def of_line(self, frame: FrameType, line: int) -> str:
        """A line of the function that ``frame`` executes."""
        code = frame.f_code
        return f"{self.name_of(code.co_filename)}:{line} in {code.co_qualname}"

    def is_followed(self, name: str) -> bool:
        """Whether a file is the program's or a library's, and not Python's or Toron's own."""
        return self.is_program(name) or self._is_library(name)

    def of_traceback(self, traceback: TracebackType | None) -> str:
        """The innermost frame of the program in ``traceback``."""
        stack: list[tuple[str, int, str]] = []
        while traceback is not None:
            code = traceback.tb_frame.f_code
            stack.append((code.co_filename, traceback.tb_lineno, code.co_qualname))
            traceback = traceback.tb_next
        return self._best(stack[::-1])

    def _best(self, stack: Iterable[_Frame]) -> str:
        """Choose from ``stack``, innermost frame first: the first one of the lowest rank."""
        best: _Frame | None = None
        least = _RANK_OF_TORON
        for frame in stack:
            rank = self._rank_of(frame[0])
            if rank < least:
                best, least = frame, rank
                if rank == 0:
                    break
        if best is None:
            return ""
        name, line, function = best
        return f"{self.name_of(name)}:{line} in {function}"

    def _rank_of(self, name: str) -> int:
        """0 for a file of the program, 1 of a library, 2 of Python; Toron's own come last."""
        rank = self._ranks.get(name)
        if rank is None:
            ranks = (self.is_program, self._is_library, self._is_outside_toron)
            rank = next((at for at, holds in enumerate(ranks) if holds(name)), _RANK_OF_TORON)
            self._ranks[name] = rank
        return rank

    def is_program(self, name: str) -> bool:
        """Whether a file is the project's own."""
        return name.startswith(self._root) and not self._is_installed(name)

    def _is_library(self, name: str) -> bool:
        return self._is_outside_toron(name) and (
            "site-packages" in name or not name.startswith(_STDLIB)
        )

    @staticmethod
    def _is_outside_toron(name: str) -> bool:
        return not name.startswith(_TORON) and not name.startswith("<")

    @staticmethod
    def _is_installed(name: str) -> bool:
        return name.startswith((_TORON, _STDLIB)) or "site-packages" in name

    def path_of(self, path: str) -> str:
        """A path without what differs between machines: relative to the project or the home."""
        marker = f"site-packages{os.sep}"
        if marker in path:
            return path[path.index(marker) :]
        for folder, short in self._folders:
            if path == folder or path.startswith(folder + os.sep):
                return short + path.removeprefix(folder).lstrip(os.sep)
        return path

    def name_of(self, name: str) -> str:
        """A file's name without what differs between machines."""
        marker = f"site-packages{os.sep}"
        if marker in name:
            return name[name.index(marker) :]
        if name.startswith(_STDLIB):
            return "python/" + name.removeprefix(_STDLIB)
        if name.startswith(self._root):
            return name.removeprefix(self._root)
        return Path(name).name


def _stack_of(frame: FrameType | None) -> Iterator[_Frame]:
    """The frames that called each other, innermost first, as far as anybody needs them."""
    for _ in range(_STACK_MAX):
        if frame is None:
            return
        code = frame.f_code
        yield code.co_filename, frame.f_lineno, code.co_qualname
        frame = frame.f_back
