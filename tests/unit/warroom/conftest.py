"""Runs, reports and policies for the judge."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from testops.domain.history import PastRun
from testops.domain.policy import Policy
from testops.domain.run import RunState
from testops.domain.stage import Metric, StageAttempt, StageName, StageReport, StageState
from testops.domain.verdict import Verdict
from testops.domain.waiver import Waiver
from testops.warroom.judge import Judge, Subject
from testops.warroom.rules import Rules

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ENGINE = "toron-v2.5H+.2"


@dataclass
class Still:
    """A clock that stands."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def elapsed_s(self) -> float:
        return 0.0


@dataclass
class Remembered:
    """A history of these runs, asked as the real ones are."""

    past: list[PastRun] = field(default_factory=list)

    def runs(
        self, *, suite: str, profile: str | None, verdicts: frozenset[Verdict], limit: int
    ) -> Sequence[PastRun]:
        fit = [
            run
            for run in self.past
            if run.suite == suite and profile in (None, run.profile) and run.verdict in verdicts
        ]
        return sorted(fit, key=lambda run: run.finished_at, reverse=True)[:limit]

    def attempts(self, run_id: str) -> Sequence[PastRun]:
        fit = [run for run in self.past if run.run_id == run_id]
        return sorted(fit, key=lambda run: run.finished_at, reverse=True)


def past(number: int, value: float, **changes: Any) -> PastRun:
    """A passed run that measured `unit.wall_s`; a larger number is a newer one."""
    stage, metric = changes.pop("stage", StageName.UNIT), changes.pop("metric", "wall_s")
    samples = changes.pop("samples", ())
    usual: dict[str, Any] = {
        "run_id": f"{number:016x}",
        "attempt": 1,
        "suite": "core",
        "profile": "offline",
        "state": RunState.FINISHED,
        "verdict": Verdict.PASS,
        "finished_at": (NOW - timedelta(days=30 - number)).isoformat(),
        "commit": None,
        "engine_version": ENGINE,
        "metrics": {stage: {metric: value}},
        "samples": {stage: {metric: samples}} if samples else {},
    }
    return PastRun(**{**usual, **changes})


GREEN: dict[StageName, dict[str, float]] = {
    StageName.LINT: {"errors": 0},
    StageName.UNIT: {"failed": 0, "tests": 5, "outbound_attempts": 0},
    StageName.SIM: {
        "determinism_percent": 100,
        "kernels_failed": 0,
        "kernels_inconclusive": 0,
        "kernels_warned": 0,
    },
    StageName.SNAPSHOT_COMPARE: {"deltas": 0, "nondeterministic": 0, "findings": 0},
}


def report(stage: StageName, **metrics: Any) -> StageReport:
    """A stage as it is wanted, with `metrics` beside or instead of that; a tuple are samples."""
    every: dict[str, Metric] = {}
    for name, value in {**GREEN[stage], **metrics}.items():
        if isinstance(value, tuple):
            middle = sorted(value)[len(value) // 2] if value else 0.0
            every[name] = Metric(name, middle, "x.json", "s", value)
        elif value is not None:
            every[name] = Metric(name, value, "x.json")
    return StageReport(
        stage, StageState.RAN, attempts=(StageAttempt(1, "ran", 0.1),), metrics=every
    )


def policy(*gates: dict[str, Any], **fields: Any) -> Policy:
    """A policy of these gates, each over `unit` unless it says otherwise."""
    full = [{"stage": "unit", **gate} for gate in gates]
    return Policy.model_validate({"name": "release", "gates": full, **fields})


def judge_by(
    own_policy: Policy | None = None,
    *,
    history: Remembered | None = None,
    waivers: Sequence[Waiver] = (),
    **subject: Any,
) -> Judge:
    """The judge of a run of suite core."""
    usual = {"run_id": "f" * 16, "suite": "core", "profile": "offline", "engine_version": ENGINE}
    return Judge(
        Rules(policy=own_policy),
        Subject(**{**usual, "begun_at": NOW, **subject}),
        Still(),
        history or Remembered(),
        waivers,
    )
