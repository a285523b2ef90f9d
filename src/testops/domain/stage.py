"""What a stage can answer: it `ran`, it found something, or its tool failed.

Exit codes of tools lie (some answer 0 when nothing was measured), so a stage is told by which of
these three its parsed output is. Judging the metrics belongs to `warroom`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from testops.domain.verdict import Verdict


class StageName(StrEnum):
    """The stages of the mission, in the order in which a pipeline runs them."""

    LINT = "lint"
    UNIT = "unit"
    SIM = "sim"
    HARDENING = "hardening"
    CHAOS = "chaos"
    LOAD = "load"
    SNAPSHOT_COMPARE = "snapshot-compare"


# Named by the mission, and not part of any suite yet: they are listed and get no verdict.
STAGES_TO_COME = (StageName.HARDENING, StageName.CHAOS, StageName.LOAD)


class StageState(StrEnum):
    """How far a stage came."""

    QUEUED = "queued"
    RUNNING = "running"
    RAN = "ran"
    TOOL_ERROR = "tool_error"
    CANCELLED = "cancelled"
    NOT_IN_SUITE = "not in this suite"
    NOT_ASKED = "not asked for"


# Of one metric; more say nothing more, and each is kept with the run.
SAMPLES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured number, and the file or tool that says so. What was not measured has none.

    `samples` are the single measurements behind it, where its stage kept them.
    """

    name: str
    value: float
    source: str
    unit: str = ""
    samples: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a stage found, with the command that shows it again.

    Findings of one `cause` are told as one, with what tells each apart as its `instance`.
    """

    where: str
    message: str
    rule: str = ""
    reproduce: str = ""
    cause: str = ""
    instance: str = ""

    def to_json(self) -> dict[str, str]:
        return {
            "where": self.where,
            "message": self.message,
            "rule": self.rule,
            "reproduce": self.reproduce,
        }


@dataclass(frozen=True, slots=True)
class Ran:
    """The stage measured what it should; `findings` may still be many."""

    metrics: tuple[Metric, ...]
    findings: tuple[Finding, ...] = ()
    artifacts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolError:
    """The stage could not measure. `retryable` when the cause may be gone the next time."""

    message: str
    retryable: bool = True
    artifacts: tuple[str, ...] = ()


StageOutcome = Ran | ToolError


@dataclass(frozen=True, slots=True)
class StageAttempt:
    """One try of a stage; only a tool error is followed by another."""

    number: int
    outcome: str
    wall_s: float
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "outcome": self.outcome,
            "wall_s": round(self.wall_s, 3),
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class StageReport:
    """A stage as the run keeps it: how far it came, what it measured, how it was judged."""

    name: StageName
    state: StageState
    verdict: Verdict | None = None
    attempts: tuple[StageAttempt, ...] = ()
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    artifacts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name.value,
            "state": self.state.value,
            "verdict": None if self.verdict is None else self.verdict.value,
            "attempts": len(self.attempts),
            "attempt_log": [attempt.to_json() for attempt in self.attempts],
            "metrics": {name: _number(metric.value) for name, metric in self.metrics.items()},
            "findings": [finding.to_json() for finding in self.findings],
            "artifacts": list(self.artifacts),
            "notes": list(self.notes),
            "reason": self.reason,
        }

    def to_full_json(self) -> dict[str, Any]:
        """What `from_json` reads back whole: `to_json`, and under `exact` what that leaves out."""
        return {
            **self.to_json(),
            "exact": {
                "metrics": [_spelled(metric) for metric in self.metrics.values()],
                "causes": [[finding.cause, finding.instance] for finding in self.findings],
                "wall_s": [attempt.wall_s for attempt in self.attempts],
            },
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "StageReport":
        """The report that `to_full_json` spelled."""
        exact = body["exact"]
        verdict = body["verdict"]
        return cls(
            name=StageName(body["name"]),
            state=StageState(body["state"]),
            verdict=None if verdict is None else Verdict(verdict),
            attempts=tuple(
                StageAttempt(a["number"], a["outcome"], wall_s, a["message"])
                for a, wall_s in zip(body["attempt_log"], exact["wall_s"], strict=True)
            ),
            metrics={metric[0]: _metric_from(metric) for metric in exact["metrics"]},
            findings=tuple(
                Finding(**finding, cause=cause, instance=instance)
                for finding, (cause, instance) in zip(
                    body["findings"], exact["causes"], strict=True
                )
            ),
            artifacts=tuple(body["artifacts"]),
            notes=tuple(body["notes"]),
            reason=body["reason"],
        )


def _spelled(metric: Metric) -> list[Any]:
    own: list[Any] = [metric.name, metric.value, metric.source, metric.unit]
    return [*own, list(metric.samples)] if metric.samples else own


def _metric_from(spelled: Sequence[Any]) -> Metric:
    name, value, source, unit, *more = spelled
    return Metric(name, value, source, unit, tuple(more[0]) if more else ())


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else round(value, 4)
