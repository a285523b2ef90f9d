"""Why a run failed: all that is known, as values; `text` prints it and `explain` finds it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toron.core.tape import Deviation as TapeDeviation
from toron.search.explain.chain import Link, Lost
from toron.search.explain.deviations import Deviation
from toron.search.explain.legality import Legality
from toron.search.explain.neighbours import Passing
from toron.search.explain.reproduce import Reproduction
from toron.search.explain.sources import Sources
from toron.search.explain.steps import Account, Step
from toron.search.outcome import Outcome


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why a run failed."""

    outcome: Outcome
    """Of the run that is explained: the shrunk one, where there is one. With its legality."""
    account: Account
    sources: Sources
    tape: Sequence[TapeDeviation]
    is_shrunk: bool
    deviations: Sequence[Deviation]
    legality: Legality
    chain: Sequence[Link]
    cycle: Sequence[int]
    lost: Sequence[Lost]
    passing: Passing | None
    relevant: frozenset[int]
    """The numbers of the steps that matter."""
    reproduction: Reproduction | None

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "outcome": self.outcome.to_json(),
            "legality": self.legality.text,
            "legal_token": self.legality.token,
            "shrunk": self.is_shrunk,
            "tape": [list(deviation) for deviation in self.tape],
            "deviations": [
                {
                    "kind": one.kind,
                    "virtual_ns": one.at_ns,
                    "text": one.text,
                    "legal": one.is_legal,
                    "broken_promise": one.broken_promise or None,
                }
                for one in self.deviations
            ],
            "interleaving": [
                self._step(step) for step in self.account.steps if step.number in self.relevant
            ],
            "chain": [
                {
                    "event": link.step.number,
                    "who": link.step.who,
                    "why": link.why,
                    "where": link.place,
                    "code": self.sources.code(link.place),
                }
                for link in self.chain
            ],
            "waits": [self._wait(lane) for lane in range(len(self.account.story.waits))],
            "cycle": [self.account.names.get(lane, "") for lane in self.cycle],
            "lost_wakeups": [
                {
                    "who": self.account.names.get(one.waiter, ""),
                    "within": one.within,
                    "text": one.text,
                }
                for one in self.lost
            ],
            "nearest_passing": self._passing(),
            "reproduction": None if self.reproduction is None else self.reproduction.to_json(),
        }

    def _step(self, step: Step) -> dict[str, Any]:
        return {
            "event": step.number,
            "virtual_ns": step.event.at_ns,
            "tick": step.wake.tick,
            "host": step.event.host,
            "who": step.who,
            "kind": step.event.kind,
            "detail": step.event.detail,
            "where": step.event.where,
            "code": self.sources.code(step.event.where),
            "then": step.wake.then,
        }

    def _wait(self, at: int) -> dict[str, Any]:
        wait, names = self.account.story.waits[at], self.account.names
        return {
            "who": names.get(wait.lane, self.account.story.lanes[wait.lane].label),
            "for": wait.what,
            "where": wait.where,
            "code": self.sources.code(wait.where),
            "held_by": [names.get(lane, "") for lane in wait.holders],
        }

    def _passing(self) -> dict[str, Any] | None:
        if self.passing is None:
            return None
        return {
            "change": self.passing.change,
            "events_alike": self.passing.alike,
            "token": self.passing.account.execution.outcome.token,
        }
