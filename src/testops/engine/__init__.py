"""The only door to Toron: kernels of a suite in, verified executions out.

Everything else of TestOps speaks of kernels and executions and does not know the simulator; the
import contract enforces it. The simulator itself is imported when it is first needed: a server
only has to know which one it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toron import ENGINE_VERSION

if TYPE_CHECKING:
    from testops.engine.simulation import Execution, KernelSpec, kernels_in, simulate

__all__ = ["ENGINE_VERSION", "Execution", "KernelSpec", "kernels_in", "simulate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from testops.engine import simulation

    return getattr(simulation, name)
