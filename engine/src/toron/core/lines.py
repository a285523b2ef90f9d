"""Follows the program line by line, with the plain values it computes.

Only used to explain a difference between two executions: the trace says which event came out
otherwise, but a value is often wrong long before it shows. Line events stand in the list of events
between the others and are never hashed, so the digest is the one of an execution without them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from toron.core.trace import Trace
from toron.core.values import brief

_PLAIN = (bool, int, float, str, bytes, list, tuple, dict, type(None))


class LineRecorder:
    """Records each line of the program, and of its libraries, that changed a local variable."""

    def __init__(self, trace: Trace, follows: Callable[[str], bool]) -> None:
        self._trace = trace
        self._follows = follows
        self._known: dict[str, bool] = {}

    def start(self) -> None:
        """Follow everything that is called from now on in this thread."""
        sys.settrace(self._on_call)

    @staticmethod
    def stop() -> None:
        """Follow no more."""
        sys.settrace(None)

    def _on_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        follows = self._known.get(name)
        if follows is None:
            follows = self._known[name] = self._follows(name)
        if not follows or self._trace.is_full():
            return None
        return _Frame(self._trace).on_line


class _Frame:
    """What is known of one frame since it was last entered."""

    __slots__ = ("_line", "_trace", "_values")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._values: dict[str, str] = {}
        self._line = 0

    def on_line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event not in ("line", "return"):
            return self.on_line
        changes = []
        for name, value in frame.f_locals.items():
            if type(value) in _PLAIN:
                text = brief(value)
                if self._values.get(name) != text:
                    self._values[name] = text
                    changes.append(f"{name} = {text}")
        if changes:
            self._trace.note_line(", ".join(changes), frame, self._line or frame.f_lineno)
        self._line = frame.f_lineno
        return self.on_line
