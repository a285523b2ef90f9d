"""Lets the process stand still now and then, so that what is due soon is met in one tick.

Timers set with exact floats never meet by themselves, yet on a real machine a busy loop meets them
together all the time: a timeout in the tick in which the lock is handed over, a cancellation beside
the result. Such a stall is legal, whatever its length; it is kept short against the delays that it
prolongs (`LATE_MAX`), because a program may rely on margins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from toron.core.choices import LATE_MAX, ChoiceSource, Moment, SeededChoices

_CHANCES = 64
_IDLE = (16, 64, 64)
_BUSY = (2, 24, 48)
_LATE = (0.05, LATE_MAX, LATE_MAX)


@dataclass(frozen=True, slots=True)
class Stalls:
    """How often a run stands still, in 64ths of its chances, and how late it makes things.

    A chance is an iteration of the loop with a moment near enough; so few are busy that a stall
    should not be sure at the first, or it would always come at the beginning of what is done.
    """

    idle: int
    """When nothing is ready and the next event is waited for."""
    busy: int
    """In the middle of work, before an iteration of the loop."""
    late: float


class Coincidence:
    """A strategy for orders and numbers, with stalls."""

    stalls = True
    cancels = False

    def __init__(self, inner: ChoiceSource, seeded: SeededChoices, stalls: Stalls) -> None:
        self._inner = inner
        self._seeded = seeded
        self._stalls = stalls
        self.wants_names = inner.wants_names

    def pick(self, label: str, bound: int, default: int = 0) -> int:
        """What the inner strategy picks."""
        return self._inner.pick(label, bound, default)

    def keeps(self, key: str) -> int:
        """What the inner strategy keeps."""
        return self._inner.keeps(key)

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """The inner strategy's order; timers of one tick in any."""
        if label == "schedule.timer":
            return self._seeded.order(label, things, name_of)
        return self._inner.order(label, things, name_of)

    def cancel(self, point: str, timers: int) -> int:
        """What the inner strategy says."""
        return self._inner.cancel(point, timers)

    def stall(self, moments: list[Moment], *, busy: bool) -> Moment | None:
        """One of the near moments, now and then."""
        near = [moment for moment in moments if moment.late <= self._stalls.late]
        chance = self._stalls.busy if busy else self._stalls.idle
        if not near or self._seeded.pick("stall", _CHANCES) >= chance:
            return None
        return near[self._seeded.pick("stall.until", len(near))]


def with_stalls(inner: ChoiceSource, seeded: SeededChoices) -> Coincidence:
    """``inner`` with stalls as often, and as long, as the seed says."""
    idle, busy, late = (
        options[seeded.pick("stall.mode", len(options))] for options in (_IDLE, _BUSY, _LATE)
    )
    return Coincidence(inner, seeded, Stalls(int(idle), int(busy), late))


def coincidence(sim_seed: int, chaos_seed: int) -> Coincidence:
    """Stalls, and any order of what is ready."""
    seeded = SeededChoices(sim_seed, chaos_seed)
    return with_stalls(seeded, seeded)
