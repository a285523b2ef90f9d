"""What held for a while in a run: planned faults, cut links, hosts that were down or paused."""

from __future__ import annotations

import re
from collections.abc import Sequence

from toron.search.traces.events import Bar, Event
from toron.search.traces.lanes import host_of

_CUTS = ("partition", "blackhole")


def bars_of(events: Sequence[Event], hosts: Sequence[str]) -> list[Bar]:
    """The bars, in the order in which they begin."""
    drawing = _Drawing(hosts)
    for event in events:
        drawing.follow(event)
    return drawing.bars


class _Drawing:
    """The bars so far, and which of them have not ended."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.bars: list[Bar] = []
        self._hosts = hosts
        self._open: dict[str, Bar] = {}

    def follow(self, event: Event) -> None:
        """Begin or end what ``event`` begins or ends."""
        number, detail = event.number, event.detail
        match event.kind:
            case "fault":
                self._begin(f"fault {detail}", Bar("fault", detail, self._named(detail), number))
            case "partition" | "blackhole":
                bar = Bar("fault", f"{event.kind} {detail}", self._named(detail), number)
                self._begin(f"{event.kind} {_pair(detail)}", bar)
            case "heal":
                self._heal(detail, number)
            case "quiet":
                self._end_all("fault ", number)
            case "crash" | "kill":
                bar = Bar("down", f"{detail} is down ({event.kind})", (detail,), number)
                self._begin(f"down {detail}", bar)
            case "restart":
                self._end(f"down {host_of(detail)}", number)
            case "pause":
                bar = Bar("paused", f"{detail} is paused", (detail,), number)
                self._begin(f"paused {detail}", bar)
            case "resume":
                self._end(f"paused {detail}", number)
            case _:
                pass  # nothing that lasts

    def _begin(self, key: str, bar: Bar) -> None:
        if key not in self._open:
            self.bars.append(bar)
            self._open[key] = bar

    def _end(self, key: str, number: int) -> None:
        bar = self._open.pop(key, None)
        if bar is not None:
            bar.end = number

    def _end_all(self, prefix: str, number: int) -> None:
        for key in [key for key in self._open if key.startswith(prefix)]:
            self._end(key, number)

    def _heal(self, detail: str, number: int) -> None:
        self._end(f"fault {detail}", number)
        for cut in _CUTS:
            if detail == "all":
                self._end_all(f"{cut} ", number)
            else:
                self._end(f"{cut} {_pair(detail)}", number)

    def _named(self, text: str) -> tuple[str, ...]:
        words = set(re.split(r"[^\w.-]+", text))
        return tuple(host for host in self._hosts if host in words)


def _pair(detail: str) -> str:
    """``a|b`` or ``a>b`` as one key, whichever comes first."""
    return "|".join(sorted(re.split(r"[|>]", detail)))
