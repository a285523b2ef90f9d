"""The worker of `coverage_guidance.py`: Toron's own, whose runs also say what they reached.

What is reached is an edge of the code in a state of a host: the program's code, its libraries' and
that of asyncio's locks and tasks; the places where the tasks of the host wait. And a run can be
made of a tape that somebody has changed. Nothing of it is in the engine, so a few of its parts are
replaced here.

    python following.py GUIDE ...    GUIDE: `pairs` follows edges too, `states` does not
"""

# ruff: noqa: SLF001  (what is replaced is private)

from __future__ import annotations

import gc
import mmap
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

from toron.core.choices import Moment
from toron.core.loop import SimLoop, SimTask
from toron.core.places import Places
from toron.core.tape import RecordingTape
from toron.search import execute, rare, worker
from toron.search.strategies import strategy_of

HERE = Path(__file__).resolve()
_TOOL = 3
_OF_ASYNCIO = tuple(
    f"/asyncio/{name}.py"
    for name in ("locks", "queues", "streams", "taskgroups", "tasks", "timeouts")
)

# What a run reached


class Counts:
    """A byte for each thing that runs can reach, shared by all processes of a worker."""

    SLOTS = 1 << 20

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 8 + self.SLOTS)

    @property
    def distinct(self) -> int:
        """How many were reached so far."""
        return int.from_bytes(self._map[:8], "big")

    def add(self, reached: dict[int, int]) -> list[int]:
        """Of what a run ``reached`` and no run before it, when."""
        slots, new = self._map, []
        for thing, when in reached.items():
            slot = 8 + thing % self.SLOTS
            if not slots[slot]:
                slots[slot] = 1
                new.append(when)
        if new:
            slots[:8] = (self.distinct + len(new)).to_bytes(8, "big")
        return new

    def forget(self) -> None:
        """Begin anew."""
        self._map[:] = bytes(len(self._map))


PAIRS, STATES = Counts(), Counts()
HITS: set[int] = set()
"""The edges since the step began."""
OFTEN = 8
"""So often a run looks at one branch; after that, the branch costs nothing."""


class Follower:
    """What one run reaches: states of hosts, and edges in them."""

    def __init__(self) -> None:
        self.choices: Any = None
        self.pairs: dict[int, int] = {}
        """With how many choices had been made by then."""
        self.states: dict[int, int] = {}
        self._hosts: dict[str, int] = {}
        self._tasks: dict[SimTask, tuple[str, int]] = {}

    def after_step(self, task: SimTask) -> None:
        """Count what the step of ``task`` reached, and where it waits now."""
        host, before = self._tasks.get(task, ("", 0))
        if not before:
            process = task.toron_process
            host = process.host.name if process is not None else ""
        state = self._hosts.get(host, hash(host))
        asked = getattr(self.choices, "asked", 0)
        if HITS:
            for edge in HITS:
                self.pairs.setdefault(hash((edge, state)), asked)
            HITS.clear()
        now = 0 if task.done() else hash(tuple(rare._places(task.get_coro()))) | 1
        if now != before:
            # A sum, so that nothing but the task that moved is looked at.
            self._hosts[host] = state = (state + now - before) & (1 << 61) - 1
            self._tasks[task] = host, now
        self.states.setdefault(state, asked)


FOLLOWER: list[Follower] = []


def _follow_steps() -> None:
    original = SimLoop._step

    def step(self: SimLoop, handle: Any) -> None:
        original(self, handle)
        task = getattr(handle._callback, "__self__", None)
        if isinstance(task, SimTask) and FOLLOWER:
            FOLLOWER[0].after_step(task)

    SimLoop._step = step


def _is_followed(places: Places, name: str) -> bool:
    is_mine = name == str(HERE)
    return not is_mine and (places.is_followed(name) or name.endswith(_OF_ASYNCIO))


def _all_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_code(constant)


def _follow_edges(places: Places) -> None:
    """Instrument all functions once, before the worker forks: its runs have nothing to prepare."""
    monitoring = sys.monitoring
    monitoring.use_tool_id(_TOOL, "coverage")

    left: dict[int, int] = {}

    def on_branch(code: CodeType, offset: int, to: int) -> Any:
        place = id(code) * 31 + offset
        HITS.add(place * 65_537 + to)
        left[place] = now = left.get(place, OFTEN) - 1
        return None if now else monitoring.DISABLE

    monitoring.register_callback(_TOOL, monitoring.events.BRANCH, on_branch)
    gc.unfreeze()  # what is frozen is not listed
    functions = [thing for thing in gc.get_objects() if isinstance(thing, FunctionType)]
    gc.freeze()
    for function in functions:
        if _is_followed(places, function.__code__.co_filename):
            for code in _all_code(function.__code__):
                monitoring.set_local_events(_TOOL, code, monitoring.events.BRANCH)


def _trace_edges(places: Places) -> Callable[[FrameType, str, Any], Any]:
    """The same before Python 3.12: pairs of lines."""
    known: dict[str, bool] = {}

    def on_call(frame: FrameType, _event: str, _argument: Any) -> Any:
        name = frame.f_code.co_filename
        follows = known.get(name)
        if follows is None:
            follows = known[name] = _is_followed(places, name)
        if not follows:
            return None
        before = 0

        def on_line(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal before
            if event == "line":
                HITS.add(id(frame.f_code) * 31 + before * 65_537 + frame.f_lineno)
                before = frame.f_lineno
            return on_line

        return on_line

    return on_call


# What a run is made of


class Mutant(RecordingTape):
    """A tape up to some choice, with noise; from there on what the strategy chooses."""

    def __init__(self, strategy: Any, plan: dict[str, Any]) -> None:
        super().__init__(strategy)
        self._values: dict[str, int] = dict(plan["tape"])
        self._until = plan["until"]
        self._noise = plan["noise"]
        self._dice = random.Random(plan["seed"]).random
        self.asked = 0

    def _is_free(self) -> bool:
        self.asked += 1
        return self.asked > self._until or (self._noise > 0 and self._dice() < self._noise)

    def pick(self, label: str, bound: int, default: int = 0) -> int:
        """See `ChoiceSource`."""
        if self._is_free():
            return super().pick(label, bound, default)
        key = f"{label} {self._count(label)}"
        value = min(self._values.get(key, 0), bound - 1)
        self._keep(key, value)
        return (value + default) % bound

    def keeps(self, key: str) -> int:
        """See `ChoiceSource`."""
        if self._is_free():
            return super().keeps(key)
        key = self._unique(key)
        value = self._values.get(key, 0)
        self._keep(key, value)
        return value

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """See `ChoiceSource`."""
        if self._is_free():
            return super().order(label, things, name_of)
        keys = self._keys(label, things, name_of)
        delays = [self._values.get(key, 0) for key in keys]
        if not any(delays):
            return None
        for key, delay in zip(keys, delays, strict=True):
            self._keep(key, delay)
        return sorted(range(len(things)), key=lambda position: (delays[position], position))

    def stall(self, moments: list[Moment], *, busy: bool) -> Moment | None:
        """See `ChoiceSource`."""
        if self._is_free():
            return super().stall(moments, busy=busy)
        chosen, chosen_key = None, ""
        for moment, key in zip(moments, self._stall_keys(moments), strict=True):
            if 0 < moment.ahead_ns <= self._values.get(key, 0):
                chosen, chosen_key = moment, key
        if chosen is not None:
            self._keep(chosen_key, chosen.ahead_ns)
            self._stalled(chosen_key)
        return chosen


PLAN: list[dict[str, Any]] = []
_choices = execute._choices


def _guided_choices(setup: execute.Setup) -> Any:
    if not PLAN:
        return _choices(setup)
    plan = PLAN[0]
    return Mutant(strategy_of(setup.strategy, plan["seed"], setup.chaos_seed), plan), None


class FollowedRun(execute.Run):
    """A run that says what it reached."""

    def execute(self) -> Any:
        """See `Run`."""
        FOLLOWER[:] = [Follower()]
        FOLLOWER[0].choices = self.choices
        outcome = super().execute()
        sys.settrace(None)
        STATES.add(FOLLOWER[0].states)
        return outcome


def serve(guide: str, arguments: list[str]) -> int:
    """The worker, with what it needs for this experiment."""
    perform, serve_all = worker.perform, worker._serve

    def guided(request: dict[str, Any], edge: Any, places: Places, *rest: Any) -> dict[str, Any]:
        if request.get("forgets"):
            for memory in (PAIRS, STATES):
                memory.forget()
            rare.SEEN._map[:] = bytes(len(rare.SEEN._map))
        plan = request.get("plan")
        if plan is not None:
            PLAN[:] = [plan]
        if guide == "pairs" and sys.version_info < (3, 12):
            sys.settrace(_trace_edges(places))
        answer = perform(request, edge, places, *rest)
        if plan is not None:
            follower = FOLLOWER[0]
            new = PAIRS.add({**follower.states, **follower.pairs})
            answer["new"], answer["asked"] = new, follower.choices.asked
            if not new and answer["outcome"]["verdict"] != "fail":
                answer["tape"] = []
        return {**answer, "distinct": STATES.distinct}

    def serve_followed(*everything: Any) -> None:
        if guide == "pairs" and sys.version_info >= (3, 12):
            _follow_edges(everything[3])
        serve_all(*everything)

    execute._choices = _guided_choices
    worker.Run = FollowedRun
    worker.perform = guided
    worker._serve = serve_followed
    _follow_steps()
    return worker.main(arguments)


if __name__ == "__main__":
    code = serve(sys.argv[1], sys.argv[2:])
    sys.stderr.flush()
    os._exit(code)  # as the worker itself, and for its reason
