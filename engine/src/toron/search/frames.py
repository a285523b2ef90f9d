"""Messages between the process that asks for executions and the ones that run them.

A frame is eight bytes of length and a JSON object. Plain pipes and `os` calls only: the same code
runs inside a process whose sockets, files and clocks are simulated.
"""

from __future__ import annotations

import json
import os
from typing import Any

LENGTH_BYTES = 8
FRAME_BYTES_MAX = 1 << 30


def write_frame(fd: int, message: dict[str, Any]) -> None:
    """Write one message, whole."""
    payload = json.dumps(message, separators=(",", ":")).encode("utf-8", "surrogatepass")
    view = memoryview(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
    while view:
        view = view[os.write(fd, view) :]


def read_exactly(fd: int, size: int) -> bytes:
    """``size`` bytes; EOFError when the other side is gone."""
    parts: list[bytes] = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError("the other side of the pipe is gone")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame(fd: int) -> dict[str, Any]:
    """Read one message; EOFError when the other side is gone."""
    size = int.from_bytes(read_exactly(fd, LENGTH_BYTES), "big")
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {size} bytes is not from a worker")
    message: dict[str, Any] = json.loads(read_exactly(fd, size))
    return message
