"""What one stage of one attempt is asked, and how it ended, as values that cross a process border.

Starting the process belongs to `stage_process`, answering inside it to `stage_child`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from testops.domain.stage import StageName
from testops.domain.suite import Stage, Suite

Network = Literal["loopback-only", "open"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stage may use: real time, memory and processes of everything it starts together."""

    wall_s: float = 86_400.0
    memory_mb: int = 8192
    processes: int = 1024
    file_mb: int = 1024

    @classmethod
    def of(cls, stage: Stage, *, machine_cores: int) -> "Limits":
        """What `stage` may use on a runner of so many cores."""
        memory_mb = stage.memory_mb_of(machine_cores)
        return cls(memory_mb=memory_mb, processes=stage.processes)

    def to_json(self) -> dict[str, Any]:
        return {
            "wall_s": self.wall_s,
            "memory_mb": self.memory_mb,
            "processes": self.processes,
            "file_mb": self.file_mb,
        }


@dataclass(frozen=True, slots=True)
class SeedChunk:
    """A part of a simulation: these kernels (none named: all of the suite) under these seeds."""

    number: int
    seeds: Sequence[int]
    kernels: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "seeds": list(self.seeds), "kernels": list(self.kernels)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "SeedChunk":
        return cls(body["number"], tuple(body["seeds"]), tuple(body["kernels"]))


@dataclass(frozen=True, slots=True)
class StageJob:
    """One stage of one attempt of one run.

    A `sim` job with a `chunk` executes that part and leaves a chunk file; one with `executions`
    assembles the stage from such files. Without either it does all of it.
    """

    run_id: str
    attempt: int
    stage: str
    project_root: Path
    output: Path
    suite: Mapping[str, Any]
    suite_shown: str
    profile: Mapping[str, Any]
    sim_seed: int
    chaos_seed: int
    sim_seeds: Sequence[int]
    only: Sequence[str]
    bundle_identity: str | None = None
    jobs: int = 1
    limits: Limits = field(default_factory=Limits)
    network: Network = "loopback-only"
    executions: Sequence[Path] = ()
    chunk: SeedChunk | None = None
    # A folder of baselines that goes before the project's; the stage may only read it.
    golden: Path | None = None

    @property
    def wall_s(self) -> float:
        """How long all its tries may take; the limits may say less."""
        stage = Suite.model_validate(self.suite).stages.named().get(StageName(self.stage))
        own_s = self.limits.wall_s if stage is None else stage.timeout_s * stage.attempts_max
        return min(self.limits.wall_s, own_s + _AROUND_S)

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "attempt": self.attempt,
            "stage": str(self.stage),
            "project_root": str(self.project_root),
            "output": str(self.output),
            "suite": self.suite,
            "suite_shown": self.suite_shown,
            "profile": self.profile,
            "sim_seed": self.sim_seed,
            "chaos_seed": self.chaos_seed,
            "sim_seeds": list(self.sim_seeds),
            "only": [str(name) for name in self.only],
            "bundle_identity": self.bundle_identity,
            "jobs": self.jobs,
            "limits": self.limits.to_json(),
            "network": self.network,
            "executions": [str(path) for path in self.executions],
            "chunk": None if self.chunk is None else self.chunk.to_json(),
            "golden": None if self.golden is None else str(self.golden),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "StageJob":
        changed = {
            "project_root": Path(body["project_root"]),
            "output": Path(body["output"]),
            "sim_seeds": tuple(body["sim_seeds"]),
            "only": tuple(body["only"]),
            "limits": Limits(**body["limits"]),
            "executions": tuple(Path(path) for path in body["executions"]),
            "chunk": None if body["chunk"] is None else SeedChunk.from_json(body["chunk"]),
            "golden": None if body["golden"] is None else Path(body["golden"]),
        }
        return cls(**{**body, **changed})

    def encode(self) -> bytes:
        return json.dumps(self.to_json()).encode()


# Starting, importing the kernels, and writing the reports are not the tool's own time.
_AROUND_S = 60.0


@dataclass(frozen=True, slots=True)
class ChunkFile:
    """The executions of a chunk on the disk; `sha256` is of the file's bytes."""

    path: Path
    sha256: str
    executions: int


@dataclass(frozen=True, slots=True)
class StageDone:
    """The stage answered. `report` is `StageReport.to_full_json()`, not judged yet.

    A job with a chunk leaves `chunk` instead of a report. `refused` are the first outside
    connections that the sandbox refused, `refused_count` is all of them.
    """

    report: Mapping[str, Any]
    artifacts: Sequence[Path] = ()
    bundle: Path | None = None
    bundle_identity: str | None = None
    chunk: ChunkFile | None = None
    refused: Sequence[str] = ()
    refused_count: int = 0


@dataclass(frozen=True, slots=True)
class StageStopped:
    """It was ended because `stop` said `why`; nothing of it is left."""

    why: str


Cause = Literal["signal", "exit", "time", "memory", "processes", "output", "sandbox", "error"]


@dataclass(frozen=True, slots=True)
class StageCrashed:
    """It ended without an answer: infrastructure, never a verdict.

    `error` names the error of ours where the stage could still say one (cause "error"): BadInput is
    the caller's to mend and no other try helps, everything else may be gone the next time.
    """

    message: str
    cause: Cause
    error: str = ""
    refused: Sequence[str] = ()

    @property
    def may_go_away(self) -> bool:
        return self.error != "BadInput"


Result = StageDone | StageStopped | StageCrashed
