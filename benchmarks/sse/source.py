"""Publishes events at a steady rate, each with the moment at which it was due.

A server that holds up its source would hide its own delay if an event were stamped when it is sent.
"""

import argparse
import json
import socket
import time


def bodies(count: int, rate: float, size: int, start: float) -> list[tuple[float, bytes]]:
    """Each event with the moment at which it is due."""
    made = []
    for number in range(count):
        due = start + number / rate
        body = {"seq": number + 1, "type": "stage.log", "due": int(due * 1e9), "n": number}
        line = json.dumps({**body, "text": ""}, separators=(",", ":"))
        text = "x" * max(0, size - len(line))
        made.append((due, json.dumps({**body, "text": text}, separators=(",", ":")).encode()))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--http-path", default="", help="POST there; else lines on a socket")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--size", type=int, default=180)
    asked = parser.parse_args()
    late = 0.0
    with socket.create_connection(("127.0.0.1", asked.port)) as there:
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for due, body in bodies(asked.count, asked.rate, asked.size, time.monotonic() + 0.5):
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            late = max(late, time.monotonic() - due)
            if asked.http_path:
                post(there, asked.http_path, body)
            else:
                there.sendall(body + b"\n")
    print(json.dumps({"late_max_s": late}))


def post(there: socket.socket, path: str, body: bytes) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n"
    there.sendall(head.encode() + b"x-eventsource-event: stage.log\r\n\r\n" + body)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += there.recv(4096)
    if not answer.startswith(b"HTTP/1.1 20"):
        raise SystemExit(f"the server refused an event: {answer[:100]!r}")
    head_bytes, _, rest = answer.partition(b"\r\n\r\n")
    size = int(head_bytes.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(rest) < size:
        rest += there.recv(4096)


if __name__ == "__main__":
    main()
