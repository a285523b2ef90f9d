"""Tries every run that deviates from asyncio's own order at most N times, for N = 0, 1, 2, ...

Emmi, Qadeer, Rakamarić, "Delay-Bounded Scheduling" (POPL 2011): one deviation puts one thing behind
all others that are ready with it, or lets the process stand still once. The runs of a bound are
enumerated completely before the next bound begins, so a search that ends without a failure says how
far it has looked: "no failure within N deviations". Numbers (latencies, faults) stay harmless.
"""

from __future__ import annotations

from collections import deque

from toron.core.tape import Deviation
from toron.search.outcome import Execution

Deviations = tuple[Deviation, ...]


class DelayBounded:
    """The runs in order of their number of deviations."""

    surveys = True

    def __init__(self) -> None:
        self._waiting: deque[Deviations] = deque([()])
        self._running: dict[int, int] = {0: 1}
        """How many runs of each number of deviations are known and not finished."""
        self._done = self._failed = 0

    def next_tapes(self, most: int) -> list[Deviations]:
        """At most ``most`` runs to execute now; none when all bounds are exhausted."""
        tapes: list[Deviations] = []
        while self._waiting and len(tapes) < most:
            if tapes and len(self._waiting[0]) != len(tapes[0]):
                break  # the runs of this bound may add to themselves
            tapes.append(self._waiting.popleft())
        return tapes

    def learn(self, tape: Deviations, execution: Execution) -> None:
        """Note where a finished run could deviate once more, after its last deviation."""
        depth = len(tape)
        self._running[depth] -= 1
        self._done += 1
        if execution.outcome.failure is not None:
            self._failed += 1
            return  # a run that failed is an answer: longer ones would fail alike
        offers = [offer for offer in execution.offers if not offer[0].startswith("cancel ")]
        known = {key for key, _ in tape}
        taken = (offers.index(one) for one in tape if one in offers)
        begin = 1 + max(taken, default=-1)
        for key, value in dict.fromkeys(offers[begin:]):
            if key not in known:
                self._waiting.append((*tape, (key, value)))
                self._running[depth + 1] = self._running.get(depth + 1, 0) + 1

    def bound(self) -> str:
        """What is known about the bounds; runs that fail, or are cut short, are not extended."""
        failed = f"; the {self._failed} that did not pass are not extended" if self._failed else ""
        open_bounds = [depth for depth, count in self._running.items() if count]
        if not open_bounds:
            return f"no run is left: all {self._done} schedules were tried{failed}"
        first = min(open_bounds)
        if first == 0:
            return "nothing was executed"
        left = self._running[first]
        return (
            f"all runs with at most {first - 1} deviations were tried ({self._done} runs); "
            f"{left} with {first} are left{failed}"
        )
