"""Traces of failing executions, and where two of them first differ.

A file of lines: the first says how many events there were and from which on they are kept, each
other line is one event. Of a trace that is too long the end is kept, since failures end traces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testops.snapshots.canonical import Json, canonical, form, parse, storable
from testops.snapshots.refusal import Refusal

EVENT_COUNT_MAX = 20_000
_AROUND = 3
_EVENT_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True)
class Trace:
    """The events from number `first` on, of `total`."""

    total: int
    first: int
    events: Sequence[Json]

    def event(self, number: int) -> Json:
        return self.events[number - self.first]

    def span(self, start: int, stop: int) -> list[dict[str, Json]]:
        start, stop = max(start, self.first), min(stop, self.total)
        return [
            {"number": number, "text": _event_text(self.event(number))}
            for number in range(start, stop)
        ]


def _event_text(event: Json) -> str:
    match event:
        case {"text": str(text), "where": str(where)}:
            spelled = f"{text}  [{where}]" if where else text
        case str():
            spelled = event
        case _:
            spelled = form(event)
    short = spelled[:_EVENT_LENGTH_MAX]
    return short if short == spelled else f"{short}… ({len(spelled)} characters)"


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first event that differs; `old` or `new` is empty where one trace had ended."""

    number: int
    before: Sequence[Mapping[str, Json]]
    old: Sequence[Mapping[str, Json]]
    new: Sequence[Mapping[str, Json]]

    def to_json(self) -> dict[str, Json]:
        return {
            "event": self.number,
            "before": [dict(event) for event in self.before],
            "old": [dict(event) for event in self.old],
            "new": [dict(event) for event in self.new],
        }


def write_trace(events: Sequence[Any]) -> bytes:
    """The file of a trace."""
    first = max(0, len(events) - EVENT_COUNT_MAX)
    head: Json = {"events": len(events), "first": first}
    lines = [canonical(head)] + [canonical(storable(event)) for event in events[first:]]
    return b"".join(line + b"\n" for line in lines)


def parse_trace(raw: bytes) -> Trace:
    """The trace in a file; Refusal when it is none."""
    if not raw.endswith(b"\n"):
        raise Refusal("has a trace whose last line is cut off")
    head, *events = [parse(line) for line in raw[:-1].split(b"\n")]
    match head:
        case {"events": int(total), "first": int(first)} if 0 <= first <= total:
            if total - first != len(events):
                raise Refusal(f"has a trace of {len(events)} events that claims {total - first}")
            return Trace(total=total, first=first, events=events)
        case _:
            raise Refusal("has a trace without its first line")


def first_divergence(old: Trace, new: Trace) -> Divergence | None:
    """Where the traces part, with the events around; None when what both kept is equal."""
    start = max(old.first, new.first)
    shared = min(old.total, new.total)
    parted = (
        number
        for number in range(start, shared)
        if form(old.event(number)) != form(new.event(number))
    )
    number = next(parted, shared)
    if number == shared and old.total == new.total:
        return None
    return Divergence(
        number=number,
        before=old.span(number - _AROUND, min(number, old.total)),
        old=old.span(number, number + 1 + _AROUND),
        new=new.span(number, number + 1 + _AROUND),
    )
