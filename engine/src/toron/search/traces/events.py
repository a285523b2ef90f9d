"""The parts of a run as a person sees them; an event's lane is decided in `lanes`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from toron.search.outcome import Outcome

LaneKind = Literal["world", "network", "loop", "task", "thread"]
MessageState = Literal["arrived", "lost", "unseen"]

WORLD, NETWORK, LOOP = "world", "network", "event loop"
"""The names of the lanes that are neither a task nor a thread."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, in its lane."""

    number: int
    at_ns: int
    process: str
    """Who acts: a host, ``db'1`` after its first restart, ``net`` for the world itself."""
    kind: str
    detail: str
    where: str
    """Where the program stands; of a step, where the task had waited."""
    lane: int
    step: int
    """The number of the step or call that it is part of; its own for those; 0 for none."""
    cause: int
    """The number of the event that led to it; 0 when none is known."""
    host: str
    """The host that it concerns."""
    note: str = ""
    """What the schedule did before it: that the process stood still."""
    turn: tuple[int, int, int] | None = None
    """Its place, among how many whose order asyncio leaves open, and asyncio's own place for it."""

    @property
    def was_moved(self) -> bool:
        """Whether the schedule put it elsewhere than asyncio would have."""
        return self.turn is not None and self.turn[0] != self.turn[2]


@dataclass(slots=True)
class Lane:
    """What acts one thing at a time: a task, a thread, the callbacks or the network of a host."""

    index: int
    host: str
    process: str
    kind: LaneKind
    name: str
    """The coroutine function's name, or the thread's target."""
    number: int
    """The number of a task or a thread, 0 for others."""
    identity: str
    """``host/name#2``: the second of that name on that host, alike in every run of the program."""
    title: str = ""
    """The name that the program gave the task."""
    spawned: int = 0
    first: int = 0
    last: int = 0
    ended: int = 0
    ending: str = ""
    """``returned``, ``failed``, ``cancelled``; ``power cut`` or ``killed``; empty: still there."""

    @property
    def label(self) -> str:
        """How it is called in text."""
        if self.kind in ("task", "thread"):
            return f"{short(self.name)} ({self.kind}#{self.number})"
        return self.name


@dataclass(slots=True)
class Message:
    """What one event put on the wire, and the events at which it arrived."""

    sent: int
    kind: str
    """``send``, ``fin``, ``rst``, ``udp``, or ``connect``."""
    path: str
    size: int
    source: str
    arrived: list[int] = field(default_factory=list)
    state: MessageState = "unseen"
    """``unseen``: nothing in the run shows that it arrived, or that it was lost."""


@dataclass(slots=True)
class Bar:
    """Something that holds from one event to another: a fault, a host that is down or paused."""

    kind: Literal["fault", "down", "paused"]
    text: str
    hosts: tuple[str, ...]
    begin: int
    end: int = 0
    """0: until the run ended."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Who waited when the run ended in a deadlock or at its limit, for what, and held by whom."""

    lane: int
    where: str
    what: str
    holders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A whole run; made by `model.story_of`."""

    outcome: Outcome
    events: list[Event]
    lanes: list[Lane]
    hosts: list[str]
    messages: list[Message]
    bars: list[Bar]
    waits: list[Wait]
    focus: int
    """The number of the event at which it failed, or of the last one."""
    chain: list[int]
    """The events that led to it, the last cause first."""
    count: int
    """How many events the run had; `events` may be fewer."""
    differs: str = ""
    """Why this is not the behaviour that the token was made from; empty when it is."""
    is_unstable: bool = False
    """Whether it is not although the code is the same."""

    @property
    def missing(self) -> int:
        """How many events were not kept."""
        return self.count - len(self.events)

    def event(self, number: int) -> Event | None:
        """The event with ``number``, if it was kept."""
        events = self.events
        low, high = 0, len(events)
        while low < high:
            middle = (low + high) // 2
            if events[middle].number < number:
                low = middle + 1
            else:
                high = middle
        found = events[low] if low < len(events) else None
        return found if found is not None and found.number == number else None


def short(name: str) -> str:
    """A qualified name without the functions around it."""
    return name.rpartition("<locals>.")[2]
