"""The runner's simulator is Toron, driven by the real clock."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from testops import engine
from testops.runner.ports import Execution
from testops.runner.suites import ResolvedKernel
from testops.telemetry.clock import SystemClock


class ToronSimulator:
    """`runner.ports.Simulator` by Toron."""

    engine_version = engine.ENGINE_VERSION

    def kernels_in(self, path: Path) -> Sequence[str]:
        return engine.kernels_in(path)

    def simulate(
        self,
        kernels: Sequence[ResolvedKernel],
        *,
        sim_seeds: Sequence[int],
        chaos_seed: int,
        jobs: int,
        wall_limit_s: float,
    ) -> Iterator[Execution]:
        specs = [
            engine.KernelSpec(kernel.name, kernel.path, kernel.function, _verify(kernel.verify))
            for kernel in kernels
        ]
        return engine.simulate(
            specs,
            sim_seeds=sim_seeds,
            chaos_seed=chaos_seed,
            jobs=jobs,
            clock=SystemClock(),
            wall_limit_s=wall_limit_s,
        )


def _verify(name: str) -> Literal["varied", "fixed"]:
    return "varied" if name == "varied" else "fixed"
