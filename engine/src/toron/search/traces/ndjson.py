"""A run as JSON objects, one a line, for programs that read it; see docs/reference/traces.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from toron.search.traces.events import Event, Story

SCHEMA = 1


def ndjson_of(story: Story) -> Iterator[str]:
    """The lines: the run, its lanes, its events, its messages, faults and waits."""
    yield _line(run_object(story))
    for lane in story.lanes:
        yield _line({"type": "lane", **asdict(lane)})
    for event in story.events:
        yield _line({"type": "event", **_event(event)})
    for message in story.messages:
        yield _line({"type": "message", **asdict(message)})
    for bar in story.bars:
        yield _line({"type": "bar", **asdict(bar)})
    for wait in story.waits:
        yield _line({"type": "wait", **asdict(wait)})


def run_object(story: Story) -> dict[str, Any]:
    """What the run came to, and how much of it is here."""
    return {
        "type": "run",
        "schema": SCHEMA,
        "outcome": story.outcome.to_json(),
        "differs": story.differs or None,
        "hosts": story.hosts,
        "events": story.count,
        "events_missing": story.missing,
        "focus": story.focus,
        "chain": story.chain,
    }


def _event(event: Event) -> dict[str, Any]:
    """All fields but those that say nothing."""
    fields = asdict(event)
    for name in ("where", "step", "cause", "host", "note", "turn"):
        if not fields[name]:
            del fields[name]
    return fields


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"))
