"""A run in Chrome's trace event format, which ui.perfetto.dev opens.

A process for each host and one for the world, a thread for each lane, a slice for each step with
what it waited for before it, flow arrows for messages and wake-ups, instants for the rest. Times
are microseconds of virtual time. Slices of one thread never overlap: a step lasts until its last
event, at least a nanosecond, at most until the next one of its lane, and what happens there at one
time is drawn a nanosecond apart, because Perfetto binds an arrow to the slice that is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toron.search.traces.events import Event, Lane, Message, Story, short
from toron.search.traces.text import wait_line

WORLD_PID = 1
_NS = 1_000
_INSTANT_KINDS = {
    "fault": "faults",
    "heal": "faults",
    "partition": "faults",
    "blackhole": "faults",
    "crash": "hosts",
    "kill": "hosts",
    "restart": "hosts",
    "pause": "hosts",
    "resume": "hosts",
    "clock": "hosts",
    "broken": "properties",
    "eventually": "properties",
    "sometimes": "properties",
    "record": "records",
    "failure": "failure",
}
_GLOBAL = frozenset(("failure", "broken", "fault", "heal", "partition", "blackhole"))
_BARS_TID = 1_000_000

Record = dict[str, Any]


def perfetto_of(story: Story) -> dict[str, Any]:
    """The whole file, as data."""
    pids = {host: WORLD_PID + 1 + at for at, host in enumerate(story.hosts)}
    pids[""] = WORLD_PID
    writer = _Writer(story, pids)
    return {
        "displayTimeUnit": "ns",
        "otherData": {
            "kernel": story.outcome.kernel,
            "sim_seed": str(story.outcome.sim_seed),
            "chaos_seed": str(story.outcome.chaos_seed),
            "verdict": story.outcome.verdict,
            "digest": story.outcome.trace_digest,
            "replay": f"toron replay {story.outcome.token}",
            "events_missing": str(story.missing),
        },
        "traceEvents": [
            *writer.names(),
            *sorted(writer.records(), key=lambda record: record["ts"]),
        ],
    }


class _Writer:
    def __init__(self, story: Story, pids: dict[str, int]) -> None:
        self._story = story
        self._pids = pids
        self._slices = _slices(story)
        self._arrows = 0

    def names(self) -> Iterator[Record]:
        """What Perfetto calls its tracks, and in which order they stand."""
        for host, pid in self._pids.items():
            name = host or "world"
            yield _meta("process_name", pid, 0, {"name": name})
            yield _meta("process_sort_index", pid, 0, {"sort_index": pid})
        for lane in self._story.lanes:
            pid, tid = self._track(lane)
            yield _meta("thread_name", pid, tid, {"name": lane.title or lane.label})
            yield _meta("thread_sort_index", pid, tid, {"sort_index": tid})

    def records(self) -> Iterator[Record]:
        """All that has a time."""
        for number, (begin_ns, end_ns) in self._slices.items():
            event = self._story.event(number)
            assert event is not None
            yield from self._slice(event, begin_ns, end_ns)
        for event in self._story.events:
            if event.kind in _INSTANT_KINDS:
                yield self._instant(event)
        for message in self._story.messages:
            yield from self._flow_of(message)
        yield from self._wakeups()
        yield from self._bars()
        yield from self._waits_at_the_end()

    def _track(self, lane: Lane) -> tuple[int, int]:
        return self._pids[lane.host], lane.index + 1

    def _slice(self, event: Event, begin_ns: int, end_ns: int) -> Iterator[Record]:
        pid, tid = self._track(self._story.lanes[event.lane])
        lane = self._story.lanes[event.lane]
        name = short(lane.name) if event.kind == "step" else event.detail.rpartition(".")[2]
        if event.kind not in ("step", "call"):
            name = f"{event.kind} {event.detail}".rstrip()
        yield {
            "ph": "X",
            "name": name[:200],
            "cat": event.kind,
            "pid": pid,
            "tid": tid,
            "ts": begin_ns / _NS,
            "dur": (end_ns - begin_ns) / _NS,
            "args": self._arguments(event),
        }

    def _arguments(self, event: Event) -> dict[str, Any]:
        arguments: dict[str, Any] = {"event": event.number, "text": event.detail}
        if event.where:
            arguments["waited at" if event.kind == "step" else "where"] = event.where
        if event.cause:
            arguments["cause"] = event.cause
        if event.turn:
            place, among, own = event.turn
            arguments["turn"] = f"{place} of {among}; asyncio's own place for it is {own}"
        return arguments

    def _instant(self, event: Event) -> Record:
        pid, tid = self._track(self._story.lanes[event.lane])
        return {
            "ph": "i",
            "name": f"{event.kind} {event.detail}"[:200].rstrip(),
            "cat": _INSTANT_KINDS[event.kind],
            "pid": pid,
            "tid": tid,
            "ts": event.at_ns / _NS,
            "s": "g" if event.kind in _GLOBAL else "t",
            "args": self._arguments(event),
        }

    # Arrows

    def _flow_of(self, message: Message) -> Iterator[Record]:
        for arrived in message.arrived:
            name = f"{message.kind} {message.size} bytes" if message.size else message.kind
            yield from self._flow(message.sent, arrived, name)

    def _wakeups(self) -> Iterator[Record]:
        """Arrows to a step from the other lane that led to it."""
        for event in self._story.events:
            cause = self._story.event(event.cause)
            if event.kind in ("step", "call") and cause is not None and cause.lane != event.lane:
                yield from self._flow(cause.number, event.number, "wakes")

    def _flow(self, begin: int, end: int, name: str) -> Iterator[Record]:
        first, last = self._point(begin), self._point(end)
        if first is None or last is None or first["ts"] > last["ts"]:
            return
        self._arrows += 1  # a number: of a string Perfetto takes only hexadecimal digits
        category = "wake" if name == "wakes" else "message"
        common = {"name": name, "cat": category, "id": self._arrows}
        yield {"ph": "s", **common, **first}
        yield {"ph": "f", "bp": "e", **common, **last}

    def _point(self, number: int) -> Record | None:
        """Where an arrow begins or ends: inside the slice to which the event belongs."""
        event = self._story.event(number)
        if event is None:
            return None
        bounds = self._slices.get(event.step or number)
        if bounds is None:
            return None
        pid, tid = self._track(self._story.lanes[event.lane])
        at_ns = min(max(event.at_ns, bounds[0]), bounds[1] - 1)
        return {"pid": pid, "tid": tid, "ts": at_ns / _NS}

    # Bars

    def _bars(self) -> Iterator[Record]:
        end_of_run_ns = self._story.outcome.virtual_ns
        for at, bar in enumerate(self._story.bars):
            begin, end = self._story.event(bar.begin), self._story.event(bar.end)
            if begin is None:
                continue
            tid = _BARS_TID + at
            end_ns = end.at_ns if end is not None else end_of_run_ns
            yield _meta("thread_name", WORLD_PID, tid, {"name": bar.kind})
            yield {
                "ph": "X",
                "name": bar.text[:200],
                "cat": bar.kind,
                "pid": WORLD_PID,
                "tid": tid,
                "ts": begin.at_ns / _NS,
                "dur": max(1, end_ns - begin.at_ns) / _NS,
                "args": {"hosts": ", ".join(bar.hosts)},
            }

    def _waits_at_the_end(self) -> Iterator[Record]:
        """Who still waited when nothing went on, at the end of its lane."""
        for wait in self._story.waits:
            pid, tid = self._track(self._story.lanes[wait.lane])
            yield {
                "ph": "i",
                "name": wait_line(self._story, wait)[:200],
                "cat": "failure",
                "pid": pid,
                "tid": tid,
                "ts": self._story.outcome.virtual_ns / _NS,
                "s": "t",
                "args": {},
            }


def _slices(story: Story) -> dict[int, tuple[int, int]]:
    """Begin and end of each slice, by the number of the event that it stands for."""
    last_of: dict[int, int] = {}
    for event in story.events:
        if event.step:
            last_of[event.step] = event.at_ns
    slices: dict[int, tuple[int, int]] = {}
    before: dict[int, int] = {}
    """The last slice of each lane."""
    for event in story.events:
        if event.step not in (0, event.number):
            continue
        begin_ns = event.at_ns
        if event.lane in before:
            last = before[event.lane]
            last_begin_ns, last_end_ns = slices[last]
            begin_ns = max(begin_ns, last_begin_ns + 1)
            slices[last] = last_begin_ns, min(last_end_ns, begin_ns)
        slices[event.number] = begin_ns, max(begin_ns + 1, last_of.get(event.number, 0) + 1)
        before[event.lane] = event.number
    return slices


def _meta(name: str, pid: int, tid: int, arguments: dict[str, Any]) -> Record:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "ts": 0, "args": arguments}
