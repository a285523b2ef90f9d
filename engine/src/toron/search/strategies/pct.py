"""Priorities: one task runs ahead of the others until a change point lowers it.

Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs" (ASPLOS
2010): a bug that needs d ordering constraints is found with a probability of at least
1/(n k^(d-1)). Two departures. The length of a run is not known beforehand, so change points come
with a probability a step. And it is fair: priorities order what is ready in one iteration of the
loop, all of which runs before the next, so a task that spins cannot starve the one that it waits
for, and a correct program is never reported as a livelock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toron.core.choices import SeededChoices

_CHANGES = (16, 64, 256, 1024)
"""One ordering of so many changes a priority; drawn for each run."""
_HIGHEST = 1 << 32


class PriorityWalk(SeededChoices):
    """Orders tasks by a priority that each gets when it is first met."""

    wants_names = True

    def __init__(self, sim_seed: int, chaos_seed: int) -> None:
        super().__init__(sim_seed, chaos_seed)
        self._priorities: dict[str, int] = {}
        self._changes_one_in = _CHANGES[self.pick("pct.rate", len(_CHANGES))]
        self._lowest = 0

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """Tasks by priority, the highest first; what has no name is in any order."""
        if label != "schedule":
            return super().order(label, things, name_of)
        names = [name_of(thing).partition("/")[0] for thing in things]
        for name in names:
            if name not in self._priorities:
                self._priorities[name] = 1 + self.pick("pct.priority", _HIGHEST)
        order = sorted(range(len(names)), key=lambda at: (-self._priorities[names[at]], at))
        if not self.pick("pct.change", self._changes_one_in):
            self._lowest -= 1
            self._priorities[names[order[0]]] = self._lowest
            order.append(order.pop(0))
        return order
