"""A gate: a rule over one metric of one stage, and what became of it.

A rule is absolute (a threshold), relative (a share of what earlier runs measured) or statistical
(two samples compared). Which of them apply is said by suites and policies; judging is `warroom`'s.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from testops.domain.stage import StageName
from testops.domain.verdict import Verdict


class Op(StrEnum):
    """How a metric is held against its threshold."""

    AT_LEAST = ">="
    ABOVE = ">"
    AT_MOST = "<="
    BELOW = "<"
    EQUAL = "=="
    NOT_EQUAL = "!="

    def holds(self, value: float, threshold: float) -> bool:
        return _COMPARE[self](value, threshold)

    def margin(self, value: float, threshold: float) -> float:
        """How far `value` is on the right side of `threshold`; negative: on the wrong one."""
        match self:
            case Op.AT_LEAST | Op.ABOVE:
                return value - threshold
            case Op.AT_MOST | Op.BELOW:
                return threshold - value
            case Op.EQUAL:
                return 0.0 - abs(value - threshold)
            case Op.NOT_EQUAL:
                return abs(value - threshold)


_COMPARE: dict[Op, Callable[[float, float], bool]] = {
    Op.AT_LEAST: operator.ge,
    Op.ABOVE: operator.gt,
    Op.AT_MOST: operator.le,
    Op.BELOW: operator.lt,
    Op.EQUAL: operator.eq,
    Op.NOT_EQUAL: operator.ne,
}


class Severity(StrEnum):
    """What a broken rule says: a failure, a warning, or that the evidence is not enough."""

    BLOCK = "block"
    WARN = "warn"
    DOUBT = "doubt"


class Kind(StrEnum):
    """What a metric is held against: a number, earlier runs, or the samples of earlier runs."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    STATISTICAL = "statistical"


class To(StrEnum):
    """Which value of the earlier runs is the ground."""

    MEDIAN = "median"
    BEST = "best"
    LAST = "last"


class Worse(StrEnum):
    """Which change of a sample is one for the worse."""

    HIGHER = "higher"
    LOWER = "lower"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Relative:
    """At most (`Op.AT_MOST`) or at least `percent` of what the last `of` passed runs measured."""

    percent: float
    to: To = To.MEDIAN
    of: int = 5
    runs_min: int = 3
    when_no_history: Verdict = Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Statistical:
    """The samples of this run against those of the last `of` passed ones, by Mann-Whitney.

    It is broken when the shift is significant at `alpha`, and larger than `shift_percent_max` of
    the ground's median, and its effect (Cliff's delta) at least `effect_min`: all three.
    """

    worse: Worse = Worse.HIGHER
    of: int = 5
    runs_min: int = 1
    alpha: float = 0.01
    shift_percent_max: float = 5.0
    effect_min: float = 0.33
    samples_min: int = 20
    when_no_history: Verdict = Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class GateRule:
    """`metric op threshold` over what `stage` measured.

    A relative or statistical rule has no threshold before the history is known. `weight` counts in
    the score of a policy; a `key` rule that fails is a failed run, whatever the score.
    """

    stage: StageName
    metric: str
    op: Op
    threshold: float | None
    severity: Severity = Severity.BLOCK
    label: str = ""
    weight: float = 1.0
    key: bool = False
    relative: Relative | None = None
    statistical: Statistical | None = None

    @property
    def name(self) -> str:
        """What a waiver and a report call it."""
        return self.label or f"{self.stage.value}.{self.metric}"

    @property
    def kind(self) -> Kind:
        if self.statistical is not None:
            return Kind.STATISTICAL
        return Kind.ABSOLUTE if self.relative is None else Kind.RELATIVE

    @property
    def condition(self) -> str:
        """What it wants, in a few words."""
        if self.statistical is not None:
            worse, by = self.statistical.worse.value, self.statistical.shift_percent_max
            past = f"the last {self.statistical.of} passed runs"
            return f"{self.metric} not {worse} by > {by:g} % than in {past}"
        if self.relative is not None:
            rule = self.relative
            ground = "the last passed run" if rule.to is To.LAST else _ground(rule)
            return f"{self.metric} {self.op.value} {rule.percent:g} % of {ground}"
        return f"{self.metric} {self.op.value} {self.threshold:g}"


def _ground(rule: Relative) -> str:
    return f"the {rule.to.value} of the last {rule.of} passed runs"


@dataclass(frozen=True, slots=True)
class Waived:
    """The waiver that made a failing gate a warning: who answers for it, why, and until when."""

    owner: str
    reason: str
    expires: str
    ticket: str = ""

    def to_json(self) -> dict[str, Any]:
        own = {"owner": self.owner, "reason": self.reason, "expires": self.expires}
        return own | ({"ticket": self.ticket} if self.ticket else {})


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one rule said, and the sentence for a person; `missing`: why there is no value.

    Its rule has the threshold that was applied, also where history gave it. `margin` is how far
    the value is from it, positive when it holds; `baseline_runs` are the runs that it was held
    against, and `statistics` the numbers behind a statistical one.
    """

    rule: GateRule
    verdict: Verdict
    value: float | None
    reason: str
    missing: str = ""
    unit: str = ""
    margin: float | None = None
    source: str = ""
    waiver: Waived | None = None
    baseline_runs: tuple[str, ...] = ()
    statistics: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.rule.name,
            "kind": self.rule.kind.value,
            "stage": self.rule.stage.value,
            "metric": self.rule.metric,
            "op": self.rule.op.value,
            "threshold": self.rule.threshold,
            "unit": self.unit,
            "severity": self.rule.severity.value,
            "weight": self.rule.weight,
            "key": self.rule.key,
            "verdict": self.verdict.value,
            "value": self.value,
            "margin": self.margin,
            "source": self.source,
            "reason": self.reason,
            "waiver": None if self.waiver is None else self.waiver.to_json(),
            "baseline_runs": list(self.baseline_runs),
            "statistics": None if self.statistics is None else dict(self.statistics),
        }

    def to_full_json(self) -> dict[str, Any]:
        """What `from_json` reads back whole; `to_json` is the part that people see."""
        relative, statistical = self.rule.relative, self.rule.statistical
        return {
            **self.to_json(),
            "missing": self.missing,
            "relative": None if relative is None else asdict(relative),
            "statistical": None if statistical is None else asdict(statistical),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "GateResult":
        """The result that `to_full_json` spelled, or an older release of it."""
        waiver = body.get("waiver")
        return cls(
            rule=_rule_from(body),
            verdict=Verdict(body["verdict"]),
            value=body["value"],
            reason=body["reason"],
            missing=body.get("missing", ""),
            unit=body.get("unit", ""),
            margin=body.get("margin"),
            source=body.get("source", ""),
            waiver=None if waiver is None else Waived(**waiver),
            baseline_runs=tuple(body.get("baseline_runs", ())),
            statistics=body.get("statistics"),
        )


def _rule_from(body: Mapping[str, Any]) -> GateRule:
    relative, statistical = body.get("relative"), body.get("statistical")
    rule = GateRule(
        stage=StageName(body["stage"]),
        metric=body["metric"],
        op=Op(body["op"]),
        threshold=body["threshold"],
        severity=Severity(body["severity"]),
        weight=body.get("weight", 1.0),
        key=body.get("key", False),
        relative=None if relative is None else _relative_from(relative),
        statistical=None if statistical is None else _statistical_from(statistical),
    )
    name = body.get("name", rule.name)
    return rule if name == rule.name else replace(rule, label=name)


def _relative_from(body: Mapping[str, Any]) -> Relative:
    typed = {"to": To(body["to"]), "when_no_history": Verdict(body["when_no_history"])}
    return Relative(**{**body, **typed})


def _statistical_from(body: Mapping[str, Any]) -> Statistical:
    typed = {"worse": Worse(body["worse"]), "when_no_history": Verdict(body["when_no_history"])}
    return Statistical(**{**body, **typed})
