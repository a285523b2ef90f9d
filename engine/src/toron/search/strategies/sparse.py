"""Keeps asyncio's own order most of the time, and deviates now and then.

Delay-bounded scheduling, drawn (Emmi, Qadeer, Rakamarić, POPL 2011): most bugs need few deviations,
and a walk that deviates at every step seldom has only those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toron.core.choices import SeededChoices

_RATES = (2, 4, 16, 64, 1 << 30)
"""One ordering of so many deviates; the last: none does, and only the network is drawn."""


class SparseWalk(SeededChoices):
    """A random walk in which most steps are asyncio's."""

    def __init__(self, sim_seed: int, chaos_seed: int) -> None:
        super().__init__(sim_seed, chaos_seed)
        self._one_in = _RATES[self.pick("sparse.rate", len(_RATES))]

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """Mostly as it is."""
        if self.pick("sparse", self._one_in):
            return None
        return super().order(label, things, name_of)
