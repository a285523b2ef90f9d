"""Forks a run where it comes into a state that few runs before it were in.

Starting over spends most of a run on what every run does. Here a run is copied where it is about to
leave a state that is rare: on some host, the set of places at which its tasks wait. The copies go
on under salts of their own, look for rare states themselves and may be copied in turn, as long as
the energy lasts that a run is given (moonpool's explorer does so in Rust). What was seen is kept in
memory that all executions of a worker share, so the first run only learns what is common.
"""

from __future__ import annotations

import asyncio
import mmap
from dataclasses import dataclass, field
from typing import Any

from toron.core.loop import SimTask
from toron.search.execute import Run
from toron.search.forks import Copies, reporting
from toron.search.frames import write_frame

_KNOWN_TO_ASYNCIO: Any = vars(asyncio.tasks).get(
    "_all_tasks", vars(asyncio.tasks).get("_scheduled_tasks")
)
"""Its set of tasks, by its name in Python 3.11 or later ones."""
_SLOTS = 1 << 20
_COUNT_MAX = 255
_HEAD = 24
"""Before the slots: how many states were seen, how much energy is left, the last salt."""
SEEN_AT, _ENERGY, _SALT = 0, 8, 16


class Memory:
    """Which states were seen, shared by all processes that a worker forks."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _HEAD + _SLOTS)

    def get(self, at: int) -> int:
        """One of the counters."""
        return int.from_bytes(self._map[at : at + 8], "big")

    def set(self, at: int, value: int) -> None:
        """Set one of the counters."""
        self._map[at : at + 8] = value.to_bytes(8, "big")

    def is_rare(self, state: int) -> bool:
        """Count ``state`` once more; whether this is its first, second, fourth, eighth, ... time.

        So what is common is hardly forked any more, and what is seldom is, more than once.
        """
        slot = _HEAD + state % _SLOTS
        count = self._map[slot] + 1
        if count > _COUNT_MAX:
            return False
        self._map[slot] = count
        if count == 1:
            self.set(SEEN_AT, self.get(SEEN_AT) + 1)
        return count & (count - 1) == 0


SEEN = Memory()
"""What the runs of this worker have seen; made when it starts, and empty until a search begins."""


class Places:
    """Which places are occupied on each host; only tasks that made a step are looked at again."""

    def __init__(self) -> None:
        self._known: dict[SimTask, tuple[int, str, int]] = {}

    def states(self, tasks: list[asyncio.Task[Any]]) -> list[int]:
        """A number for each host: the set of the places where its tasks wait."""
        known, now = self._known, dict[SimTask, tuple[int, str, int]]()
        hosts: dict[str, set[int]] = {}
        for task in tasks:
            if isinstance(task, SimTask):
                seen = known.get(task)
                if seen is None or seen[0] != task.toron_steps:
                    process = task.toron_process
                    host = process.host.name if process is not None else ""
                    seen = task.toron_steps, host, hash(tuple(_places(task.get_coro())))
                now[task] = seen
                hosts.setdefault(seen[1], set()).add(seen[2])
        self._known = now
        return [hash((host, frozenset(places))) for host, places in hosts.items()]


@dataclass(slots=True)
class RareForks:
    """Forks one execution, and the forks of it, at states that are new."""

    memory: Memory
    energy: int
    """How many forks the execution and all that come of it may make."""
    fanout: int
    """How many at one state."""
    answers: int
    copies: Copies
    _is_copy: bool = False
    _at_ns: int = 0
    _next_look: int = 0
    _places: Places = field(default_factory=Places)
    _run: Run = field(init=False)

    def attach(self, run: Run) -> None:
        """Watch ``run`` from its first jump of time. Call before it begins."""
        self._run = run
        self.copies.prepare()
        if not self.memory.get(SEEN_AT):
            self.energy = 0  # everything is new to the first
        self.memory.set(_ENERGY, self.energy)
        run.baton.turns.at(0, self._reported)

    def _reported(self) -> None:
        reporting(self.answers, self._turn)

    def _turn(self) -> None:
        run, at_ns = self._run, self._at_ns
        turns = run.baton.turns
        if run.shared.steps >= self._next_look:
            tasks = [task for loop in run.shared.loops for task in asyncio.all_tasks(loop)]
            # A look costs as much as a few steps: asyncio walks over the tasks that have ended too.
            self._next_look = run.shared.steps + len(tasks) + len(_KNOWN_TO_ASYNCIO) // 2
            rare = [state for state in self._places.states(tasks) if self.memory.is_rare(state)]
            if rare and self.memory.get(_ENERGY):
                self._fork(at_ns)
        self._at_ns = turns.beyond_ns
        turns.at(self._at_ns, self._reported)

    def _fork(self, at_ns: int) -> None:
        run, memory = self._run, self.memory
        if not run.baton.is_alone:
            return
        run.edge.refusals.active = False
        for _ in range(self.fanout):
            energy = memory.get(_ENERGY)
            if not energy:
                break
            memory.set(_ENERGY, energy - 1)
            salt = memory.get(_SALT) + 1
            memory.set(_SALT, salt)
            child = self.copies.make(run)
            if child == 0:
                self._is_copy = True
                run.reseed(at_ns, salt)
                break
            status = self.copies.wait()[1]
            self.copies.watch_again(alarm=self._is_copy)
            if status:
                reseeds = [*run.reseeds, (at_ns, salt)]
                write_frame(self.answers, {"kind": "died", "status": status, "reseeds": reseeds})
        run.edge.refusals.active = True


def _places(awaitable: Any) -> list[int]:
    """Where a coroutine stands, and those that it waits for."""
    places: list[int] = []
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if frame is None:
            break
        places += (id(frame.f_code), frame.f_lasti)
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)
    return places
