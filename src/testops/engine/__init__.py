"""The only door to Toron: kernels of a suite in, verified executions out.

Everything else of TestOps speaks of kernels and executions and does not know the simulator; the
import contract enforces it.
"""

from __future__ import annotations

from testops.engine.simulation import (
    ENGINE_VERSION,
    Execution,
    KernelSpec,
    kernels_in,
    simulate,
)

__all__ = ["ENGINE_VERSION", "Execution", "KernelSpec", "kernels_in", "simulate"]
