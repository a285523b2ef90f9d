"""The tape of a run: its deviations from the harmless answer, recorded or replayed.

Only deviations are kept, each under a key that names what was chosen for: the step of a task, the
timer that came late, the n-th packet of a connection. A tape of three deviations is a whole run,
and code that is edited elsewhere leaves it valid. Hypothesis' choice sequence is the model; that
one is positional, which suits a program that draws in one order, and not one of many tasks.

Values: of a number its distance from the default; of an order, for each thing, how many places of
delay it got (things are sorted by delay, then by their own order); of a stall and of a planned
fault that takes place, 1; of a cancellation what `ChoiceSource.cancel` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from toron.core.choices import WHOLE, ChoiceSource, Moment

Deviation = tuple[str, int]
_OF_STALLS = ("stall", "schedule.timer")


def delays_of(order: Sequence[int]) -> list[int]:
    """For each thing the smallest delay with which sorting gives ``order``."""
    delays = [0] * len(order)
    delay, before = 0, -1
    for position in order:
        delay += position < before
        delays[position] = delay
        before = position
    return delays


class _Counted:
    """What both readings of a tape share: keys that count how often they were asked for."""

    wants_names = True

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def _count(self, name: str) -> int:
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return count

    def _keys(self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]) -> list[str]:
        """A key for each thing; two of one name are told apart by their order."""
        keys = [f"{label} {name_of(thing)}" for thing in things]
        return [self._unique(key) for key in keys]

    def _unique(self, key: str) -> str:
        count = self._count(key)
        return key if count == 1 else f"{key}~{count}"


class RecordingTape(_Counted):
    """Stands before a strategy and keeps what deviates."""

    def __init__(self, strategy: ChoiceSource) -> None:
        super().__init__()
        self._strategy = strategy
        self.stalls = True
        """Keys count the chances for a stall, also those under a strategy that wants none: another
        may take over in a branch, and the tape is replayed as one."""
        self.deviations: list[Deviation] = []

    @property
    def cancels(self) -> bool:
        """See `ChoiceSource`."""
        return self._strategy.cancels

    def _keep(self, key: str, value: int) -> None:
        if value:
            self.deviations.append((key, value))

    def pick(self, label: str, bound: int, default: int = 0) -> int:
        """See `ChoiceSource`."""
        value = self._strategy.pick(label, bound, default)
        self._keep(f"{label} {self._count(label)}", (value - default) % bound)
        return value

    def keeps(self, key: str) -> int:
        """See `ChoiceSource`."""
        kept = self._strategy.keeps(key)
        self._keep(self._unique(key), kept)
        return kept

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """See `ChoiceSource`."""
        keys = self._keys(label, things, name_of)
        order = None
        if self._strategy.stalls or not label.startswith(_OF_STALLS):
            order = self._strategy.order(label, things, name_of)
        if order is not None:
            for key, delay in zip(keys, delays_of(order), strict=True):
                self._keep(key, delay)
        return order

    def stall(self, moments: list[Moment], *, busy: bool) -> Moment | None:
        """See `ChoiceSource`."""
        keys = self._keys("stall", moments, _name_of)
        chosen = self._strategy.stall(moments, busy=busy) if self._strategy.stalls else None
        if chosen is not None:
            self._keep(keys[moments.index(chosen)], 1)
        return chosen

    def cancel(self, point: str, timers: int) -> int:
        """See `ChoiceSource`."""
        value = self._strategy.cancel(point, timers)
        self._keep(f"cancel {point}", value)
        return value


class ReplayedTape(_Counted):
    """Deviates where the tape says so, and is harmless everywhere else.

    A value that is out of bounds now, because the program was edited, becomes the largest one.
    """

    def __init__(self, deviations: Iterable[Deviation], *, surveys: bool = False) -> None:
        super().__init__()
        self._values: Mapping[str, int] = dict(deviations)
        self._surveys = surveys
        self.stalls = surveys or any(key.startswith(_OF_STALLS) for key in self._values)
        self.cancels = surveys or any(key.startswith("cancel ") for key in self._values)
        self.deviations: list[Deviation] = []
        """Those that were met: a tape of other code may hold some that are not."""
        self.offers: list[Deviation] = []
        """In a survey, where the run could deviate, and by how much at most; numbers left out."""

    def _value(self, key: str, most: int = 0, below: int = 0) -> int:
        value = self._values.get(key, 0)
        if below:
            value = min(value, below - 1)
        if most and self._surveys:
            self.offers.append((key, most))
        if value:
            self.deviations.append((key, value))
        return value

    def pick(self, label: str, bound: int, default: int = 0) -> int:
        """See `ChoiceSource`."""
        value = self._value(f"{label} {self._count(label)}", below=bound)
        return (value + default) % bound

    def keeps(self, key: str) -> int:
        """See `ChoiceSource`."""
        return self._value(self._unique(key), below=WHOLE + 1)

    def order(
        self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]
    ) -> list[int] | None:
        """See `ChoiceSource`."""
        delays = [self._value(key, 1) for key in self._keys(label, things, name_of)]
        if not any(delays):
            return None
        return sorted(range(len(things)), key=lambda position: (delays[position], position))

    def stall(self, moments: list[Moment], *, busy: bool) -> Moment | None:
        """See `ChoiceSource`."""
        chosen = None
        for moment, key in zip(moments, self._keys("stall", moments, _name_of), strict=True):
            if self._value(key, 1):
                chosen = moment
        return chosen

    def cancel(self, point: str, timers: int) -> int:
        """See `ChoiceSource`."""
        return self._value(f"cancel {point}", 1 + timers, below=2 + timers)


def _name_of(moment: Moment) -> str:
    return moment.name
