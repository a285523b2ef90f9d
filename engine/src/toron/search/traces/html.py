"""A run, or two beside each other, as one page that needs nothing but a browser.

The page is the files of the folder ``page`` put together; what it shows is a block of JSON, in
columns, each text once. Equal runs give equal bytes. Nothing of the program's text is ever markup:
the browser takes it from JSON as text, and what stands in the page itself is escaped here.
"""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toron.search.traces.diff import Difference, difference
from toron.search.traces.events import Event, Story
from toron.search.traces.rows import rows_of
from toron.search.traces.text import bar_line, doing, seconds, wait_line

EVENTS_MAX = 200_000
"""How many events of a run the page has; of a longer one it has the last."""
_PAGE = Path(__file__).parent / "page"
_BARS_LISTED = 60
_CHAIN_DRAWN = 30
_SCRIPTS = ("trace.js", "view.js", "timeline.js", "pointer.js", "list.js", "detail.js", "page.js")


def page_of(story: Story, against: Story | None = None) -> str:
    """The whole page."""
    found = difference(story, against) if against is not None else None
    stories = [story] if against is None else [story, against]
    rows, placed = rows_of(stories)
    payload = {
        "rows": [[row.host, row.kind, row.name] for row in rows],
        "runs": [_run(one, where) for one, where in zip(stories, placed, strict=True)],
        "diff": _diff(found),
    }
    title = f"{story.outcome.kernel}, seed {story.outcome.sim_seed}: {story.outcome.verdict}"
    parts = {
        "title": html.escape(title),
        "style": _file("page.css"),
        "summary": "\n".join(_summary(stories, found)),
        "payload": json.dumps(payload, separators=(",", ":")).replace("<", "\\u003c"),
        "script": "\n".join(_file(name) for name in _SCRIPTS),
    }
    page = _file("page.html")
    before, *rest = page.split("{{")
    written = [before]
    for piece in rest:
        name, _, after = piece.partition("}}")
        written += [parts[name], after]
    return "".join(written)


@functools.cache
def _file(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")


# What is read without a script


def _summary(stories: list[Story], found: Difference | None) -> Iterator[str]:
    for name, story in zip("AB", stories, strict=False):
        yield from _run_summary(story, name if found is not None else "")
    if found is not None:
        yield f'<p class="verdict-line">{html.escape(_diff_sentence(stories, found))}</p>'


def _run_summary(story: Story, name: str) -> Iterator[str]:
    outcome = story.outcome
    failure = outcome.failure
    yield f'<section class="run" aria-label="Run {name}">' if name else '<section class="run">'
    letter = f'<span class="letter">{name}</span> ' if name else ""
    yield (
        f'<h1>{letter}<span class="badge {outcome.verdict}">{outcome.verdict}</span> '
        f"{html.escape(outcome.kernel)}</h1>"
    )
    yield f'<p class="facts">{html.escape(_facts(story))}</p>'
    if story.differs:
        yield f'<p class="warning">Not the run of the token: {html.escape(story.differs)}</p>'
    if failure is not None:
        message = failure.message.partition("; waiting: ")[0]
        yield (
            f'<p class="failure"><strong>{html.escape(failure.kind)}</strong> at '
            f"{seconds(failure.virtual_ns)} s: {html.escape(message)}</p>"
        )
        if failure.where:
            yield f'<p class="place"><code>{html.escape(failure.where)}</code></p>'
    if story.waits:
        items = "".join(f"<li>{html.escape(wait_line(story, wait))}</li>" for wait in story.waits)
        yield f'<details open><summary>Who waits for whom</summary><ul class="waits">{items}</ul>'
        yield "</details>"
    yield from _faults(story)
    for text in _left_out(story):
        yield f'<p class="warning">{html.escape(text)}</p>'
    command = html.escape(f"toron replay {outcome.token}")
    yield f'<div class="replay"><code>{command}</code><button type="button">Copy</button></div>'
    yield "</section>"


def _facts(story: Story) -> str:
    outcome = story.outcome
    return (
        f"seed {outcome.sim_seed}, chaos seed {outcome.chaos_seed}, {outcome.strategy} · "
        f"{story.count:,} events, {outcome.steps:,} steps, "
        f"{seconds(outcome.virtual_ns)} virtual seconds"
    )


def _faults(story: Story) -> Iterator[str]:
    if not story.bars:
        return
    lines = [bar_line(story, bar) for bar in story.bars[:_BARS_LISTED]]
    more = len(story.bars) - len(lines)
    if more:
        lines.append(f"and {more} more, which are drawn below")
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    yield f"<details><summary>Faults ({len(story.bars)})</summary><ol>{items}</ol></details>"


def _left_out(story: Story) -> Iterator[str]:
    """What of the run this page does not have."""
    if story.missing:
        yield f"{story.missing:,} events before the last ones were not kept: the run had too many."
    before = len(story.events) - EVENTS_MAX
    if before > 0:
        yield f"The first {before:,} events are not on this page; --format ndjson has them."


def _diff_sentence(stories: list[Story], found: Difference) -> str:
    if found.is_none:
        return f"Both are one run: all {found.alike:,} events are alike."
    words = [f"Both runs are alike for {found.alike:,} events."]
    firsts = (found.first_a, found.first_b)
    for name, story, number in zip("AB", stories, firsts, strict=True):
        event = story.event(number)
        words.append(f"Then {name}: {_spoken(story, event)}." if event else f"{name} had ended.")
    return " ".join(words)


def _spoken(story: Story, event: Event) -> str:
    lane = story.lanes[event.lane]
    return f"{lane.label}: {event.kind} {doing(event)}".rstrip(" :")


# What the script reads


class _Texts:
    """Each text once."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._known: dict[str, int] = {}

    def at(self, text: str) -> int:
        """The position of ``text``."""
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = len(self.all)
            self.all.append(text)
        return known


def _run(story: Story, row_of: list[int]) -> dict[str, Any]:
    outcome = story.outcome
    events = story.events[-EVENTS_MAX:]
    texts = _Texts()
    lanes = [
        [row_of[lane.index], *(getattr(lane, name) for name in _LANE_FIELDS)]
        for lane in story.lanes
    ]
    return {
        "verdict": outcome.verdict,
        "failed": outcome.failure is not None,
        "token": outcome.token,
        "endNs": outcome.virtual_ns,
        "count": story.count,
        "focus": story.focus,
        "chain": story.chain[:_CHAIN_DRAWN],
        "hosts": story.hosts,
        "lanes": lanes,
        "events": _columns(events, texts),
        "turns": {str(event.number): event.turn for event in events if event.turn},
        "messages": [
            [m.sent, m.kind, m.size, m.state, m.arrived] for m in story.messages if m.arrived
        ]
        + [[m.sent, m.kind, m.size, m.state, []] for m in story.messages if not m.arrived],
        "bars": [asdict(bar) for bar in story.bars],
        "waits": [asdict(wait) for wait in story.waits],
        "texts": texts.all,
    }


def _columns(events: list[Event], texts: _Texts) -> dict[str, list[int]]:
    """The events, a list for each field; numbers and times as differences."""
    columns: dict[str, list[int]] = {name: [] for name in _FIELDS}
    number, at_ns = 0, 0
    for event in events:
        row = (
            event.number - number,
            event.at_ns - at_ns,
            event.lane,
            texts.at(event.kind),
            texts.at(doing(event)),
            texts.at(event.where),
            texts.at(event.host),
            event.step and event.number - event.step + 1,
            event.cause and event.number - event.cause,
            texts.at(event.note),
        )
        number, at_ns = event.number, event.at_ns
        for name, value in zip(_FIELDS, row, strict=True):
            columns[name].append(value)
    return columns


_LANE_FIELDS = (
    "label",
    "title",
    "identity",
    "kind",
    "process",
    "spawned",
    "first",
    "ended",
    "ending",
)
_FIELDS = ("number", "at", "lane", "kind", "text", "where", "host", "step", "cause", "note")


def _diff(found: Difference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "alike": found.alike,
        "firstA": found.first_a,
        "firstB": found.first_b,
        "lanes": [[p.a, p.b, p.first_a, p.first_b] for p in found.lanes if p.differs],
    }
