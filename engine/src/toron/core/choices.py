"""Says how every choice of a run is asked for, and draws them from the pair of seeds.

There are five kinds of choice, and a run asks for nothing else. A *number* below a bound: a
latency, a fault, what a program draws. Whether something planned is *kept*. An *order* of things
that are ready at once: steps of tasks, descriptors, timers. A *stall*: until when the process
stands still, as a busy machine makes it, so that what was due at different moments is met in one
tick. A *cancellation* of a task that waits. Each has a harmless answer, which is what asyncio does
by itself on an idle machine with a perfect network; all other answers are deviations.

The engine asks a `ChoiceSource` and knows nothing of how it decides (Shuttle's cut: the engine runs
one schedule, a strategy chooses it). Strategies are in `toron.search.strategies`; a `Tape` stands
before one of them to record or to replay.

A number is drawn under a label. Each label is its own sub-stream, a hash of seed and label, so that
a new consumer of chance does not move the draws of the others. Labels that begin with ``chaos.``
come from CHAOS_SEED, all others from SIM_SEED.
"""

from __future__ import annotations

import _random
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

SEED_MAX = 2**64 - 1


def substream(seed: int, label: str) -> int:
    """A 128-bit seed for the sub-stream ``label`` of ``seed``."""
    digest = hashlib.blake2b(f"{seed}\x00{label}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "big")


LATE_MAX = 0.25
STALL_NS_MAX = 10_000_000
"""A stall makes nothing later than by this share of its delay, nor by more than so many
nanoseconds: programs wait with margins, and a deadline that is missed because the machine stood
still for most of it is nobody's bug."""


WHOLE = 1_000
"""A planned fault takes place as it was planned; less is a shorter one."""


class Moment(NamedTuple):
    """Something that will happen soon, until which the process might stand still."""

    at_ns: int
    name: str
    """The same in each run, as far as the program is the same; empty when names are not needed."""
    late: float
    """By which share of its delay something else becomes late by such a stall, 0 to `LATE_MAX`."""
    ahead_ns: int = 0
    """For how long the process would stand still."""


class ChoiceSource(Protocol):
    """Where decisions come from: a seed, a strategy, a tape."""

    @property
    def stalls(self) -> bool:
        """Whether it wants a stall now and then; if not, it is never asked."""
        ...

    @property
    def cancels(self) -> bool:
        """Whether it wants a cancellation now and then; if not, it is never asked."""
        ...

    @property
    def wants_names(self) -> bool:
        """Whether moments need names."""
        ...

    def pick(self, label: str, bound: int, default: int = 0) -> int:
        """Return a whole number from 0 to ``bound`` - 1; ``default`` is the harmless one."""
        ...

    def keeps(self, key: str) -> int:
        """How much of the planned fault ``key`` takes place, 0 to `WHOLE`; a tape may say less."""
        ...

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """In which order to take ``things``, as their positions; None leaves them as they are."""
        ...

    def stall(self, moments: list[Moment], *, busy: bool) -> Moment | None:
        """Until which of the near ``moments`` the process stands still; None lets it go on.

        ``busy`` says that something is ready to run now, else the process waits for the first event
        anyway, and the moments are those after it. There is at least one.
        """
        ...

    def cancel(self, point: str, timers: int) -> int:
        """What befalls the task that waits at ``point``: 0 nothing; 1 it is cancelled.

        1 + n: the n-th of the ``timers`` that it has set is due at once, as if all that it did
        since had taken so long: how a timeout arrives at this await.
        """
        ...


class SeededChoices:
    """Numbers and orders drawn from the pair of seeds, and no stalls."""

    stalls = False
    cancels = False
    wants_names = False

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

    def pick(self, label: str, bound: int, default: int = 0) -> int:
        """Return a whole number from 0 to ``bound`` - 1, uniform to one part in 2**53."""
        assert bound > 0, f"choice {label} has nothing to choose from"
        return (self.stream(label).getrandbits(53) * bound) >> 53

    def keeps(self, key: str) -> int:
        """All of it."""
        return WHOLE

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """Any order, each as likely as the others."""
        positions = list(range(len(things)))
        shuffle(self, label, positions)
        return positions

    def stall(self, moments: list[Moment], *, busy: bool) -> Moment | None:
        """Never."""
        return None

    def cancel(self, point: str, timers: int) -> int:
        """Never."""
        return 0


class Reseedable:
    """Stands before a strategy that another takes over from when the run becomes a branch."""

    wants_names = True
    """The one that takes over may want them, of timers that were set before."""

    def __init__(self, strategy: ChoiceSource) -> None:
        self._strategy = strategy

    def reseed(self, strategy: ChoiceSource) -> None:
        """Let ``strategy`` choose from now on."""
        self._strategy = strategy

    @property
    def stalls(self) -> bool:
        """What the strategy of now wants."""
        return self._strategy.stalls

    @property
    def cancels(self) -> bool:
        """What the strategy of now wants."""
        return self._strategy.cancels

    def pick(self, label: str, bound: int, default: int = 0) -> int:
        """See `ChoiceSource`."""
        return self._strategy.pick(label, bound, default)

    def keeps(self, key: str) -> int:
        """See `ChoiceSource`."""
        return self._strategy.keeps(key)

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """See `ChoiceSource`."""
        return self._strategy.order(label, things, name_of)

    def stall(self, moments: list[Moment], *, busy: bool) -> Moment | None:
        """See `ChoiceSource`."""
        return self._strategy.stall(moments, busy=busy)

    def cancel(self, point: str, timers: int) -> int:
        """See `ChoiceSource`."""
        return self._strategy.cancel(point, timers)


def shuffle(choices: SeededChoices, label: str, items: list[T]) -> None:
    """Permute ``items`` in place (Fisher-Yates), one choice an item."""
    for last in range(len(items) - 1, 0, -1):
        other = choices.pick(label, last + 1)
        if other != last:
            items[last], items[other] = items[other], items[last]
