"""Shows that a gate can go red: every rule is given evidence that it must reject, and must accept.

The samples are derived from the rule and from what its metric can be at all, and are judged by the
very code that judges runs. A rule that nothing breaks (`failed >= 0`) is a gate that only looks
like one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from testops.domain.gate import GateResult, GateRule, Kind, Statistical, Worse
from testops.domain.history import PastRun
from testops.domain.run import RunState
from testops.domain.stage import Metric, StageName, StageReport, StageState
from testops.domain.verdict import Verdict
from testops.warroom.gates import BROKEN, judge
from testops.warroom.grounds import Grounds
from testops.warroom.rules import Rules
from testops.warroom.verdicts import judgement_of

_NOW = datetime(2000, 1, 1, tzinfo=UTC)
# Metrics that can be below nothing; everything else that a stage measures counts or lasts.
_SIGNED = ("_delta", "_drift", "_slope", "_change", "_shift")
# What earlier runs may have measured.
_BASES = (100.0, 1.0, 10.0, 50.0, 1000.0)
_SAMPLES_OF_A_RUN = 50


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one rule; `problem` is empty where it rejects the bad and takes the good."""

    name: str
    condition: str
    bad: str
    good: str
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "condition": self.condition,
            "bad": self.bad,
            "good": self.good,
            "ok": not self.problem,
            "problem": self.problem,
        }


def selftest(rules: Rules) -> tuple[Tried, ...]:
    """What became of every rule of a suite, its policy and the defaults, and of the score."""
    every = [rule for stage in StageName for rule in rules.for_stage(stage)]
    tried = [tried_rule(rule) for rule in every]
    if rules.policy is not None and rules.policy.score is not None:
        tried.append(_tried_score(every, rules))
    return tuple(tried)


def tried_rule(rule: GateRule) -> Tried:
    """Judge the samples of one rule."""
    samples = list(_samples(rule))
    results = [(shown, _judged(rule, metric, past)) for shown, metric, past in samples]
    broken = BROKEN[rule.severity]
    bad = [shown for shown, result in results if result.verdict is broken]
    good = [shown for shown, result in results if result.verdict is Verdict.PASS]
    problem = _problem(rule, bad, good, results)
    return Tried(
        rule.name,
        rule.condition,
        bad[0] if bad else "nothing",
        good[0] if good else "nothing",
        problem,
    )


def _problem(
    rule: GateRule, bad: list[str], good: list[str], results: list[tuple[str, GateResult]]
) -> str:
    # With DOUBT a broken rule is inconclusive, and so is missing evidence.
    missing = _judged(rule, None, ())
    if missing.verdict is not Verdict.INCONCLUSIVE:
        return f"without evidence it says {missing.verdict.value}"
    if not bad:
        tried = ", ".join(shown for shown, _ in results)
        why = f" ({results[0][1].reason})" if rule.kind is Kind.STATISTICAL else ""
        return f"it cannot go red: {rule.metric} of {tried} does not break it{why}"
    if not good:
        return f"it can never hold: nothing that {rule.metric} can be meets it"
    return ""


_Sample = tuple[str, Metric, tuple[PastRun, ...]]


def _samples(rule: GateRule) -> Iterator[_Sample]:
    if rule.statistical is not None:
        yield from _shifted(rule, rule.statistical)
    elif rule.relative is not None:
        for base in _BASES:
            if _can_be(rule.metric, base):
                past = tuple(_past(rule, n, base) for n in range(rule.relative.of))
                threshold = base + base * (rule.relative.percent - 100) / 100
                for value in _around(rule.metric, threshold):
                    yield f"{value:g} after {base:g}", Metric(rule.metric, value, "selftest"), past
    else:
        assert rule.threshold is not None
        for value in _around(rule.metric, rule.threshold):
            yield f"{value:g}", Metric(rule.metric, value, "selftest"), ()


def _around(metric: str, threshold: float) -> list[float]:
    """Values that a metric can have, on both sides of a threshold and at its own ends."""
    low, high = bounds_of(metric)
    near = max(1.0, abs(threshold)) / 1000
    tried = (threshold - 1, threshold + 1, threshold - near, threshold + near, threshold, low, high)
    return [value for value in dict.fromkeys(tried) if _can_be(metric, value)]


def bounds_of(metric: str) -> tuple[float, float]:
    """Between what a metric of that name is, by how metrics are called here."""
    if metric.endswith(_SIGNED):
        return -math.inf, math.inf
    if metric.endswith("_percent"):
        return 0.0, 100.0
    return 0.0, 1.0 if metric.endswith("_ratio") else math.inf


def _can_be(metric: str, value: float) -> bool:
    low, high = bounds_of(metric)
    return math.isfinite(value) and low <= value <= high


def _shifted(rule: GateRule, how: Statistical) -> Iterator[_Sample]:
    """As many samples as the rule asks for, moved for the worse by more than it allows; and not."""
    low, high = bounds_of(rule.metric)
    base = 50.0 if math.isfinite(high) else 100.0
    count = how.samples_min
    # So many of each earlier run that they do together; of more, comparing takes long for nothing.
    each = max(-(-count // how.of), min(count, _SAMPLES_OF_A_RUN))
    # Distinct and close together: the fractional parts of the multiples of the golden ratio.
    old = [base + base * (n * 0.6180339887 % 1) / 100 for n in range(each * how.of)]
    step = base * (2 * how.shift_percent_max + 50) / 100
    by = -step if how.worse is Worse.LOWER else step
    new = [base + base * (n * 0.7548776662 % 1) / 100 for n in range(count)]
    moved = [min(max(value + by, low), high) for value in new]
    past = tuple(_past(rule, n, base, old[n * each : (n + 1) * each]) for n in range(how.of))
    for shown, values in ((f"{count} samples moved by {by:g}", moved), (f"{count} alike", new)):
        middle = sorted(values)[count // 2]
        yield shown, Metric(rule.metric, middle, "selftest", samples=tuple(values)), past


def _past(rule: GateRule, number: int, value: float, samples: Sequence[float] = ()) -> PastRun:
    return PastRun(
        run_id=f"{number:016x}",
        attempt=1,
        suite="selftest",
        profile="offline",
        state=RunState.FINISHED,
        verdict=Verdict.PASS,
        finished_at=_NOW.isoformat(),
        commit=None,
        engine_version="selftest",
        metrics={rule.stage: {rule.metric: value}},
        samples={rule.stage: {rule.metric: samples}},
    )


@dataclass(frozen=True, slots=True)
class _Remembered:
    past: tuple[PastRun, ...]

    def runs(
        self, *, suite: str, profile: str | None, verdicts: frozenset[Verdict], limit: int
    ) -> Sequence[PastRun]:
        return self.past[:limit]

    def attempts(self, run_id: str) -> Sequence[PastRun]:
        return ()


def _judged(rule: GateRule, metric: Metric | None, past: tuple[PastRun, ...]) -> GateResult:
    metrics = {} if metric is None else {metric.name: metric}
    report = StageReport(rule.stage, StageState.RAN, metrics=metrics)
    grounds = Grounds("selftest", "offline", "selftest", _NOW, history=_Remembered(past))
    return judge(report, [rule], grounds)[1][0]


def _tried_score(every: Sequence[GateRule], rules: Rules) -> Tried:
    """The score of a policy: all that holds passes, all that fails fails, what is open blocks."""
    assert rules.policy is not None
    assert rules.policy.score is not None
    bounds = rules.policy.score

    def verdict(said: Verdict) -> Verdict:
        gates = [GateResult(replace(rule, key=False), said, None, "") for rule in every]
        return judgement_of([], gates, bounds, strict=False).verdict

    wrong = [
        said.value
        for said in (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE)
        if verdict(said) is not said
    ]
    return Tried(
        f"score of {rules.policy.name}",
        f"pass from {bounds.pass_at:g} on, warn from {bounds.warn:g} on",
        "no objective achieved",
        "every objective achieved",
        f"it is wrong where all gates are {' or '.join(wrong)}" if wrong else "",
    )
