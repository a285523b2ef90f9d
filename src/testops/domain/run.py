"""A run: the question that was asked, the id that is its hash, and how one attempt went."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from testops.domain.errors import InternalError
from testops.domain.gate import GateResult
from testops.domain.scoring import PolicyRef, Score
from testops.domain.seeds import Seeds
from testops.domain.stage import StageReport
from testops.domain.verdict import ExitCode, Verdict

RUN_ID_LENGTH = 16
DEFAULT_WORKSPACE = "default"


class RunState(StrEnum):
    """Where an attempt is."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    ERRORED = "errored"


# What may follow what; anything else is a bug of ours.
MOVES: Mapping[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.ERRORED}),
    RunState.RUNNING: frozenset({RunState.FINISHED, RunState.CANCELLED, RunState.ERRORED}),
    RunState.FINISHED: frozenset(),
    RunState.CANCELLED: frozenset(),
    RunState.ERRORED: frozenset(),
}


# An attempt that is here goes nowhere else; the run may get another attempt.
TERMINAL = frozenset(state for state, next_states in MOVES.items() if not next_states)


@dataclass(frozen=True, slots=True)
class Build:
    """What was qualified: a commit, and the hash of what differs from it (empty when nothing).

    A client may name what it deployed instead: it vouches for `commit` and `version`, and the build
    says that it was only `stated`.
    """

    commit: str | None
    dirty: str | None
    version: str | None = None
    stated: bool = False

    def to_json(self) -> dict[str, Any]:
        own: dict[str, Any] = {"commit": self.commit, "dirty": self.dirty}
        # Only where somebody stated one: a field more would give every question another id.
        return own | {"version": self.version, "stated": True} if self.stated else own


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that a run's answer depends on, and nothing else."""

    suite: Mapping[str, Any]
    profile: Mapping[str, Any]
    seeds: Seeds
    sim_seeds: tuple[int, ...]
    build: Build
    engine_version: str
    stages: tuple[str, ...]
    salt: str | None = None
    workspace: str = DEFAULT_WORKSPACE
    # Name, version, digest and definition of the policy that judges it, where there is one.
    policy: Mapping[str, Any] | None = None
    # The identity of the bundle that snapshot-compare compares with; None: the approved baseline.
    baseline: str | None = None

    def to_json(self) -> dict[str, Any]:
        # The same words about two projects are two questions, even where a build was only stated.
        # The default one is not named: a command line knows no other, and ids stay what they were.
        own = {} if self.workspace == DEFAULT_WORKSPACE else {"workspace": self.workspace}
        if self.baseline is not None:
            own["baseline"] = self.baseline
        return {
            "suite": self.suite,
            "profile": self.profile,
            "seeds": self.seeds.to_json(),
            "sim_seeds": list(self.sim_seeds),
            "build": self.build.to_json(),
            "engine_version": self.engine_version,
            "stages": list(self.stages),
            "salt": self.salt,
            **own,
            **({} if self.policy is None else {"policy": self.policy}),
        }


def run_id_of(canonical: bytes) -> str:
    """The id of the question that `canonical` (RFC 8785) spells."""
    return hashlib.sha256(canonical).hexdigest()[:RUN_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at answering a question; each stage report adds to it."""

    run_id: str
    attempt: int
    state: RunState
    suite: str
    profile: str
    seeds: Seeds
    build: Build
    engine_version: str
    reproduce: str
    verdict: Verdict | None = None
    exit_code: ExitCode | None = None
    stages: tuple[StageReport, ...] = ()
    gates: tuple[GateResult, ...] = ()
    bundle: str | None = None
    bundle_identity: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    reason: str = ""
    # The programs that a behaviour depends on beside the code: `python` and `sqlite`, to the patch.
    environment: Mapping[str, str] | None = None
    policy: PolicyRef | None = None
    policy_definition: Mapping[str, Any] | None = None
    score: Score | None = None
    # Of waivers that did nothing in this run, and why: they should go.
    waivers_unused: tuple[str, ...] = ()

    def moved_to(self, state: RunState, **changes: Any) -> "Run":
        """The run in `state`, with `changes`; an illegal move raises and names both ends."""
        if state not in MOVES[self.state]:
            raise InternalError(f"run {self.run_id} cannot go from {self.state} to {state}")
        return replace(self, state=state, **changes)

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "state": self.state.value,
            "verdict": None if self.verdict is None else self.verdict.value,
            "attempt": self.attempt,
            "suite": self.suite,
            "profile": self.profile,
            "seeds": self.seeds.to_json(),
            "stages": [stage.to_json() for stage in self.stages],
            "gates": [gate.to_json() for gate in self.gates],
            "reproduce": self.reproduce,
            "exit_code": None if self.exit_code is None else int(self.exit_code),
            "bundle": self.bundle,
            "bundle_identity": self.bundle_identity,
            "build": self.build.to_json(),
            "engine_version": self.engine_version,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "reason": self.reason,
            **({} if self.environment is None else {"environment": dict(self.environment)}),
            "policy": None if self.policy is None else self.policy.to_json(),
            "score": None if self.score is None else self.score.to_json(),
            "waivers_unused": list(self.waivers_unused),
        }

    def to_full_json(self) -> dict[str, Any]:
        """`to_json` with every stage and gate so that it can be read back, and judged again."""
        shown = self.to_json()
        if self.policy is not None:
            shown["policy"] |= {"definition": self.policy_definition}
        return {
            **shown,
            "stages": [stage.to_full_json() for stage in self.stages],
            "gates": [gate.to_full_json() for gate in self.gates],
        }
