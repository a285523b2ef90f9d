"""Nothing that stock asyncio would not do on a busy machine: its own order of steps, with stalls.

What fails here is no artefact of the search. It finds less than the portfolio, because most
programs put their tasks on the loop by one chain of steps, whose order asyncio keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toron.core.choices import SeededChoices
from toron.search.strategies.coincidence import Coincidence, with_stalls


class OwnOrder(SeededChoices):
    """Numbers, and the order of what the kernel reports, are drawn; steps stay as they are."""

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """Of steps none; of ready descriptors any."""
        return None if label == "schedule" else super().order(label, things, name_of)


def legal(sim_seed: int, chaos_seed: int) -> Coincidence:
    """Stalls, in asyncio's own order."""
    seeded = OwnOrder(sim_seed, chaos_seed)
    return with_stalls(seeded, seeded)
