"""What chooses schedules: a file for each strategy, and this one knows them by name.

A strategy is a `ChoiceSource`; it is made for one run, from the pair of seeds and nothing else, so
that a seed and the name of a strategy replay a run. A *driver* enumerates: it hands out tapes and
learns from each run where to go next, so only an exploration can use it, and its failures replay
from their tapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from toron.core.choices import SEED_MAX, ChoiceSource, SeededChoices, substream
from toron.core.tape import Deviation
from toron.errors import BadKernel
from toron.search.outcome import Execution
from toron.search.strategies.cancellation import CancellationPoints
from toron.search.strategies.coincidence import coincidence
from toron.search.strategies.delay import DelayBounded
from toron.search.strategies.legal import legal
from toron.search.strategies.pct import PriorityWalk
from toron.search.strategies.portfolio import portfolio

DEFAULT_STRATEGY = "portfolio"

STRATEGIES: dict[str, Callable[[int, int], ChoiceSource]] = {
    "portfolio": portfolio,
    "random": SeededChoices,
    "pct": PriorityWalk,
    "coincidence": coincidence,
    "legal": legal,
}


class Driver(Protocol):
    """Enumerates runs."""

    surveys: bool
    """Whether its runs must say where they could deviate."""

    def next_tapes(self, most: int) -> list[tuple[Deviation, ...]]:
        """At most ``most`` runs to execute now; none when the search has come to its end."""
        ...

    def learn(self, tape: tuple[Deviation, ...], execution: Execution) -> None:
        """Take note of a finished run; in the order in which they were handed out."""
        ...

    def bound(self) -> str:
        """What the search covers so far, as a sentence."""
        ...


SWARM = "swarm"
"""Each seed under a chaos seed, so a plan of faults, of its own: see `chaos_seed_for`."""
DRIVERS: dict[str, Callable[[bool], Driver]] = {
    "delay": lambda _beyond: DelayBounded(),
    "cancellation": lambda beyond: CancellationPoints(beyond=beyond),
}
FORK = "fork"
"""Copies runs where they come into a state that is rare: see `toron.search.rare`."""
EXPLORED = (*STRATEGIES, SWARM, *DRIVERS, FORK)
"""What an exploration can be told to use."""


def chaos_seed_for(seed: int, chaos_seed: int) -> int:
    """The chaos seed of one run of a swarm: another plan of faults for each seed."""
    return substream(chaos_seed, f"swarm {seed}") % (SEED_MAX + 1)


def check_strategy(name: str, *, explores: bool = False) -> str:
    """``name`` itself; BadKernel lists the strategies for one that there is not."""
    known = EXPLORED if explores else tuple(STRATEGIES)
    if name not in known:
        why = " (it enumerates: explore with it)" if name in EXPLORED else ""
        raise BadKernel(f"strategy {name!r} is none of {', '.join(known)}{why}")
    return name


def strategy_of(name: str, sim_seed: int, chaos_seed: int) -> ChoiceSource:
    """The strategy called ``name`` for one run."""
    return STRATEGIES[name](sim_seed, chaos_seed)
