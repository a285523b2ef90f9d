"""The tape of a run: its deviations from the harmless answer, recorded or replayed.

Only deviations are kept, each under a key that names what was chosen for: the step of a task, the
timer that came late, the n-th packet of a connection. A tape of three deviations is a whole run,
and code that is edited elsewhere leaves it valid. Hypothesis' choice sequence is the model; that
one is positional, which suits a program that draws in one order, and not one of many tasks.

Values: of a number its distance from the default; of an order, for each thing, how many places of
delay it got (things are sorted by delay, then by their own order); of a stall, for how many
nanoseconds the process stands still; of a planned fault, how much of it takes place; of a
cancellation what `ChoiceSource.cancel` says.

A stall is replayed at the first chance that is as near to its moment, or nearer, and not at the
n-th chance: how often the loop comes round before depends on everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from toron.core.choices import WHOLE, ChoiceSource, Moment, SeededChoices

Deviation = tuple[str, int]
_OF_STALLS = ("stall", "schedule.timer")
SEEDED = "seeded "
"""``seeded net.latency`` on a tape: all numbers of that sort are what the seed draws.

One deviation in place of one for each packet, for a failure that needs the latencies as a whole.
"""


def sort_of(label: str) -> str:
    """What a number is, without where: ``net.latency`` of ``net.latency:a>b``."""
    return ".".join(label.partition(":")[0].split(".")[:2])


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
        self._moments: dict[str, tuple[int, int]] = {}
        """For the name of a moment, which of that name it is, and how far it was ahead at last."""

    def _count(self, name: str) -> int:
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return count

    def _keys(self, label: str, things: Sequence[Any], name_of: Callable[[Any], str]) -> list[str]:
        """A key for each thing; two of one name are told apart by their order."""
        keys = [f"{label} {name_of(thing)}" for thing in things]
        return [self._unique(key) for key in keys]

    def _stall_keys(self, near: Sequence[Moment]) -> list[str]:
        """A key for each moment; one that is not nearer than before is another of its name."""
        names: dict[str, int] = {}
        keys = []
        for moment in near:
            count = names[moment.name] = names.get(moment.name, 0) + 1
            name = f"stall {moment.name}" + (f"^{count}" if count > 1 else "")
            which, ahead_ns = self._moments.get(name, (1, moment.ahead_ns + 1))
            which += moment.ahead_ns >= ahead_ns
            self._moments[name] = which, moment.ahead_ns
            keys.append(name if which == 1 else f"{name}~{which}")
        return keys

    def _stalled(self, key: str) -> None:
        """The moment was stood still for: what has its name from now on is another."""
        name, _, which = key.partition("~")
        self._moments[name] = int(which or 1), 0

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
        keys = self._stall_keys(moments)
        chosen = self._strategy.stall(moments, busy=busy) if self._strategy.stalls else None
        if chosen is not None:
            key = keys[moments.index(chosen)]
            self._keep(key, chosen.ahead_ns)
            self._stalled(key)
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

    def __init__(
        self,
        deviations: Iterable[Deviation],
        seeded: SeededChoices | None = None,
        *,
        surveys: bool = False,
    ) -> None:
        super().__init__()
        self._values: Mapping[str, int] = dict(deviations)
        self._seeded = seeded
        self._of_the_seed = {key for key in self._values if key.startswith(SEEDED)}
        self._met: set[str] = set()
        self._surveys = surveys
        self.stalls = surveys or any(key.startswith(_OF_STALLS) for key in self._values)
        self.cancels = surveys or any(key.startswith("cancel ") for key in self._values)
        self.deviations: list[Deviation] = []
        """Those that were met: a tape of other code may hold some that are not."""
        self.offers: list[Deviation] = []
        """In a survey, where the run could deviate, and by how much at most; numbers left out.
        A stall is offered at each chance, with the value that it takes there."""

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
        if self._of_the_seed and self._seeded is not None:
            key = f"{SEEDED}{sort_of(label)}"
            if key in self._of_the_seed:
                drawn = self._seeded.pick(label, bound, default)
                if not value:
                    self._meet(key)
                    return drawn
        return (value + default) % bound

    def _meet(self, key: str) -> None:
        if key not in self._met:
            self._met.add(key)
            self.deviations.append((key, 1))

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
        chosen, chosen_key = None, ""
        for moment, key in zip(moments, self._stall_keys(moments), strict=True):
            if self._surveys:
                self.offers.append((key, moment.ahead_ns))
            if 0 < moment.ahead_ns <= self._values.get(key, 0):
                chosen, chosen_key = moment, key
        if chosen is not None:
            self.deviations.append((chosen_key, chosen.ahead_ns))
            self._stalled(chosen_key)
        return chosen

    def cancel(self, point: str, timers: int) -> int:
        """See `ChoiceSource`."""
        return self._value(f"cancel {point}", 1 + timers, below=2 + timers)
