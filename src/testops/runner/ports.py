"""What the pipeline needs from the engine and the snapshots; `testops.wiring` supplies it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from testops.domain.review import Cause
from testops.domain.seeds import Seeds
from testops.domain.verdict import Verdict
from testops.runner.suites import ResolvedKernel
from testops.telemetry.clock import Clock


class Execution(Protocol):
    """One kernel under one pair of seeds, run and verified in a second process."""

    @property
    def kernel(self) -> str: ...
    @property
    def sim_seed(self) -> int: ...
    @property
    def chaos_seed(self) -> int: ...
    @property
    def outcome(self) -> Mapping[str, Any]: ...
    @property
    def identical(self) -> bool: ...
    @property
    def first_divergence(self) -> Mapping[str, Any] | None: ...
    @property
    def wall_s(self) -> float: ...


class Simulator(Protocol):
    """Toron, as far as a pipeline sees it."""

    @property
    def engine_version(self) -> str: ...

    def kernels_in(self, path: Path) -> Sequence[str]:
        """The kernels of a file; `BadInput` when it cannot be imported."""
        ...

    def simulate(
        self,
        kernels: Sequence[ResolvedKernel],
        *,
        sim_seeds: Sequence[int],
        chaos_seed: int,
        jobs: int,
        wall_limit_s: float,
    ) -> Iterator[Execution]:
        """Every kernel under every seed, as they finish."""
        ...


@dataclass(frozen=True, slots=True)
class Delta:
    """One difference to the baseline, for a person."""

    where: str
    what: str
    reproduce: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing two bundles found; `deltas` may be the first of more."""

    verdict: Verdict
    reason: str
    fix: str
    delta_count: int
    executions_compared: int
    deltas: tuple[Delta, ...]
    findings: tuple[str, ...]
    reports: tuple[Path, ...]
    # Why there are deltas, how that was found, and in how many executions it was nondeterminism.
    cause: Cause = Cause.UNKNOWN
    why: str = ""
    nondeterministic: int = 0


@dataclass(frozen=True, slots=True)
class Reexecution:
    """What it takes to execute differing executions again."""

    simulator: Simulator
    kernels: tuple[ResolvedKernel, ...]
    clock: Clock
    jobs: int


class Snapshots(Protocol):
    """Bundles and baselines, as far as a pipeline sees them."""

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
        """Write the bundle and replace the folder `unpacked`; the bundle's identity.

        `sources` says for each kernel where it stands: `FILE.py::FUNCTION`.
        """
        ...

    def report_determinism(self, executions: Sequence[Execution], reports: Path) -> Path: ...

    def compare(
        self,
        base: Path,
        target: Path,
        *,
        masks: Path | None,
        reports: Path,
        again: Reexecution | None,
    ) -> Comparison:
        """Compare and write the reports, the text one first; with `again`, find the cause too."""
        ...
