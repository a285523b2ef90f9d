"""Deviations in words, for people."""

from __future__ import annotations

import re

from toron.core.choices import WHOLE

_PLACES = re.compile(r"(?P<task>.+)#(?P<which>\d+)/(?P<step>\d+)(?P<woken>\+?)(?P<rest>.*)")
_SORTS = {
    "net.latency": "the delays of packets",
    "net.loss": "losses of packets",
    "net.split": "the packets that a write is split into",
    "disk.time": "the times that the disk takes",
}


def words_of(key: str, value: int) -> str:
    """One deviation of a tape as a sentence."""
    label, _, entity = key.partition(" ")
    entity, _, count = entity.partition("~")
    again = f" (number {count} of that name)" if count else ""
    family, _, detail = label.partition(".")
    match family, detail:
        case "schedule", "io":
            return f"descriptor {entity} is served {_places(value)} later than its turn{again}"
        case "schedule", "timer":
            return f"the timer of {_step(entity)} runs {_places(value)} later than it is due{again}"
        case "schedule", "thread":
            return f"switch {entity} of threads goes {_places(value)} past the first that may run"
        case "schedule", _:
            return f"{_step(entity)} runs {_places(value)} later than its turn{again}"
        case "stall", _:
            what = "the next arrival" if entity == "arrival" else f"the timer of {_step(entity)}"
            return f"the process stands still for {value / 1e6:g} ms, until {what}{again}"
        case "cancel", _:
            what = "is cancelled" if value == 1 else f"meets its timeout number {value - 1}"
            return f"{_step(entity)} {what}"
        case "chaos", "fault":
            kind, _, number = entity.partition(" ")
            short = "" if value == WHOLE else f", for {value / WHOLE:.1%} of its planned time"
            return f"fault {number} of kind {kind} takes place{short}"
        case "seeded", _:
            return f"{_SORTS.get(entity, entity)} are what the seed draws"
        case "data", _:
            return f"draw {entity} of {detail or family} is {value} above the simplest"
        case _:
            return f"choice {entity} of {label} is {value} above the harmless one"


def _places(value: int) -> str:
    return "one place" if value == 1 else f"{value} places"


def _step(entity: str) -> str:
    found = _PLACES.fullmatch(entity)
    if found is None:
        return entity
    which, step = found["which"], found["step"]
    woken = ", as it wakes," if found["woken"] else ""
    return f"step {step} of {found['task']}#{which}{woken}{found['rest']}"
