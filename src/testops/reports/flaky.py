"""Tells from many runs why a test does not always end the same: chance, order, surroundings, code.

Only runs of one build are compared with each other. Within it a test is *flaky* when the same seed
gave both outcomes (or a repetition inside a run did), *order-dependent* when each seed always gives
its own outcome, *infrastructure* when all that ever broke it was not of the test's making, and a
*regression* when it always fails where an earlier build passed. What the runs cannot tell apart is
*unclear*, with the command that would. Where the runs are kept belongs to `runner.test_history`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from testops.domain.test_case import Outcome, TestCase
from testops.reports.test_record import Circumstances

# As many tests of a run as this, failing together, are the environment's doing: see ADR 0023.
MASS_SHARE = 0.8
MASS_MIN = 5
CAUSE = "testops.cause"
POLLUTER = "testops.polluter"


class Kind(StrEnum):
    """Why a test fails, the most certain first."""

    REGRESSION = "regression"
    FAILING = "failing"
    FLAKY = "flaky"
    ORDER = "order-dependent"
    UNCLEAR = "unclear"
    INFRASTRUCTURE = "infrastructure"


@dataclass(frozen=True)
class TestRun:
    """The unit stage of one attempt. `broken` says why it has no tests, where it has none.

    `build` names the code that ran, to the byte; two attempts of an unnamed build ("") are never
    taken for the same code.
    """

    __test__ = False  # the name begins with Test; pytest must not collect it

    run_id: str
    attempt: int
    build: str
    seed: int
    broken: str = ""
    circumstances: Circumstances | None = None
    cases: tuple[TestCase, ...] = ()
    reproduce: str = ""

    @property
    def shown(self) -> str:
        return f"{self.run_id}/{self.attempt}"

    @property
    def share_failed(self) -> float:
        failed = sum(not case.outcome.holds for case in self.cases)
        return failed / len(self.cases) if len(self.cases) >= MASS_MIN else 0.0

    @cached_property
    def by_name(self) -> Mapping[str, TestCase]:
        return {case.name: case for case in self.cases}

    def before(self, test: str) -> frozenset[str]:
        """The tests that were executed before `test`, in this run."""
        names = [case.name for case in self.cases]
        return frozenset(names[: names.index(test)])


@dataclass(frozen=True, slots=True)
class Suspect:
    """One test that did not hold in every run, and what the runs say about it."""

    test: str
    kind: Kind
    reason: str
    build: str
    passed: int
    failed: int
    excused: int = 0
    runs: tuple[str, ...] = ()
    polluters: tuple[str, ...] = ()
    next_step: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "test": self.test,
            "kind": self.kind.value,
            "reason": self.reason,
            "build": self.build,
            "passed": self.passed,
            "failed": self.failed,
            "excused": self.excused,
            "runs": list(self.runs),
            "polluters": list(self.polluters),
            "next": self.next_step,
        }


@dataclass(frozen=True, slots=True)
class Outage:
    """A run whose tests say nothing about the code."""

    run: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"run": self.run, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class FlakyReport:
    """What `testops report flaky` tells."""

    runs: int
    tests: int
    suspects: tuple[Suspect, ...]
    outages: tuple[Outage, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "tests": self.tests,
            "suspects": [one.to_json() for one in self.suspects],
            "outages": [one.to_json() for one in self.outages],
        }


def flaky_report(runs: Sequence[TestRun]) -> FlakyReport:
    """The report over these runs, oldest first. A test is told once, by the newest build."""
    outages = [outage for run in runs if (outage := _outage(run, runs)) is not None]
    out = {outage.run for outage in outages}
    sound = [run for run in runs if run.shown not in out]
    excused = [run for run in runs if run.shown in out and run.cases]
    names = dict.fromkeys(case.name for run in reversed(runs) for case in run.cases)
    found = [_suspect(name, sound, excused) for name in names]
    suspects = [one for one in found if one is not None]
    order = list(Kind)
    suspects.sort(key=lambda one: (order.index(one.kind), one.test))
    return FlakyReport(len(runs), len(names), tuple(suspects), tuple(outages))


# --- what is not the code's doing ---------------------------------------------------------------


def _outage(run: TestRun, runs: Sequence[TestRun]) -> Outage | None:
    if run.broken:
        return Outage(run.shown, run.broken)
    if run.share_failed < MASS_SHARE:
        return None
    # The same code must be known to do better, or a commit that breaks everything is excused.
    better = [one for one in runs if one.build == run.build and one.cases and run.build]
    if not any(one.share_failed < MASS_SHARE for one in better):
        return None
    percent = int(100 * run.share_failed)
    return Outage(run.shown, f"{percent} % of its tests failed at once, and not in other runs")


_OUTSIDE = (
    (re.compile(r"(?i)name or service not known|temporary failure in name resolution"), "DNS"),
    (re.compile(r"(?i)network is unreachable|no route to host"), "the network"),
    (re.compile(r"(?i)no space left on device"), "a full disk"),
    (re.compile(r"(?i)cannot allocate memory|too many open files"), "the machine's limits"),
)
_REFUSED = re.compile(r"(?i)connection refused|connect(?:ion)? ?timed? ?out|ETIMEDOUT")
_LOCAL = re.compile(r"(?i)127\.\d+\.\d+\.\d+|localhost|\[?::1\]?|0\.0\.0\.0")
_SOME_HOST = re.compile(r"(?i)\d{1,3}(?:\.\d{1,3}){3}|https?://[\w.-]+|host=['\"][\w.-]+")


def _surroundings(case: TestCase, run: TestRun) -> str:
    """What outside of the test broke it, as its message says; "" where that is not said."""
    text = f"{case.message}\n{case.detail[-2000:]}"
    for pattern, name in _OUTSIDE:
        if pattern.search(text):
            return name
    if not _REFUSED.search(text) or _LOCAL.search(text):
        return ""
    open_network = run.circumstances is not None and run.circumstances.network == "open"
    # Where the profile lets nothing out, a refusal without a host came from this machine.
    return "a service outside" if open_network or _SOME_HOST.search(text) else ""


# --- one test -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """One test in one run."""

    run: TestRun
    case: TestCase

    @property
    def failed(self) -> bool:
        return not self.case.outcome.holds

    @property
    def told(self) -> Mapping[str, str]:
        return dict(self.case.properties)


@dataclass(slots=True)
class _Build:
    """One test under one build, as far as the test is to blame."""

    name: str
    seen: list[_Seen] = field(default_factory=list)
    excused: list[tuple[_Seen, str]] = field(default_factory=list)

    @property
    def failed(self) -> list[_Seen]:
        return [one for one in self.seen if one.failed]

    @property
    def passed(self) -> list[_Seen]:
        return [one for one in self.seen if one.case.outcome is Outcome.PASSED]


def _suspect(test: str, sound: Sequence[TestRun], excused: Sequence[TestRun]) -> Suspect | None:
    builds = _by_build(test, sound, excused)
    newest = len(builds) - 1
    for number, build in reversed(list(enumerate(builds))):
        verdict = _judged(test, build, builds[:number])
        # A failure of an earlier build is over when a newer one passes. Chance and order are not:
        # one run that passes is just what they look like most of the time.
        if verdict is not None and (number == newest or verdict.kind in _OUTLASTS):
            return verdict
    return None


_OUTLASTS = (Kind.FLAKY, Kind.ORDER)


def _by_build(test: str, sound: Sequence[TestRun], excused: Sequence[TestRun]) -> list[_Build]:
    found: dict[str, _Build] = {}
    for run in sound:
        case = run.by_name.get(test)
        if case is None:
            continue
        # An unnamed build is a build of its own each time.
        build = found.setdefault(run.build or f"?{run.shown}", _Build(run.build))
        seen = _Seen(run, case)
        why = _surroundings(case, run) if seen.failed else ""
        if why:
            build.excused.append((seen, why))
        else:
            build.seen.append(seen)
    for run in excused:
        case = run.by_name.get(test)
        if case is not None and run.build in found and not case.outcome.holds:
            found[run.build].excused.append((_Seen(run, case), "an outage of its run"))
    return list(found.values())


_Judge = Callable[[_Build, Sequence[_Build]], tuple[Kind, str] | None]


def _judged(test: str, build: _Build, earlier: Sequence[_Build]) -> Suspect | None:
    rules: Iterable[_Judge] = (
        _repeated_in_a_run,
        _both_ways_under_one_seed,
        _always_fails,
        _by_seed,
        _excused_only,
    )
    for rule in rules:
        found = rule(build, earlier)
        if found is not None:
            kind, reason = found
            return _told(test, build, kind, reason)
    return None


def _repeated_in_a_run(build: _Build, _: Sequence[_Build]) -> tuple[Kind, str] | None:
    flaky = [one for one in build.seen if one.case.flaky or one.told.get(CAUSE) == "flaky"]
    if not flaky:
        return None
    return Kind.FLAKY, f"run {flaky[-1].run.shown} repeated it, and it ended differently"


def _both_ways_under_one_seed(build: _Build, _: Sequence[_Build]) -> tuple[Kind, str] | None:
    for seed, seen in _seeds(build).items():
        passed = sum(one.case.outcome is Outcome.PASSED for one in seen)
        failed = sum(one.failed for one in seen)
        if passed and failed:
            return Kind.FLAKY, f"seed {seed}: passed {passed}, failed {failed} times"
    return None


def _always_fails(build: _Build, earlier: Sequence[_Build]) -> tuple[Kind, str] | None:
    if not build.failed or build.passed:
        return None
    if any(one.told.get(CAUSE) == "order-dependent" for one in build.failed):
        return Kind.ORDER, "it passes alone"
    if any(one.passed for one in earlier):
        return Kind.REGRESSION, f"{_all_of(build.failed)}, an earlier build passed"
    return Kind.FAILING, f"{_all_of(build.failed)}, no earlier build passed"


def _by_seed(build: _Build, _: Sequence[_Build]) -> tuple[Kind, str] | None:
    if not build.failed:
        return None
    seeds = _seeds(build)
    failing = sorted(seed for seed, seen in seeds.items() if any(one.failed for one in seen))
    told = f"fails under {_listed(failing)}, passes under {len(seeds) - len(failing)} other"
    if any(one.told.get(CAUSE) == "order-dependent" for one in build.failed):
        return Kind.ORDER, f"{told}; it passes alone"
    if any(one.told.get(CAUSE) == "fails-alone" for one in build.failed):
        # Deterministic in its data, and not in its order: a bug that only some seeds meet.
        return Kind.FAILING, f"{told}; it fails alone too: its data comes from the seed"
    repeated = [seed for seed in failing if len(seeds[seed]) > 1]
    if repeated:
        return Kind.ORDER, f"{told}; each seed always gives the same"
    return Kind.UNCLEAR, f"{told}; no seed was run twice"


def _excused_only(build: _Build, _: Sequence[_Build]) -> tuple[Kind, str] | None:
    if not build.excused:
        return None
    causes = ", ".join(sorted({why for _, why in build.excused}))
    return Kind.INFRASTRUCTURE, f"failed because of {causes}; not counted against the test"


def _seeds(build: _Build) -> dict[int, list[_Seen]]:
    found: dict[int, list[_Seen]] = {}
    for one in build.seen:
        found.setdefault(one.run.seed, []).append(one)
    return found


def _all_of(failed: Sequence[_Seen]) -> str:
    return "fails in its only run" if len(failed) == 1 else f"fails in all {len(failed)} runs"


def _listed(seeds: Sequence[int]) -> str:
    shown = ", ".join(str(seed) for seed in seeds[:5])
    return f"seed {shown}{', …' if len(seeds) > 5 else ''}"


def _told(test: str, build: _Build, kind: Kind, reason: str) -> Suspect:
    failed = build.failed or [one for one, _ in build.excused]
    again = next((one.run.reproduce for one in reversed(failed) if one.run.reproduce), "")
    polluters = _polluters(test, build) if kind is Kind.ORDER else ()
    return Suspect(
        test=test,
        kind=kind,
        reason=reason,
        build=build.name,
        passed=len(build.passed),
        failed=len(build.failed),
        excused=len(build.excused),
        runs=tuple(one.run.shown for one in failed)[-10:],
        polluters=polluters,
        next_step=again,
    )


def _polluters(test: str, build: _Build) -> tuple[str, ...]:
    """Who may be to blame: who was seen to be, else who was before it whenever it failed only."""
    seen = Counter(one.told[POLLUTER] for one in build.failed if POLLUTER in one.told)
    if seen:
        return tuple(sorted(seen))
    before = [one.run.before(test) for one in build.failed]
    innocent = frozenset[str]().union(*(one.run.before(test) for one in build.passed))
    left = frozenset.intersection(*before) - innocent if before else frozenset()
    # Many candidates name nobody.
    return tuple(sorted(left)) if len(left) <= 3 else ()
