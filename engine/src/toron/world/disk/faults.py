"""Faults that are armed on one disk, and when they strike."""

from __future__ import annotations

import errno
import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from toron.core.clock import SECOND_NS, Clock
from toron.world.disk.tree import fail

_MILLION = 1_000_000


@dataclass(slots=True)
class Rule:
    """One armed fault: which calls on which paths, how often, until when."""

    call: str
    path: str | None
    number: int
    count: int | None
    probability: float
    until_ns: int | None

    def covers(self, call: str, path: str, now_ns: int) -> bool:
        """Whether it may strike a ``call`` on ``path`` now."""
        if self.call != call or (self.until_ns is not None and now_ns >= self.until_ns):
            return False
        return self.path is None or fnmatch.fnmatchcase(path, self.path)


class Faults:
    """The faults of one disk."""

    def __init__(self, clock: Clock, pick: Callable[[int, int], int]) -> None:
        """``pick`` draws below a bound; its second argument is the harmless answer."""
        self._clock = clock
        self._pick = pick
        self._rules: list[Rule] = []
        self.slow_ns = 0

    def arm(
        self,
        call: str,
        path: str | None,
        *,
        number: int = errno.EIO,
        count: int | None = None,
        probability: float = 1.0,
        until: float | None = None,
    ) -> Rule:
        """Make ``call`` fail on paths like ``path`` (a shell pattern; None is all).

        It strikes with ``probability``, at most ``count`` times, and before the virtual second
        ``until``.
        """
        if not 0 < probability <= 1:
            raise ValueError(f"probability {probability!r} must be above 0 and at most 1")
        until_ns = None if until is None else int(until * SECOND_NS)
        rule = Rule(call, path, number, count, probability, until_ns)
        self._rules.append(rule)
        return rule

    def disarm(self, rules: Iterable[Rule] | None = None) -> None:
        """Forget some faults, or all."""
        if rules is None:
            self._rules.clear()
            self.slow_ns = 0
            return
        for rule in rules:
            if any(known is rule for known in self._rules):
                self._rules = [known for known in self._rules if known is not rule]

    def strikes(self, call: str, path: str) -> Rule | None:
        """The fault that strikes this call, or None; draws only when one is armed."""
        for rule in self._rules:
            if not rule.covers(call, path, self._clock.now_ns) or rule.count == 0:
                continue
            if rule.probability < 1:
                drawn = self._pick(_MILLION, _MILLION - 1)
                if drawn >= rule.probability * _MILLION:
                    continue
            if rule.count is not None:
                rule.count -= 1
            return rule
        return None

    def check(self, call: str, path: str) -> None:
        """Raise the error of the fault that strikes this call."""
        rule = self.strikes(call, path)
        if rule is not None:
            raise fail(rule.number, path)


@dataclass(frozen=True, slots=True)
class DiskFault:
    """One drawn fault: what it is, and how it begins and ends."""

    text: str
    start: Callable[[], None]
    stop: Callable[[], None]
