"""Strategies of Hypothesis for tests around kernels: ``@given(seeds())`` and ``toron.run``.

The other way round, Hypothesis' strategies inside a kernel, is `World.draw`.
"""

from __future__ import annotations

from hypothesis import strategies as st

from toron.core.choices import SEED_MAX


def seeds() -> st.SearchStrategy[int]:
    """Any seed, for ``toron.run(kernel, seed=…)`` or its ``chaos_seed``; small ones are simplest.

    Hypothesis then looks for a seed that fails and shrinks what else the test draws. The seed
    itself has no simpler neighbour: near seeds are other schedules.
    """
    return st.integers(0, SEED_MAX)
