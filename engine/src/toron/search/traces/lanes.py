"""Decides in which lane each event belongs, from who acts at the time.

The text of an event names the host; which task or thread acts there follows from the step, the call
or the change of threads before it. Messages, faults and causes belong to `model`.
"""

from __future__ import annotations

import re

from toron.search.outcome import TraceEvent
from toron.search.traces.events import LOOP, NETWORK, WORLD, Event, Lane, LaneKind

_TASK = re.compile(r"task#(\d+)")
_THREAD = re.compile(r"thread#(\d+)")
_MAIN_THREAD = "the main thread"
_THE_LOOP = " in BaseEventLoop.run_forever"
"""The place of what no line of the program does."""
_OF_THE_WORLD = frozenset(("random", "failure"))
_LIFE = {"crash": "power cut", "kill": "killed"}


def host_of(process: str) -> str:
    """The host of a process: ``db`` of ``db'1``; of the world itself none."""
    return "" if process == "net" else process.partition("'")[0]


class Lanes:
    """The lanes of a run, as its events come along."""

    def __init__(self) -> None:
        self.all: list[Lane] = []
        self.hosts: list[str] = []
        self._by_key: dict[str, Lane] = {}
        self._named: dict[str, int] = {}
        self._main: tuple[int, int] = (self._get(WORLD, "", "world", WORLD).index, 0)
        self._threads: dict[str, int] = {}
        self._thread = _MAIN_THREAD

    def place(self, raw: TraceEvent) -> Event:
        """The event of one line of the trace."""
        at_ns, process, kind, detail = raw.text.split(" ", 3)
        lane, step, cause = self._whose(raw, process, kind, detail)
        place = self.all[lane]
        place.first = place.first or raw.number
        place.last = raw.number
        turn = tuple(raw.turn) if raw.turn is not None else None
        nowhere = kind == "call" or process == "net" or raw.where.endswith(_THE_LOOP)
        return Event(
            number=raw.number,
            at_ns=int(at_ns),
            process=process,
            kind=kind,
            detail=detail,
            where="" if nowhere else raw.where,
            lane=lane,
            step=step,
            cause=cause,
            host=host_of(raw.on) or place.host,
            note=raw.note if kind in ("step", "call") else "",
            turn=turn if turn is None or len(turn) == 3 else None,
        )

    def _whose(self, raw: TraceEvent, process: str, kind: str, detail: str) -> tuple[int, int, int]:
        """The lane of an event, the step it is part of, and what led to it."""
        if kind == "step":
            lane = self._task(detail, process)
            lane.process, lane.host = process, host_of(process)
            self._main = lane.index, raw.number
            cause = raw.cause if lane.first else lane.spawned or raw.cause
            return lane.index, raw.number, cause
        if kind == "call":
            lane = self._get(LOOP, process, "loop", LOOP)
            self._main = lane.index, raw.number
            return lane.index, raw.number, raw.cause
        if kind == "spawn":
            self._spawn(raw, process, detail)
        elif kind == "end":
            return self._end(raw, detail)
        elif kind == "thread":
            return self._switch(raw, process, detail)
        elif kind in _LIFE and (process == "net" or detail):
            self._bury(raw.number, detail, _LIFE[kind])
        if kind in _OF_THE_WORLD:
            return 0, 0, 0
        if process == "net":
            is_arrival = raw.on and kind != "spawn"
            lane = self._get(NETWORK, raw.on, "network", NETWORK) if is_arrival else self.all[0]
            return lane.index, 0, raw.cause
        lane_index, step = self._acting()
        return lane_index, step, raw.cause or step

    def _acting(self) -> tuple[int, int]:
        if self._thread == _MAIN_THREAD:
            return self._main
        return self._threads[self._thread], 0

    def _spawn(self, raw: TraceEvent, process: str, detail: str) -> None:
        label, _, _ = detail.partition("(")
        lane = self._task(label, raw.on or process)
        lane.spawned, lane.title = raw.number, raw.note

    def _task(self, label: str, process: str) -> Lane:
        """The lane of ``task#3 name <- result``."""
        mark, _, rest = label.partition(" ")
        known = self._by_key.get(mark)
        if known is not None:
            return known
        name = rest.partition(" <- ")[0]
        number = _TASK.match(mark)
        return self._get(mark, process, "task", name, int(number[1]) if number else 0)

    def _end(self, raw: TraceEvent, detail: str) -> tuple[int, int, int]:
        mark, _, _ = detail.partition(" ")
        lane = self._by_key.get(mark)
        if lane is None:
            return (*self._acting(), raw.cause)
        lane.ended, lane.ending = raw.number, raw.note
        step = self._main[1] if self._main[0] == lane.index else 0
        return lane.index, step, raw.cause or step

    def _switch(self, raw: TraceEvent, process: str, detail: str) -> tuple[int, int, int]:
        if detail.startswith("start "):
            label = detail.removeprefix("start ")
            here, step = self._acting()
            lane = self._thread_lane(label, host_of(process))
            lane.spawned = raw.number
            return here, step, step
        if detail.startswith("end "):
            lane = self._thread_lane(detail.removeprefix("end "), host_of(process))
            lane.ended, lane.ending = raw.number, "returned"
            return lane.index, 0, 0
        before, _, after = detail.partition(" -> ")
        self._thread = after
        if after != _MAIN_THREAD:
            lane = self._thread_lane(after, host_of(process))
            return lane.index, 0, lane.spawned if not lane.first else 0
        if before != _MAIN_THREAD and before in self._threads:
            return self._threads[before], 0, 0
        return self._main[0], 0, 0

    def _thread_lane(self, label: str, host: str) -> Lane:
        if label not in self._threads:
            mark, _, name = label.partition(" ")
            number = _THREAD.match(mark)
            lane = self._get(mark, host, "thread", name or mark, int(number[1]) if number else 0)
            self._threads[label] = lane.index
        return self.all[self._threads[label]]

    def _bury(self, number: int, host: str, ending: str) -> None:
        for lane in self.all:
            if lane.kind in ("task", "thread") and lane.host == host and not lane.ended:
                lane.ended, lane.ending = number, ending

    def _get(self, mark: str, process: str, kind: LaneKind, name: str, number: int = 0) -> Lane:
        host = host_of(process)
        key = mark if number else f"{mark} of {host}"
        known = self._by_key.get(key)
        if known is not None:
            return known
        if host and host not in self.hosts:
            self.hosts.append(host)
        identity = f"{host}/{name}" if host else name
        if number:
            self._named[identity] = self._named.get(identity, 0) + 1
            identity += f"#{self._named[identity]}"
        lane = Lane(len(self.all), host, process, kind, name, number, identity)
        self.all.append(lane)
        self._by_key[key] = lane
        return lane
