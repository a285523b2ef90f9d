"""Builds the story of a run from its trace: messages, faults, who waited, and what led to the end.

Made from an execution at level ``events``. It only reads; what a run does is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from toron.search.outcome import Execution, Failure, TraceEvent
from toron.search.traces.bars import bars_of
from toron.search.traces.events import Event, Lane, Message, Story, Wait
from toron.search.traces.lanes import Lanes

_SENDS = frozenset(("send", "fin", "rst", "udp", "connect"))
_ARRIVES = frozenset(("deliver", "reset", "open", "accept", "refused"))
_LOST = frozenset(("lost", "drop", "icmp"))
_CHAIN_MAX = 200
_CAUSES = _SENDS | _ARRIVES | frozenset(("spawn", "end", "write", "signal", "step", "call"))
"""What is worth a link of its own in a chain; of all else the step is."""
_WAITS = re.compile(
    r"(?P<who>(?:task|thread)#\d+)[^;]*? at (?P<where>[^;]*?:\d+ in [^ ;]+)"
    r"(?: waits for (?P<what>[^;]*))?"
)
_HELD = re.compile(r", held by (?P<holders>.*)$")
_NUMBERED = re.compile(r"(?:task|thread)#\d+")
_ENDS = re.compile(r" ended ((?:task|thread)#\d+)")


def story_of(execution: Execution, *, differs: str = "", is_unstable: bool = False) -> Story:
    """The story of ``execution``; ``differs`` says why it is not the run that was asked for."""
    lanes = Lanes()
    events = [lanes.place(raw) for raw in _kept(execution)]
    focus = _focus(events, lanes.all, execution.outcome.failure)
    story = Story(
        outcome=execution.outcome,
        events=events,
        lanes=lanes.all,
        hosts=lanes.hosts,
        messages=_messages(events),
        bars=bars_of(events, lanes.hosts),
        waits=_waits(execution.outcome.failure, lanes.all),
        focus=focus,
        chain=[],
        count=max(execution.count, events[-1].number if events else 0),
        differs=differs,
        is_unstable=is_unstable,
    )
    story.chain.extend(_chain(story))
    return story


def _kept(execution: Execution) -> Iterable[TraceEvent]:
    """The events that were kept, and, of a run that had too many, the last lines of its end."""
    kept = [event for event in execution.events if event.number]
    yield from kept
    last = kept[-1].number if kept else 0
    first_of_tail = execution.count - len(execution.tail) + 1
    for number, text in enumerate(execution.tail, first_of_tail):
        if number > last:
            yield TraceEvent(number, text, "")


# Messages


def _messages(events: list[Event]) -> list[Message]:
    """What was put on the wire, in order, and what became of it."""
    sent: dict[int, Message] = {}
    for event in events:
        if event.kind in _SENDS:
            path, size = _path_and_size(event)
            sent[event.number] = Message(event.number, event.kind, path, size, event.host)
        elif event.cause in sent and (event.kind in _ARRIVES or event.kind in _LOST):
            message = sent[event.cause]
            message.arrived.append(event.number)
            message.state = "lost" if event.kind in _LOST else "arrived"
    return list(sent.values())


def _path_and_size(event: Event) -> tuple[str, int]:
    words = event.detail.split(" ")
    has_size = event.kind in ("send", "udp") and len(words) > 1 and words[1].isdigit()
    return words[0], int(words[1]) if has_size else 0


# Who waited


def _waits(failure: Failure | None, lanes: list[Lane]) -> list[Wait]:
    """Who waits for whom when nothing goes on, as the report of the failure has it."""
    if failure is None or "; waiting: " not in failure.message:
        return []
    by_mark = {f"{lane.kind}#{lane.number}": lane.index for lane in lanes if lane.number}
    found = []
    for match in _WAITS.finditer(failure.message.partition("; waiting: ")[2]):
        lane = by_mark.get(match["who"])
        what = match["what"] or ""
        held = _HELD.search(what)
        named = _NUMBERED.findall(held["holders"] if held else what)
        if lane is not None:
            holders = tuple(by_mark[mark] for mark in named if mark in by_mark)
            what = _HELD.sub("", what)
            found.append(Wait(lane, match["where"], what, holders))
    return found


# What led to the failure


def _focus(events: list[Event], lanes: list[Lane], failure: Failure | None) -> int:
    """The event at which the run failed: the last thing that the program did of it."""
    if not events:
        return 0
    if failure is None:
        return events[-1].number
    named = _ENDS.search(failure.message)
    if named is not None:
        for lane in lanes:
            if f"{lane.kind}#{lane.number}" == named[1] and lane.ended:
                return lane.ended
    raised = _raised(events, lanes) if failure.kind in ("exception", "escape") else 0
    if raised:
        return raised
    acts = ("broken",) if failure.kind == "property" else ("step", "call", "end", "unhandled")
    for event in reversed(events):
        if event.kind in acts and event.at_ns <= failure.virtual_ns:
            return event.number
    return events[-1].number


def _raised(events: list[Event], lanes: list[Lane]) -> int:
    """Where the exception that ended the last failed task first ended one; 0 when none did."""
    failed = [
        (event.detail.partition(" ")[2], event.number)
        for event in events
        if event.kind == "end" and lanes[event.lane].ending == "failed"
    ]
    return next((number for text, number in failed if text == failed[-1][0]), 0)


def _chain(story: Story) -> list[int]:
    """The causes of the focus, each the cause of the one before it."""
    chain: list[int] = []
    event = story.event(story.focus)
    while event is not None and len(chain) < _CHAIN_MAX:
        cause = story.event(event.cause)
        if cause is not None and cause.kind not in _CAUSES and cause.step:
            cause = story.event(cause.step)
        if cause is None or cause.number >= event.number:
            break
        chain.append(cause.number)
        event = cause
    return chain
