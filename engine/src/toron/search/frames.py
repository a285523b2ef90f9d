"""Messages between the process that asks for executions and the ones that run them.

A frame is eight bytes of length and a JSON object. Plain pipes and `os` calls only: the same code
runs inside a process whose sockets, files and clocks are simulated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

LENGTH_BYTES = 8
FRAME_BYTES_MAX = 1 << 30


class FrameCut(EOFError):
    """The other side died in the middle of a message."""


def frame_of(message: dict[str, Any]) -> bytes:
    """One message as it goes over the pipe."""
    payload = json.dumps(message, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def write_frame(fd: int, message: dict[str, Any]) -> None:
    """Write one message, whole."""
    view = memoryview(frame_of(message))
    while view:
        view = view[os.write(fd, view) :]


def read_exactly(fd: int, size: int, wait: Callable[[], None] | None = None) -> Iterator[bytes]:
    """``size`` bytes in parts; EOFError when the other side is gone.

    ``wait`` is called before each read, and raises when there is nothing to wait for any more.
    """
    while size:
        if wait is not None:
            wait()
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError("the other side of the pipe is gone")
        yield part
        size -= len(part)


def read_frame(fd: int, wait: Callable[[], None] | None = None) -> dict[str, Any]:
    """Read one message; EOFError when the other side is gone.

    A process that is killed while it writes leaves half a message, and the next one in the pipe is
    of its parent. JSON holds no NUL byte and every length begins with one, so a NUL inside of a
    payload is that next message: FrameCut.
    """
    size = int.from_bytes(b"".join(read_exactly(fd, LENGTH_BYTES, wait)), "big")
    if not 0 < size <= FRAME_BYTES_MAX:
        raise FrameCut(f"a frame of {size} bytes is not from a worker")
    parts: list[bytes] = []
    for part in read_exactly(fd, size, wait):
        if b"\0" in part:
            raise FrameCut("a message ends in the middle")
        parts.append(part)
    message: dict[str, Any] = json.loads(b"".join(parts))
    return message
