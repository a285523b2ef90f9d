"""A run as the platform keeps it and shows it: what was asked, and how its newest attempt goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testops.domain.run import Build, RunState
from testops.domain.seeds import Seeds
from testops.domain.stage import StageState
from testops.domain.verdict import ExitCode, Verdict

PRIORITY_FIRST, PRIORITY_LAST, PRIORITY_DEFAULT = 0, 9, 5


@dataclass(frozen=True, slots=True)
class NewRun:
    """A planned run, and how it is wanted: what a store needs to keep it."""

    run_id: str
    workspace: str
    suite: str
    suite_shown: str
    profile: str
    seeds: Seeds
    question: Mapping[str, Any]
    build: Build
    engine_version: str
    reproduce: str
    created_by: str
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = PRIORITY_DEFAULT
    deadline_s: float | None = None
    pinned: bool = False
    # Of the request that asked for it (W3C Trace Context), so that the run is part of that trace.
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage of the newest attempt: its report where it has one, else only how far it is."""

    name: str
    state: str
    executions: int
    report: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        if self.report is not None:
            # `exact` is for whoever reads the report back as a value.
            return {name: value for name, value in self.report.items() if name != "exact"}
        return {
            "name": self.name,
            "state": self.state,
            "verdict": None,
            "attempts": self.executions,
            "metrics": {},
            "findings": [],
            "artifacts": [],
            "notes": [],
            "reason": "",
        }


@dataclass(frozen=True, slots=True)
class RunView:
    """What the API answers, and `testops run --json` prints."""

    run_id: str
    workspace: str
    state: RunState
    verdict: Verdict | None
    attempt: int
    suite: str
    suite_shown: str
    profile: str
    seeds: Seeds
    question: Mapping[str, Any]
    build: Build
    engine_version: str
    reproduce: str
    labels: Mapping[str, str]
    priority: int
    exit_code: ExitCode | None
    reason: str
    bundle: str | None
    bundle_identity: str | None
    last_seq: int
    pinned: bool
    created_by: str
    created_at: str
    queued_at: str
    started_at: str | None
    finished_at: str | None
    cancel_requested_by: str | None
    deadline_ms: int | None
    stages: Sequence[StageView] = ()
    gates: Sequence[Mapping[str, Any]] = ()
    # What was judged of the run as a whole: its score, and the gates of stages that it has not.
    judgement: Mapping[str, Any] = field(default_factory=dict)

    @property
    def _every_gate(self) -> Sequence[Mapping[str, Any]]:
        return (*self.gates, *self.judgement.get("gates", ()))

    @property
    def events_url(self) -> str:
        return f"/v1/test-runs/{self.run_id}/events"

    def to_json(self) -> dict[str, Any]:
        """The run body of DESIGN section 7, and what a client needs beside it."""
        return {
            "run_id": self.run_id,
            "state": self.state.value,
            "verdict": None if self.verdict is None else self.verdict.value,
            "attempt": self.attempt,
            "suite": self.suite,
            "profile": self.profile,
            "seeds": self.seeds.to_json(),
            "stages": [stage.to_json() for stage in self.stages],
            "gates": [gate_shown(gate) for gate in self._every_gate],
            "policy": _policy_shown(self.question),
            "score": self.judgement.get("score"),
            "waivers_unused": list(self.judgement.get("waivers_unused", ())),
            "events_url": self.events_url,
            "reproduce": self.reproduce,
            "exit_code": None if self.exit_code is None else int(self.exit_code),
            "bundle": self.bundle,
            "bundle_identity": self.bundle_identity,
            "build": self.build.to_json(),
            "engine_version": self.engine_version,
            "workspace": self.workspace,
            "labels": dict(self.labels),
            "priority": self.priority,
            "pinned": self.pinned,
            "created_by": self.created_by,
            "created_at": self.created_at,
            "queued_at": self.queued_at,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "reason": self.reason,
        }


# For whoever reads a gate back as a value.
_NOT_SHOWN = frozenset({"relative", "statistical"})


def gate_shown(gate: Mapping[str, Any]) -> dict[str, Any]:
    """A kept gate as people see it."""
    return {name: value for name, value in gate.items() if name not in _NOT_SHOWN}


def _policy_shown(question: Mapping[str, Any]) -> Mapping[str, Any] | None:
    policy = question.get("policy")
    if policy is None:
        return None
    return {name: policy[name] for name in ("name", "version", "digest")}


def state_of_stage(*, executions: int, run_state: RunState) -> str:
    """How far a stage without a result is."""
    if run_state in (RunState.QUEUED, RunState.RUNNING):
        return StageState.RUNNING.value if executions else StageState.QUEUED.value
    return StageState.CANCELLED.value


@dataclass(frozen=True, slots=True)
class Created:
    """A run after somebody asked for it: `created`, `existing`, or another `attempt` of it."""

    run: RunView
    outcome: str


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a list shows; None: any."""

    suite: str | None = None
    profile: str | None = None
    state: str | None = None
    verdict: str | None = None
    workspaces: frozenset[str] | None = None
    label: tuple[str, str] | None = None
    commit: str | None = None
    created_from_ms: int | None = None
    created_to_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some runs, newest first, and where the next page begins (None: this was the last)."""

    runs: Sequence[RunView]
    following: tuple[int, str] | None
