"""What chooses schedules: a file for each strategy, and this one knows them by name.

A strategy is a `ChoiceSource`; it is made for one run, from the pair of seeds and nothing else, so
that a seed and the name of a strategy replay a run. Strategies that learn from run to run, which an
exploration drives, are in `toron.search.explore`.
"""

from __future__ import annotations

from collections.abc import Callable

from toron.core.choices import ChoiceSource, SeededChoices
from toron.errors import BadKernel
from toron.search.strategies.coincidence import coincidence
from toron.search.strategies.pct import PriorityWalk
from toron.search.strategies.portfolio import portfolio

DEFAULT_STRATEGY = "portfolio"

STRATEGIES: dict[str, Callable[[int, int], ChoiceSource]] = {
    "portfolio": portfolio,
    "random": SeededChoices,
    "pct": PriorityWalk,
    "coincidence": coincidence,
}


def check_strategy(name: str) -> str:
    """``name`` itself; BadKernel lists the strategies for one that there is not."""
    if name not in STRATEGIES:
        raise BadKernel(f"strategy {name!r} is none of {', '.join(STRATEGIES)}")
    return name


def strategy_of(name: str, sim_seed: int, chaos_seed: int) -> ChoiceSource:
    """The strategy called ``name`` for one run."""
    return STRATEGIES[name](sim_seed, chaos_seed)
