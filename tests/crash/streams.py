"""Viewers of a run's events, that read bytes: what arrived is compared with what is kept."""

import http.client
import random
import threading
import time
from dataclasses import dataclass, field

from tests.crash.processes import KEY, System

Frame = tuple[int, bytes]


class Gone(Exception):
    """The stream ended without saying so."""


@dataclass(slots=True)
class Viewer:
    """Follows one run, from the beginning, over as many connections as it takes."""

    system: System
    run_id: str
    frames: list[Frame] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    connections: int = 0
    ended: bool = False

    @property
    def last(self) -> int:
        return self.frames[-1][0] if self.frames else 0

    def connect_once(self, *, frames_max: int | None = None) -> None:
        """Read one connection until it ends, or for `frames_max` events; then leave rudely."""
        connection = http.client.HTTPConnection("127.0.0.1", self.system.gateway.port, timeout=40)
        self.connections += 1
        try:
            headers = {"Authorization": f"Bearer {KEY}", "Accept": "text/event-stream"}
            if self.frames:
                headers["Last-Event-ID"] = str(self.last)
            connection.request(
                "GET", f"/v1/test-runs/{self.run_id}/events?from=earliest", headers=headers
            )
            answer = connection.getresponse()
            if answer.status == 204:
                self.ended = True
                return
            if answer.status != 200:
                raise Gone(f"{answer.status} {answer.read()!r}")
            self._read(answer, frames_max)
        finally:
            connection.close()

    def _read(self, answer: http.client.HTTPResponse, frames_max: int | None) -> None:
        got, lines = 0, []
        if frames_max == 0:
            return
        while True:
            line = answer.readline()
            if not line:
                raise Gone("the connection ended")
            if line != b"\n":
                lines.append(line.rstrip(b"\n"))
                continue
            got += self._take(dict(_fields(lines)))
            lines = []
            if self.ended or (frames_max is not None and got >= frames_max):
                return

    def _take(self, fields: dict[bytes, bytes]) -> int:
        if b"id" in fields:
            self.frames.append((int(fields[b"id"]), fields[b"data"]))
            return 1
        name = fields.get(b"event", b"").decode()
        if name:
            self.notes.append(name)
        self.ended = self.ended or name == "end"
        return 0


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    pairs = [line.partition(b": ") for line in lines if not line.startswith(b":")]
    return [(name, value) for name, _, value in pairs]


class Follower:
    """A viewer in a thread, that comes back whenever its connection breaks, until the end."""

    def __init__(self, system: System, run_id: str) -> None:
        self.viewer = Viewer(system, run_id)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self.viewer.ended and not self._stop.is_set():
            try:
                self.viewer.connect_once()
            except (OSError, http.client.HTTPException, Gone):
                self._stop.wait(0.1)

    def finish(self, *, limit_s: float) -> Viewer:
        """The viewer, when it has seen the end of the run."""
        self._thread.join(limit_s)
        self._stop.set()
        assert self.viewer.ended, f"the follower saw no end: {self.viewer.notes[-5:]}"
        return self.viewer


def read_straight(system: System, run_id: str) -> Viewer:
    """A viewer that never reconnects."""
    viewer = Viewer(system, run_id)
    viewer.connect_once()
    assert viewer.connections == 1
    return viewer


def read_in_pieces(system: System, run_id: str, chance: random.Random, *, pieces: int) -> Viewer:
    """A viewer that leaves and comes back at least `pieces` times, and then reads to the end."""
    viewer = Viewer(system, run_id)
    while viewer.connections < pieces and not viewer.ended:
        # Some connections read nothing at all, so that the pieces outlast a short log.
        viewer.connect_once(frames_max=1 if chance.random() < 0.25 else 0)
        if viewer.ended:
            break
        time.sleep(0.001)
    while not viewer.ended:
        viewer.connect_once()
    return viewer
