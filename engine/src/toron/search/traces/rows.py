"""Puts the lanes of runs into rows of a drawing: one row for all that never act at one time.

A server starts a task for each connection; a row for each would leave nothing to see. Tasks of one
coroutine function on one host share a row as long as none of them overlap, and asyncio's own tasks
share theirs. Two runs are drawn in the same rows, so that the same task stands beside itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toron.search.traces.events import Lane, LaneKind, Story, short

_INTERNAL = ("BaseEventLoop.", "BaseSelectorEventLoop.", "_UnixSelectorEventLoop.")
INTERNAL_NAME = "asyncio's own tasks"
_ORDER: tuple[LaneKind, ...] = ("world", "task", "thread", "loop", "network")


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    host: str
    kind: LaneKind
    name: str


def rows_of(stories: Sequence[Story]) -> tuple[list[Row], list[list[int]]]:
    """The rows, host by host, and for each story the row of each of its lanes."""
    found: dict[tuple[Row, int], int] = {}
    placed = [_place(story, found) for story in stories]
    hosts = list(dict.fromkeys(host for story in stories for host in ["", *story.hosts]))

    def rank(key: tuple[Row, int]) -> tuple[int, int, int]:
        row, _ = key
        is_internal = row.name == INTERNAL_NAME
        return hosts.index(row.host), _ORDER.index(row.kind) + 3 * is_internal, found[key]

    ordered = sorted(found, key=rank)
    position = {key: at for at, key in enumerate(ordered)}
    rows = [row for row, _ in ordered]
    return rows, [[position[key] for key in keys] for keys in placed]


def _place(story: Story, found: dict[tuple[Row, int], int]) -> list[tuple[Row, int]]:
    """The row of each lane and, of rows that are alike, which."""
    busy_until: dict[tuple[Row, int], int] = {}
    keys: dict[int, tuple[Row, int]] = {}
    for lane in sorted(story.lanes, key=lambda lane: lane.spawned or lane.first):
        row = Row(lane.host, lane.kind, _name(lane))
        slot = 0
        if lane.number:
            while busy_until.get((row, slot), 0) > (lane.spawned or lane.first):
                slot += 1
            busy_until[row, slot] = lane.ended or story.count + 1
        keys[lane.index] = (row, slot)
        found.setdefault((row, slot), len(found))
    return [keys[lane.index] for lane in story.lanes]


def _name(lane: Lane) -> str:
    is_internal = lane.kind == "task" and lane.name.startswith(_INTERNAL)
    return INTERNAL_NAME if is_internal else short(lane.name)
