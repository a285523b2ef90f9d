"""Shares the runs of an exploration among the strategies: each seed draws its own mixture.

No strategy is best for all bugs (simloom: random 395 of 400 against PCT's 44 on a shallow race, 0
against 151 on starvation), so the default takes turns, as swarm testing does with faults (Groce et
al., ISSTA 2012). The mixture is a function of the seed alone: seed 7 is the same run whether it is
executed alone or among thousands.
"""

from __future__ import annotations

from toron.core.choices import ChoiceSource, SeededChoices
from toron.search.strategies.coincidence import with_stalls
from toron.search.strategies.pct import PriorityWalk
from toron.search.strategies.sparse import SparseWalk

_SHARES = 8


def portfolio(sim_seed: int, chaos_seed: int) -> ChoiceSource:
    """An order (random, sparse or by priority), in seven of eight runs with stalls."""
    seeded = SeededChoices(sim_seed, chaos_seed)
    share = seeded.pick("portfolio.order", _SHARES)
    inner: ChoiceSource = seeded
    if share >= 6:
        inner = PriorityWalk(sim_seed, chaos_seed)
    elif share >= 3:
        inner = SparseWalk(sim_seed, chaos_seed)
    return with_stalls(inner, seeded) if seeded.pick("portfolio.stalls", 8) else inner
