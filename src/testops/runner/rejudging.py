"""Judges the record of a run again, offline: by other rules, or by what is known now.

The record is evidence only where it holds the exact numbers and its attempt came to its end.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.gate import GateResult
from testops.domain.history import History, PastRun
from testops.domain.run import RunState
from testops.domain.run_view import RunView
from testops.domain.stage import StageName, StageReport, StageState
from testops.domain.suite import Suite
from testops.domain.verdict import Verdict
from testops.domain.waiver import Waiver, moment_of
from testops.telemetry.clock import Clock
from testops.warroom.judge import Judge, Subject
from testops.warroom.rules import Rules
from testops.warroom.verdicts import Judgement

RECORD_BYTES_MAX = 64_000_000
_NO_STAGE = (StageState.NOT_ASKED, StageState.NOT_IN_SUITE)


@dataclass(frozen=True, slots=True)
class Record:
    """A recorded attempt."""

    body: Mapping[str, Any]
    stages: tuple[StageReport, ...]

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """What was said when it was judged first."""
        return tuple(GateResult.from_json(gate) for gate in self.body["gates"])

    @property
    def definition(self) -> Mapping[str, Any] | None:
        """The policy that judged it."""
        policy = self.body.get("policy")
        return None if policy is None else policy.get("definition")


@dataclass(frozen=True, slots=True)
class Rejudged:
    """What a record is worth by the rules that it was judged by now."""

    stages: tuple[StageReport, ...]
    gates: tuple[GateResult, ...]
    judgement: Judgement
    waivers_unused: tuple[str, ...]

    def to_json(self, record: Record) -> dict[str, Any]:
        """What `gates evaluate` and its route answer."""
        score = self.judgement.score
        return {
            "run_id": record.body["run_id"],
            "attempt": record.body["attempt"],
            "verdict": self.judgement.verdict.value,
            "exit_code": int(self.judgement.exit_code),
            "score": None if score is None else score.to_json(),
            "was": record.body["verdict"],
            "gates": [gate.to_json() for gate in self.gates],
            "waivers_unused": list(self.waivers_unused),
        }


def read_record(path: Path, *, shown: str) -> Record:
    """The record in `path`; `BadInput` where it is none, or is only what people see."""
    try:
        if path.stat().st_size > RECORD_BYTES_MAX:
            raise BadInput("it is too large to be a record", where=shown, fix="name another file")
        body = json.loads(path.read_bytes())
    except OSError as error:
        said = f"cannot be read: {error.strerror}"
        raise BadInput(said, where=shown, fix="check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise BadInput("is not JSON", where=shown, fix="name the record of a run") from error
    try:
        return _record(body, shown)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"is no record of a run: {type(error).__name__} {str(error)[:100]}"
        raise BadInput(said, where=shown, fix="name the record of a run") from error


def record_of(view: RunView) -> Record:
    """The newest attempt of a run as a server keeps it."""
    suite = Suite.model_validate(view.question["suite"])
    left = {stage.name: stage.report for stage in view.stages}
    stages = [_left(name, left.get(name.value)) for name in suite.stages.named()]
    body = {**view.to_json(), "policy": view.question.get("policy")}
    return Record(body, tuple(stages))


def _left(name: StageName, report: Mapping[str, Any] | None) -> StageReport:
    if report is None:
        return StageReport(name, StageState.NOT_ASKED)
    if "exact" in report:
        return StageReport.from_json(report)
    # It could not be executed, or is of a release that kept no exact numbers.
    why = str(report["reason"]) or "its exact numbers were not kept"
    return StageReport(name, StageState.TOOL_ERROR, reason=why)


def _record(body: Mapping[str, Any], shown: str) -> Record:
    if any("exact" not in stage for stage in body["stages"]):
        # Rounded for people, 97.99996 is 98: nothing may pass because it was printed.
        raise BadInput(
            "holds what is shown of a run, and not its exact numbers",
            where=shown,
            fix="name the record: snapshots/runs/ID/attempt-N.json",
        )
    for name in ("run_id", "attempt", "suite", "profile", "engine_version", "state", "build"):
        body[name]
    record = Record(body, tuple(StageReport.from_json(stage) for stage in body["stages"]))
    assert isinstance(record.gates, tuple)
    return record


def rejudge(
    record: Record,
    rules: Rules,
    *,
    history: History,
    waivers: Sequence[Waiver],
    clock: Clock,
    commit: str | None = None,
) -> Rejudged:
    """What the stages of `record` are worth; of another build than `commit` they prove nothing."""
    body = record.body
    judge = Judge(
        rules,
        Subject(
            body["run_id"],
            body["suite"],
            body["profile"],
            body["engine_version"],
            _moment(body.get("started_at")),
            _not_evidence(body, commit),
        ),
        clock,
        _Before(history, _moment(body.get("finished_at"))),
        waivers,
    )
    judged = [
        (report, ()) if report.state in _NO_STAGE else judge.stage(report)
        for report in record.stages
    ]
    asked = [report.name for report, _ in judged if report.state not in _NO_STAGE]
    known = [report.name for report, _ in judged if report.state != StageState.NOT_IN_SUITE]
    gates = (*(gate for _, said in judged for gate in said), *judge.absent(asked, known))
    verdicts = [report.verdict for report, _ in judged if report.verdict is not None]
    return Rejudged(
        tuple(report for report, _ in judged),
        gates,
        judge.run(verdicts, gates),
        judge.waivers_unused(gates),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else moment_of(text)


def _not_evidence(body: Mapping[str, Any], commit: str | None) -> str:
    if body["state"] != RunState.FINISHED.value:
        return f"the attempt is {body['state']}, so nothing of it is whole"
    build = body["build"]
    if commit is None:
        return ""
    if build.get("stated"):
        return f"that the evidence is of commit {build['commit']} was only stated"
    if build["commit"] is None or not build["commit"].startswith(commit):
        return f"the evidence is of commit {build['commit']}, and {commit} is asked about"
    if build["dirty"]:
        return (
            f"the evidence is of {commit} with changes ({build['dirty'][:12]}) that are no commit"
        )
    return ""


# Of the attempts after the one that is judged, so many are read past.
_LATER_MAX = 200


@dataclass(frozen=True, slots=True)
class _Before:
    """The history as it was when the attempt ended: what came later is no ground of it."""

    history: History
    ended_at: datetime | None

    def runs(
        self, *, suite: str, profile: str | None, verdicts: frozenset[Verdict], limit: int
    ) -> Sequence[PastRun]:
        found = self.history.runs(
            suite=suite, profile=profile, verdicts=verdicts, limit=limit + _LATER_MAX
        )
        if self.ended_at is None:
            return ()
        return [run for run in found if moment_of(run.finished_at) < self.ended_at][:limit]

    def attempts(self, run_id: str) -> Sequence[PastRun]:
        if self.ended_at is None:
            return ()
        every = self.history.attempts(run_id)
        return [run for run in every if moment_of(run.finished_at) < self.ended_at]
