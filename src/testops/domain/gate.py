"""A gate: a rule over one metric of one stage, and what became of it."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class GateRule:
    """`metric op threshold` over what `stage` measured."""

    stage: StageName
    metric: str
    op: Op
    threshold: float
    severity: Severity = Severity.BLOCK

    @property
    def condition(self) -> str:
        return f"{self.metric} {self.op.value} {self.threshold:g}"


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one rule said, and the sentence for a person; `missing`: why there is no value."""

    rule: GateRule
    verdict: Verdict
    value: float | None
    reason: str
    missing: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.rule.stage.value,
            "metric": self.rule.metric,
            "op": self.rule.op.value,
            "threshold": self.rule.threshold,
            "severity": self.rule.severity.value,
            "verdict": self.verdict.value,
            "value": self.value,
            "reason": self.reason,
        }

    def to_full_json(self) -> dict[str, Any]:
        """What `from_json` reads back whole; `to_json` is the part that people see."""
        return {**self.to_json(), "missing": self.missing}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "GateResult":
        rule = GateRule(
            stage=StageName(body["stage"]),
            metric=body["metric"],
            op=Op(body["op"]),
            threshold=body["threshold"],
            severity=Severity(body["severity"]),
        )
        return cls(
            rule, Verdict(body["verdict"]), body["value"], body["reason"], body.get("missing", "")
        )
