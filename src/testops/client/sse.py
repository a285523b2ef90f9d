"""Reads a stream of Server-Sent Events as it arrives, in whatever pieces. No I/O.

It follows the HTML standard: a line may end in CR, LF or both, a comment says nothing, and an event
whose blank line never came does not exist. One thing is ours: an event has a size that it may have.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from testops.domain.errors import TestOpsError

EVENT_BYTES_MAX = 16 << 20
_BOM = b"\xef\xbb\xbf"


class StreamBroken(TestOpsError):
    """What arrives is not a stream of ours; coming back may help."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event. `id` is the place to come back to: the last id told, here or before."""

    event: str
    data: bytes
    id: str | None


@dataclass(frozen=True, slots=True)
class Retry:
    """The server says how long to wait before coming back."""

    after_s: float


class Parser:
    """Feed it bytes, get what they said; one for each connection."""

    def __init__(self, last_id: str | None = None) -> None:
        self._last_id = last_id
        self._rest = b""
        self._begun = False
        self._after_cr = False
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[Message | Retry]:
        """What `piece` completes. `StreamBroken` when an event does not end."""
        for line in self._lines(piece):
            told = self._line(line)
            if told is not None:
                yield told
        if len(self._rest) + self._size > EVENT_BYTES_MAX:
            raise StreamBroken(f"one event has more than {EVENT_BYTES_MAX} bytes")

    def _lines(self, piece: bytes) -> list[bytes]:
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        text = self._rest + piece
        if not self._begun:
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._rest = text
                return []
            self._begun = True
            text = text.removeprefix(_BOM)
        if b"\r" in text:
            # The LF of this CR may be in the next piece.
            self._after_cr = text.endswith(b"\r")
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = text.split(b"\n")
        return lines

    def _line(self, line: bytes) -> Message | Retry | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
                self._size += len(value)
            case b"event":
                self._event = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._last_id = value.decode("utf-8", "replace") or None
            case b"retry" if value.isdigit() and len(value) < 10:
                return Retry(int(value) / 1000)
        return None

    def _dispatch(self) -> Message | None:
        event, data = self._event or "message", self._data
        self._event, self._data, self._size = "", [], 0
        return Message(event, b"\n".join(data), self._last_id) if data else None
