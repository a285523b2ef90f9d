"""How events and notes about a stream are spelled, as Server-Sent Events and as NDJSON.

An event is encoded once, whoever reads it: the NDJSON line is a slice of the SSE frame, and a
multiplexed frame differs in its first line only. Notes (`gap`, `end`, `coalesced`, `drain`,
`auth-expired`) carry no id, so a viewer's place stays that of the last event that it saw.
"""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from testops.domain.event import Delivery, StoredEvent


class Encoding(Enum):
    """Which of the two a viewer reads."""

    SSE = "text/event-stream; charset=utf-8"
    NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event, ready to be sent."""

    seq: int
    delivery: Delivery
    key: str
    sse: bytes
    # Where the frame goes on after its id, and where the JSON in it begins.
    _id_ends: int
    _body_begins: int

    @property
    def line(self) -> bytes:
        """The NDJSON line: the body and one newline."""
        return self.sse[self._body_begins : -1]

    def sse_at(self, place: str) -> bytes:
        """The SSE frame with `place` as its id, for a stream of several runs."""
        return b"id: %s\n" % place.encode() + self.sse[self._id_ends :]


def frame_of(event: StoredEvent) -> Frame:
    """`event` as a frame. Its body is one line: a newline in it would end the frame early."""
    assert b"\n" not in event.body, event.seq
    assert b"\r" not in event.body, event.seq
    assert event.type.isprintable(), event.type
    first = b"id: %d\n" % event.seq
    head = first + b"event: %s\ndata: " % event.type.encode()
    return Frame(
        seq=event.seq,
        delivery=event.delivery,
        key=event.key,
        sse=b"%s%s\n\n" % (head, event.body),
        _id_ends=len(first),
        _body_begins=len(head),
    )


def opening(encoding: Encoding, retry_ms: int) -> bytes:
    """What a stream begins with: how long to wait before coming back."""
    return b"retry: %d\n\n" % retry_ms if encoding is Encoding.SSE else b""


def heartbeat(encoding: Encoding) -> bytes:
    """Says that the stream is alive: a comment in SSE, and in NDJSON a line without `seq`."""
    return b": ping\n\n" if encoding is Encoding.SSE else b'{"type":"heartbeat"}\n'


def note(encoding: Encoding, name: str, **facts: Any) -> bytes:
    """Something about the stream itself."""
    body = json.dumps({"type": name, **facts}, separators=(",", ":")).encode()
    if encoding is Encoding.NDJSON:
        return body + b"\n"
    return b"event: %s\ndata: %s\n\n" % (name.encode(), body)


def drain_note(encoding: Encoding, retry_ms: int) -> bytes:
    """The last words of a server that goes: come back after `retry_ms`."""
    told = note(encoding, "drain", retry_ms=retry_ms)
    return opening(encoding, retry_ms) + told
