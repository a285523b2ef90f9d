"""Many viewers of one stream in one process: some measure, the rest only take what comes.

Python cannot note the arrival of 100,000 events a second on the core that the server leaves free,
so only every tenth viewer looks at what it reads. The others empty their sockets ten times a
second, which costs the server what any viewer does, and count what they got. Prints one JSON object
when its standard input ends.
"""

import argparse
import contextlib
import json
import os
import re
import selectors
import socket
import sys
import time

_DUE = re.compile(rb'"due":(\d+),"n":(\d+)')


class Viewer:
    """One socket, and the end of what it read that may go on."""

    def __init__(self, port: int, path: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        head = f"GET {path} HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n"
        self.sock.sendall(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.sock.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"no stream: {answer[:200]!r}")
        self.rest = answer.partition(b"\r\n\r\n")[2]
        self.sock.setblocking(False)

    def read(self) -> bytes:
        try:
            return self.sock.recv(1 << 18)
        except BlockingIOError:
            return b""


def measure(viewers: list[Viewer], skip: int) -> dict[str, object]:
    """How late each event was, from the moment at which it was due."""
    selector = selectors.DefaultSelector()
    for viewer in viewers:
        selector.register(viewer.sock, selectors.EVENT_READ, viewer)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    late: list[int] = []
    while True:
        for key, _ in selector.select():
            if key.data is None:
                return {"late_ns": late}
            reading: Viewer = key.data
            piece = reading.read()
            now = time.monotonic_ns()
            text = reading.rest + piece
            end = 0
            for found in _DUE.finditer(text):
                end = found.end()
                if int(found[2]) >= skip:
                    late.append(now - int(found[1]))
            reading.rest = text[max(end, len(text) - 100) :]


def drain(viewers: list[Viewer]) -> dict[str, object]:
    """How many events came."""
    os.set_blocking(sys.stdin.fileno(), False)
    count = 0
    while True:
        began = time.monotonic()
        for viewer in viewers:
            text = viewer.rest + viewer.read()
            count += text.count(b'"due":')
            # Part of the word may be in the next piece.
            viewer.rest = text[-5:] if b'"due":' not in text[-5:] else b""
        with contextlib.suppress(BlockingIOError):
            if not os.read(sys.stdin.fileno(), 1):
                return {"count": count}
        time.sleep(max(0.0, began + 0.1 - time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--skip", type=int, default=0, help="the first events are not measured")
    parser.add_argument("--drain", action="store_true")
    asked = parser.parse_args()
    viewers = [Viewer(asked.port, asked.path) for _ in range(asked.count)]
    print("ready", flush=True)
    before = time.process_time()
    began = time.monotonic()
    result = drain(viewers) if asked.drain else measure(viewers, asked.skip)
    result["cpu"] = (time.process_time() - before) / (time.monotonic() - began)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
