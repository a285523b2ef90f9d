"""A run as lines for a terminal: when, on which host, who, what, and where in the program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toron.core.clock import SECOND_NS
from toron.search.traces.diff import Difference
from toron.search.traces.events import Bar, Event, Story, Wait

BEFORE, AFTER = 40, 10
"""How many events are shown before and after the one that is asked for."""
_LANE_WIDTH_MAX = 44
_EVENT_WIDTH = 58
_LANES_LISTED = 40
_BEFORE_A_DIFFERENCE = 3
LEGEND = "marks: > where it failed, * what led to it, ~ not where asyncio's own order has it"


@dataclass(frozen=True, slots=True)
class Window:
    """Which events are shown: around the one with a number, or the last so many; else all."""

    around: int | None = None
    last: int | None = None


def text_of(story: Story, window: Window | None = None) -> Iterator[str]:
    """The run, line by line."""
    yield from _head(story)
    first, end = _bounds(story, window or Window())
    shown = story.events[first:end]
    if first:
        yield f"… {first:,} events before these"
    yield from _table(story, shown)
    if end < len(story.events):
        yield f"… {len(story.events) - end:,} events after these"


def diff_text_of(a: Story, b: Story, found: Difference) -> Iterator[str]:
    """How two runs differ, line by line."""
    for name, story in (("A", a), ("B", b)):
        yield f"{name}  {_headline(story)}"
        yield f"   replay  toron replay {story.outcome.token}"
    if found.is_none:
        yield f"both are one run: {found.alike:,} events are alike"
        return
    yield f"alike for {found.alike:,} events; then"
    before = a.events[max(0, found.alike - _BEFORE_A_DIFFERENCE) : found.alike]
    yield from (f"   {line}" for line in _table(a, before))
    yield from _sides(a, b, found.first_a, found.first_b)
    differing = sorted(
        (pair for pair in found.lanes if pair.differs),
        key=lambda pair: min(pair.first_a or b.count, pair.first_b or b.count),
    )
    yield f"lanes that do something else ({len(differing)} of {len(found.lanes)}):"
    for pair in differing[:_LANES_LISTED]:
        yield f"  {pair.identity}: alike for {pair.alike} events; then"
        yield from (f"  {line}" for line in _sides(a, b, pair.first_a, pair.first_b))
    if len(differing) > _LANES_LISTED:
        yield f"  … and {len(differing) - _LANES_LISTED} more"


def _sides(a: Story, b: Story, first_a: int, first_b: int) -> Iterator[str]:
    """What each run does at a difference."""
    for name, story, number in (("A", a, first_a), ("B", b, first_b)):
        event = story.event(number)
        yield f"{name}  {next(_table(story, [event]))}" if event else f"{name}  nothing more"


def seconds(at_ns: int) -> str:
    """Virtual seconds with all their nine places."""
    return f"{at_ns // SECOND_NS}.{at_ns % SECOND_NS:09d}"


# What stands above the events


def _headline(story: Story) -> str:
    outcome = story.outcome
    return (
        f"{outcome.verdict.upper()}  {outcome.kernel}  "
        f"seed {outcome.sim_seed}, chaos seed {outcome.chaos_seed}  "
        f"({story.count:,} events, {outcome.steps:,} steps, "
        f"{outcome.virtual_ns / SECOND_NS:.6g} virtual s)"
    )


def _head(story: Story) -> Iterator[str]:
    outcome = story.outcome
    yield _headline(story)
    if story.differs:
        yield f"  NOT the run of the token: {story.differs}"
    if outcome.failure is not None:
        failure = outcome.failure
        yield f"  {failure.kind} at {seconds(failure.virtual_ns)} virtual s, event {story.focus}"
        yield f"    {printable(failure.message.partition('; waiting: ')[0])}"
        yield f"    {failure.where}" if failure.where else "    (no line of the program)"
    for wait in story.waits:
        yield f"  waits   {wait_line(story, wait)}"
    for bar in story.bars:
        yield f"  {bar.kind:7} {bar_line(story, bar)}"
    yield f"  replay  toron replay {outcome.token}"
    if story.missing:
        yield f"  {story.missing:,} of {story.count:,} events were not kept; the last ones are here"
    if outcome.failure is not None:
        yield f"  {LEGEND}"
    yield ""


def wait_line(story: Story, wait: Wait) -> str:
    """Who waits, where, for what, and who has it."""
    what = f" waits for {wait.what}" if wait.what else " waits"
    holders = ", ".join(story.lanes[index].label for index in wait.holders)
    held = f", held by {holders}" if holders and not wait.what.startswith("the end of") else ""
    return f"{story.lanes[wait.lane].label} at {wait.where}{what}{held}"


def bar_line(story: Story, bar: Bar) -> str:
    """From when to when something held."""
    begin, end = story.event(bar.begin), story.event(bar.end)
    since = seconds(begin.at_ns) if begin else "?"
    until = seconds(end.at_ns) if end else "the end"
    return f"{since} to {until}  {bar.text}"


# The events


def _bounds(story: Story, window: Window) -> tuple[int, int]:
    count = len(story.events)
    if window.last is not None:
        return max(0, count - window.last), count
    if window.around is None:
        return 0, count
    at = next((i for i, event in enumerate(story.events) if event.number >= window.around), count)
    return max(0, at - BEFORE), min(count, at + AFTER + 1)


def _table(story: Story, events: Sequence[Event]) -> Iterator[str]:
    """Aligned lines: mark, number, time, host, lane, event, place."""
    if not events:
        return
    in_chain = set(story.chain)
    host_width = max(len(event.process) for event in events)
    labels = [story.lanes[event.lane].label for event in events]
    lane_width = min(_LANE_WIDTH_MAX, max(map(len, labels)))
    number_width = len(str(events[-1].number))
    time_width = len(seconds(events[-1].at_ns))
    for event, label in zip(events, labels, strict=True):
        text = printable(f"{event.kind} {doing(event)}".rstrip())
        place = f"  {event.where}" if event.where else ""
        line = (
            f"{_mark(story, event, in_chain)} {event.number:>{number_width}}  "
            f"{seconds(event.at_ns):>{time_width}}  {event.process:<{host_width}}  "
            f"{label:<{lane_width}}  {text:<{_EVENT_WIDTH}}{place}"
        )
        yield line.rstrip()


def _mark(story: Story, event: Event, in_chain: set[int]) -> str:
    if event.number == story.focus and story.outcome.failure is not None:
        return ">"
    if event.was_moved:
        return "~"
    return "*" if event.number in in_chain else " "


def doing(event: Event) -> str:
    """The detail of an event, without what its lane says already."""
    detail = event.detail
    if event.kind == "step":
        _, arrow, result = detail.partition(" <- ")
        return f"<- {result}" if arrow else ""
    if event.kind == "end":
        return detail.partition(" ")[2]
    return detail


def printable(text: str) -> str:
    """Text on one line, without what would steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
