"""Asks why a test failed: alone as well, only after another test, or only by chance?

It repeats what failed, within a bound, and its answer is a remark: it changes no verdict, because a
failure that goes away is a failure all the same. Judging many runs belongs to `reports.flaky`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from testops.domain.test_case import Outcome, TestCase
from testops.telemetry.clock import Clock

TESTS_MAX = 10
BUDGET_S = 60.0
# With so many of all tests failing at once the environment is what is wrong, not ten of them.
MASS_SHARE = 0.8


class Kind(StrEnum):
    """Why a test failed, as far as repeating it can tell."""

    ALONE_TOO = "fails-alone"
    ORDER = "order-dependent"
    FLAKY = "flaky"


@dataclass(frozen=True, slots=True)
class Cause:
    """The answer about one test; `polluter` is the earlier test that makes it fail."""

    kind: Kind
    polluter: str = ""
    repeats_in_workers: bool = False

    def said(self, test: str, again: str) -> str:
        """The remark, with the command that shows it."""
        if self.kind is Kind.ALONE_TOO:
            return "fails alone too"
        if self.kind is Kind.FLAKY:
            how = "in one process" if self.repeats_in_workers else "in the same order"
            return f"passed when repeated with the same seed {how}: flaky"
        if self.polluter:
            pair = f"python -m pytest {_quoted(self.polluter)} {_quoted(test)}"
            return f"passes alone: depends on order, fails after {self.polluter}; reproduce: {pair}"
        return f"passes alone: depends on order, no single test before it explains it; {again}"


def _quoted(nodeid: str) -> str:
    plain = all(character.isalnum() or character in "/._-:" for character in nodeid)
    return nodeid if plain else "'" + nodeid.replace("'", "'\\''") + "'"


# Runs exactly these tests in this order within so many seconds; how each ended, by its id. Tests
# that did not come to their end are not in it.
Repeat = Callable[[Sequence[str], float], Mapping[str, Outcome]]


@dataclass(slots=True)
class Inquiry:
    """Repeats tests until everything is known or the time is over."""

    repeat: Repeat
    clock: Clock
    budget_s: float
    in_workers: bool = False
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock.elapsed_s()

    @property
    def left_s(self) -> float:
        return self.budget_s - (self.clock.elapsed_s() - self._began)

    def causes(self, cases: Sequence[TestCase]) -> dict[str, Cause]:
        """What was found out about the first failing tests, by their names."""
        order = [case.name for case in cases if _is_a_test(case)]
        failing = [case.name for case in cases if _is_a_test(case) and not case.outcome.holds]
        asked = failing[:TESTS_MAX]
        if not asked or _all_at_once(failing, order):
            return {}
        before = order[: order.index(asked[-1]) + 1]
        repeated = self._run(before)
        found: dict[str, Cause] = {}
        for test in asked:
            kind = self._kind(test, repeated.get(test))
            if kind is not None:
                found[test] = Cause(kind, repeats_in_workers=self.in_workers)
        # Last, because it takes the most: the time must suffice to say something about each.
        for test, cause in found.items():
            if cause.kind is Kind.ORDER:
                polluter = self._polluter(test, order[: order.index(test)])
                found[test] = replace(cause, polluter=polluter)
        return found

    def _run(self, tests: Sequence[str]) -> Mapping[str, Outcome]:
        return self.repeat(tests, self.left_s) if self.left_s > 0 else {}

    def _kind(self, test: str, repeated: Outcome | None) -> Kind | None:
        if repeated is Outcome.PASSED:
            return Kind.FLAKY
        alone = self._run([test]).get(test)
        if alone is None:
            return None
        if alone is not Outcome.PASSED:
            return Kind.ALONE_TOO
        if repeated is None:
            # Whether it fails in this order again is not known: it may as well be chance.
            return None
        return Kind.ORDER

    def _polluter(self, test: str, before: Sequence[str]) -> str:
        """The one test after which `test` fails; "" where it takes several, or time is short."""
        suspects = list(before)
        while len(suspects) > 1:
            # The later half first: what was done last is undone least.
            middle = len(suspects) // 2
            for half in (suspects[middle:], suspects[:middle]):
                if self._fails_after(test, half):
                    suspects = half
                    break
            else:
                return ""
        # What is left must be seen to do it, also where the halving had nothing to halve.
        return suspects[0] if suspects and self._fails_after(test, suspects) else ""

    def _fails_after(self, test: str, others: Sequence[str]) -> bool:
        outcome = self._run([*others, test]).get(test)
        return outcome is not None and not outcome.holds


def _is_a_test(case: TestCase) -> bool:
    # A module that cannot be imported is told under its own name: there is no test to repeat.
    return "::" in case.name


def _all_at_once(failing: Sequence[str], every: Sequence[str]) -> bool:
    return len(failing) > TESTS_MAX and len(failing) >= MASS_SHARE * len(every)
