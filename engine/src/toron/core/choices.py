"""Draws every choice of a run: schedule, latency, faults, entropy.

A choice is a whole number below a bound, drawn under a label. Each label is its own sub-stream, a
hash of seed and label, so that a new consumer of chance does not move the draws of the others.
Labels that begin with ``chaos.`` come from CHAOS_SEED, all others from SIM_SEED.
"""

from __future__ import annotations

import _random
import hashlib
from typing import Protocol, TypeVar

T = TypeVar("T")

SEED_MAX = 2**64 - 1


def substream(seed: int, label: str) -> int:
    """A 128-bit seed for the sub-stream ``label`` of ``seed``."""
    digest = hashlib.blake2b(f"{seed}\x00{label}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "big")


class ChoiceSource(Protocol):
    """Where decisions come from; a seed today, a recorded tape when a run is shrunk."""

    def pick(self, label: str, bound: int) -> int:
        """Return a whole number from 0 to ``bound`` - 1."""
        ...


class SeededChoices:
    """Choices drawn from the pair of seeds."""

    __slots__ = ("_streams", "chaos_seed", "sim_seed")

    def __init__(self, sim_seed: int, chaos_seed: int) -> None:
        self.sim_seed = sim_seed
        self.chaos_seed = chaos_seed
        self._streams: dict[str, _random.Random] = {}

    def stream(self, label: str) -> _random.Random:
        """The generator behind ``label``, for consumers that draw many values at once."""
        stream = self._streams.get(label)
        if stream is None:
            seed = self.chaos_seed if label.startswith("chaos.") else self.sim_seed
            # The C base class: `random.Random` itself is patched inside a run.
            stream = self._streams[label] = _random.Random(substream(seed, label))
        return stream

    def reseed(self, sim_seed: int, chaos_seed: int) -> None:
        """Draw everything from another pair of seeds from now on."""
        self.sim_seed, self.chaos_seed = sim_seed, chaos_seed
        self._streams.clear()

    def pick(self, label: str, bound: int) -> int:
        """Return a whole number from 0 to ``bound`` - 1, uniform to one part in 2**53."""
        assert bound > 0, f"choice {label} has nothing to choose from"
        return (self.stream(label).getrandbits(53) * bound) >> 53


def shuffle(choices: ChoiceSource, label: str, items: list[T]) -> None:
    """Permute ``items`` in place (Fisher-Yates), one choice an item."""
    for last in range(len(items) - 1, 0, -1):
        other = choices.pick(label, last + 1)
        if other != last:
            items[last], items[other] = items[other], items[last]
