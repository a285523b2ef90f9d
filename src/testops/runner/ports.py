"""What the pipeline needs from the engine and the snapshots; `testops.wiring` supplies it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from testops.domain.seeds import Seeds
from testops.domain.verdict import Verdict
from testops.runner.suites import ResolvedKernel


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
        project_root: Path,
        wall_limit_s: float,
    ) -> Iterator[Execution]:
        """Every kernel under every seed, as they finish."""
        ...


class Comparison(Protocol):
    """What comparing two bundles found."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def reason(self) -> str: ...
    @property
    def deltas(self) -> Sequence[Any]: ...


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
    ) -> str:
        """Write the bundle and replace the folder `unpacked`; the bundle's identity."""
        ...

    def report_determinism(self, executions: Sequence[Execution], reports: Path) -> Path: ...

    def compare(self, base: Path, target: Path, *, masks: Path | None) -> Comparison: ...

    def describe(self, delta: Any) -> tuple[str, str, str]:
        """Where the delta is, what it is, and the command that shows it again (or nothing)."""
        ...

    def report_comparison(self, comparison: Comparison, reports: Path) -> Sequence[Path]:
        """Write the reports of a comparison; the text one comes first."""
        ...

    def approve(self, source: Path, golden: Path, *, who: str, why: str, at: datetime) -> Path:
        """Make a bundle the baseline of its key; who and why are recorded beside it."""
        ...
