"""A small project on the disk, and fakes of everything outside the runner."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from testops.domain.errors import OutputNotWritable
from testops.domain.seeds import Seeds
from testops.domain.verdict import Verdict
from testops.runner.ports import Comparison, Execution, Reexecution
from testops.runner.projects import Project
from testops.runner.service import Request, Tools
from testops.runner.stages.context import Commands
from testops.runner.suites import ResolvedKernel

SUITE = """\
schema: 1
name: core
seeds: {sim: 42, chaos: 7}
stages:
  sim:
    seed_count: 2
    kernels:
      echo: {run: "sim/echo.py::echo"}
"""


@dataclass
class FakeClock:
    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def elapsed_s(self) -> float:
        self.seconds += 0.001
        return self.seconds


@dataclass(frozen=True)
class FakeExecution:
    kernel: str
    sim_seed: int
    chaos_seed: int
    outcome: Mapping[str, Any]
    identical: bool = True
    first_divergence: Mapping[str, Any] | None = None
    wall_s: float = 0.0


@dataclass
class FakeSimulator:
    """Executes nothing; `verdicts`, `moving` and `during` plant what a kernel would do."""

    engine_version: str = "toron-v2.5H+.1"
    verdicts: dict[str, str] = field(default_factory=dict)
    moving: set[int] = field(default_factory=set)
    missing: int = 0
    during: Callable[[], None] = lambda: None
    calls: list[tuple[Sequence[int], int]] = field(default_factory=list)

    def kernels_in(self, path: Path) -> Sequence[str]:
        text = path.read_text()
        return [line[4:].split("(")[0] for line in text.splitlines() if line.startswith("def ")]

    def simulate(
        self,
        kernels: Sequence[ResolvedKernel],
        *,
        sim_seeds: Sequence[int],
        chaos_seed: int,
        jobs: int,
        wall_limit_s: float,
    ) -> Iterator[Execution]:
        self.calls.append((sim_seeds, chaos_seed))
        pairs = [(kernel, seed) for kernel in kernels for seed in sim_seeds]
        for kernel, seed in pairs[: len(pairs) - self.missing]:
            self.during()
            verdict = self.verdicts.get(kernel.name, "pass")
            failure = None
            if verdict == "fail":
                failure = {
                    "kind": "property",
                    "property": "balance",
                    "message": "went below zero",
                    "virtual_ns": 1_500_000_000,
                    "where": "sim/echo.py:3 in echo",
                }
            moved = seed in self.moving
            yield FakeExecution(
                kernel.name,
                seed,
                chaos_seed,
                {"verdict": verdict, "failure": failure},
                identical=not moved,
                first_divergence={
                    "event": 9,
                    "where": "sim/echo.py:4 in echo",
                    "first": "a",
                    "second": "b",
                }
                if moved
                else None,
            )


@dataclass
class FakeSnapshots:
    """Keeps the header as the bundle; `comparison` is what comparing finds."""

    comparison: Comparison | None = None
    full_disk: bool = False
    left: list[dict[str, Any]] = field(default_factory=list)
    again: Reexecution | None = None

    def leave(
        self,
        executions: Sequence[Execution],
        *,
        target: Path,
        unpacked: Path,
        suite: str,
        profile: str,
        seeds: Seeds,
        sources: Mapping[str, str],
        masks: Path | None,
    ) -> str:
        if self.full_disk:
            raise OutputNotWritable("no space left on device", where=str(target))
        self.left.append(
            {
                "suite": suite,
                "sources": sources,
                "order": [(e.kernel, e.sim_seed) for e in executions],
            }
        )
        target.write_text("bundle")
        return "f" * 64

    def report_determinism(self, executions: Sequence[Execution], reports: Path) -> Path:
        reports.mkdir(exist_ok=True)
        path = reports / "determinism.json"
        path.write_text(json.dumps({"executions": len(executions)}))
        return path

    def compare(
        self,
        base: Path,
        target: Path,
        *,
        masks: Path | None,
        reports: Path,
        again: Reexecution | None,
    ) -> Comparison:
        self.again = again
        assert self.comparison is not None
        return self.comparison


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose one suite simulates one kernel."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "core.yaml").write_text(SUITE)
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "echo.py").write_text("def echo():\n    pass\n")
    return Project(tmp_path)


@pytest.fixture
def simulator() -> FakeSimulator:
    return FakeSimulator()


@pytest.fixture
def snapshots() -> FakeSnapshots:
    return FakeSnapshots()


@pytest.fixture
def tools(clock: FakeClock, simulator: FakeSimulator, snapshots: FakeSnapshots) -> Tools:
    return Tools(
        simulator=simulator,
        snapshots=snapshots,
        clock=clock,
        draw_seed=lambda: 12345,
        pause=lambda _: None,
        python=sys.executable,
        commands_in=lambda _: Commands(),
    )


@pytest.fixture
def request_for(project: Project) -> Callable[..., Request]:
    """A request in the project, with an environment that names no seed."""

    def make(suite: str | None = "core", **changes: Any) -> Request:
        environment = changes.pop("environment", {"PATH": "/usr/bin:/bin"})
        return Request(suite, project.root, environment, **changes)

    return make


def compared(verdict: Verdict, *, deltas: int = 0, reason: str = "", fix: str = "") -> Comparison:
    return Comparison(verdict, reason, fix, deltas, 2, (), (), (Path("reports/snapshot_diff.txt"),))


@pytest.fixture
def comparison() -> Callable[..., Comparison]:
    return compared
