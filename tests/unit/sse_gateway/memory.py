"""A log, a directory, wake-ups and a guard that live in memory: whole, small, and thread-safe."""

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from testops.access.asked import Asked
from testops.access.refused import Refused
from testops.domain.event import LogHead, StoredEvent, delivery_of

RUN = "0123456789abcdef"
OTHER = "fedcba9876543210"
ABSENT = "00000000000000ff"


def event_of(run_id: str, seq: int, kind: str, key: str = "", **facts: object) -> StoredEvent:
    body = {"seq": seq, "type": kind, "run_id": run_id, "attempt": 1, **facts}
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return StoredEvent(seq, kind, delivery_of(kind), key, encoded)


@dataclass
class _Log:
    events: dict[int, StoredEvent] = field(default_factory=dict)
    first: int = 1
    last: int = 0
    ended: bool = False


class MemoryLog:
    """`EventLog`, `Wakeups` and `RunDirectory` at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: dict[str, _Log] = {}
        self._listeners: dict[int, queue.SimpleQueue[str | object | None]] = {}
        self.workspaces: dict[str, str] = {}
        self.reads = 0
        # Wake-ups are lost while this is set, as a database may lose them.
        self.mute = False
        self.broken: Exception | None = None

    def create(self, run_id: str = RUN, workspace: str = "home") -> None:
        with self._lock:
            self._logs[run_id] = _Log()
            self.workspaces[run_id] = workspace

    def append(self, kind: str, run_id: str = RUN, key: str = "", **facts: object) -> int:
        with self._lock:
            log = self._logs[run_id]
            log.last += 1
            log.events[log.last] = event_of(run_id, log.last, kind, key, **facts)
            log.ended = kind == "run.finished"
            last = log.last
        self.wake(run_id)
        return last

    def append_logs(self, count: int, run_id: str = RUN) -> None:
        """`count` log lines in one transaction, which wakes once."""
        with self._lock:
            log = self._logs[run_id]
            for seq in range(log.last + 1, log.last + 1 + count):
                log.events[seq] = event_of(run_id, seq, "stage.log", text=f"line {seq}")
            log.last += count
            log.ended = False
        self.wake(run_id)

    def prune(self, before: int, run_id: str = RUN) -> None:
        with self._lock:
            log = self._logs[run_id]
            for seq in range(log.first, min(before, log.last + 1)):
                del log.events[seq]
            log.first = before

    def delete(self, run_id: str = RUN) -> None:
        with self._lock:
            del self._logs[run_id]
            del self.workspaces[run_id]
        self.wake(run_id)

    def wake(self, run_id: str | None) -> None:
        if not self.mute:
            for listener in list(self._listeners.values()):
                listener.put(run_id)

    # --- the ports ---

    def head(self, run_id: str) -> LogHead | None:
        with self._lock:
            self.reads += 1
            if self.broken is not None:
                raise self.broken
            log = self._logs.get(run_id)
            return None if log is None else LogHead(log.first, log.last, log.ended)

    def read(self, run_id: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        with self._lock:
            if self.broken is not None:
                raise self.broken
            log = self._logs.get(run_id)
            if log is None:
                return []
            begin = max(after + 1, log.first)
            end = min(log.last, begin + limit - 1)
            return [log.events[seq] for seq in range(begin, end + 1)]

    def workspace_of(self, run_id: str) -> str | None:
        with self._lock:
            return self.workspaces.get(run_id)

    @contextlib.contextmanager
    def listen(self, changed: Callable[[str | None], None]) -> Iterator[None]:
        calls: queue.SimpleQueue[str | object | None] = queue.SimpleQueue()
        stop = object()

        def hear() -> None:
            while (told := calls.get()) is not stop:
                assert told is None or isinstance(told, str)
                changed(told)

        thread = threading.Thread(target=hear, name="memory-wakeups")
        self._listeners[id(calls)] = calls
        thread.start()
        try:
            yield
        finally:
            del self._listeners[id(calls)]
            calls.put(stop)
            thread.join()

    # --- what a viewer should see ---

    def sse(self, run_id: str = RUN, *, after: int = 0) -> bytes:
        """The events as a stream spells them, written down here a second time, on purpose."""
        log = self._logs[run_id]
        return b"".join(
            f"id: {seq}\nevent: {event.type}\ndata: ".encode() + event.body + b"\n\n"
            for seq, event in sorted(log.events.items())
            if seq > after
        )

    def lines(self, run_id: str = RUN, *, after: int = 0) -> bytes:
        log = self._logs[run_id]
        return b"".join(
            event.body + b"\n" for seq, event in sorted(log.events.items()) if seq > after
        )


@dataclass(frozen=True)
class Who:
    id: str
    workspaces: frozenset[str]


class MemoryGuard:
    """Keys and what they may see; what it refused, in order."""

    def __init__(self, keys: Mapping[str, Who] | None = None) -> None:
        self.keys = dict(keys or {"good": Who("ann", frozenset({"home"}))})
        self.refused: list[tuple[int, str]] = []
        self.broken: Exception | None = None
        self.unreachable: Exception | None = None

    async def admit(self, request: Asked, /) -> Who:
        if self.unreachable is not None:
            raise self.unreachable
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in self.keys:
            self.refused.append((401, request.path))
            raise Refused(401, "Not authenticated", "give a key", {"WWW-Authenticate": "Bearer"})
        return self.keys[key]

    async def permit(
        self, principal: Who, request: Asked, /, *, run_id: str, workspace: str
    ) -> None:
        if workspace not in principal.workspaces:
            self.refused.append((404, request.path))
            raise Refused(404, "Not found", f"there is no run {run_id}")

    def still_valid(self, principal: Who, /) -> bool:
        if self.broken is not None:
            raise self.broken
        return principal in self.keys.values()
