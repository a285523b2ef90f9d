"""Aligns two runs: how far they are one run, and where each task first does something else.

Tasks are the same in both when they are the n-th of their coroutine function on their host, and a
task's events are compared without time and task numbers, which move with everything before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toron.search.traces.events import Event, Story

_TASK = re.compile(r"task#(\d+)")

_CHANCE = "random"
"""The kind of the event that has the state of all generators: another seed is another state."""

Doing = tuple[str, str]
"""What an event does: its kind and its detail, with tasks by their identity."""


@dataclass(frozen=True, slots=True)
class LanePair:
    """One lane in both runs; the numbers are those of its first events that differ."""

    identity: str
    a: int | None
    """The lane's index in the first run; None when only the other has it."""
    b: int | None
    alike: int
    """How many of its events are alike, from its first."""
    first_a: int
    first_b: int

    @property
    def differs(self) -> bool:
        """Whether it does something else in one of the runs."""
        return bool(self.first_a or self.first_b)


@dataclass(frozen=True, slots=True)
class Difference:
    """How two runs differ."""

    alike: int
    """How many events the runs have in common before the first that differs."""
    first_a: int
    """The number of the first run's event there; 0 when it had ended."""
    first_b: int
    lanes: list[LanePair]

    @property
    def is_none(self) -> bool:
        """Whether both are one run."""
        return not (self.first_a or self.first_b)


def difference(a: Story, b: Story) -> Difference:
    """Where two runs of one program differ."""
    alike = _common([_whole(e) for e in a.events], [_whole(e) for e in b.events])
    first_a, first_b = (story.events[alike:] for story in (a, b))
    return Difference(
        alike=alike,
        first_a=first_a[0].number if first_a else 0,
        first_b=first_b[0].number if first_b else 0,
        lanes=list(_pairs(a, b)),
    )


def _pairs(a: Story, b: Story) -> Iterator[LanePair]:
    by_identity_a = {lane.identity: lane.index for lane in a.lanes}
    by_identity_b = {lane.identity: lane.index for lane in b.lanes}
    doings_a, doings_b = _by_lane(a), _by_lane(b)
    nothing: list[tuple[int, Doing]] = []
    for identity in {**by_identity_a, **by_identity_b}:
        in_a, in_b = by_identity_a.get(identity), by_identity_b.get(identity)
        done_a = nothing if in_a is None else doings_a[in_a]
        done_b = nothing if in_b is None else doings_b[in_b]
        alike = _common([doing for _, doing in done_a], [doing for _, doing in done_b])
        yield LanePair(
            identity=identity,
            a=in_a,
            b=in_b,
            alike=alike,
            first_a=done_a[alike][0] if alike < len(done_a) else 0,
            first_b=done_b[alike][0] if alike < len(done_b) else 0,
        )


def _by_lane(story: Story) -> list[list[tuple[int, Doing]]]:
    """What each lane does, event by event."""
    names = {str(lane.number): lane.identity for lane in story.lanes if lane.kind == "task"}
    lanes: list[list[tuple[int, Doing]]] = [[] for _ in story.lanes]
    for event in story.events:
        detail = _TASK.sub(lambda mark: names.get(mark[1], mark[0]), event.detail)
        if event.kind != _CHANCE:
            lanes[event.lane].append((event.number, (event.kind, detail)))
    return lanes


def _whole(event: Event) -> tuple[int, str, str, str]:
    """An event as it is hashed, but for the state of the generators of chance at the end."""
    detail = "" if event.kind == _CHANCE else event.detail
    return event.at_ns, event.process, event.kind, detail


def _common(a: Sequence[object], b: Sequence[object]) -> int:
    """How many items are equal from the first on."""
    for at, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return at
    return min(len(a), len(b))
