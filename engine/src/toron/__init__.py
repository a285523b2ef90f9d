"""Toron: deterministic simulation of unmodified asyncio programs.

`kernel` marks a scenario, `run` executes it once, `explore` under many seeds, `verify` in two
processes, `replay` from a token. Nothing heavy is imported until it is used, because this package
is also imported by the program under test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "2.5.2"
ENGINE_VERSION = "toron-v2.5H+.2"

if TYPE_CHECKING:
    from toron.checks import models
    from toron.checks.history import History
    from toron.checks.linearizability import check_linearizable
    from toron.checks.serializability import check_serializable
    from toron.errors import BadKernel, EscapeError, ToronError
    from toron.search.branch import Branching
    from toron.search.explain.explanation import Explanation
    from toron.search.explore import Exploration
    from toron.search.inevitable import Inevitability
    from toron.search.outcome import Execution, Failure, Outcome
    from toron.search.references import KernelRef
    from toron.search.verify import Divergence, Verification
    from toron.testing import (
        ReplayDiffers,
        branch,
        execute,
        explain,
        explore,
        inevitable,
        kernel,
        replay,
        run,
        shrink,
        trace,
        verify,
    )
    from toron.world.hosts import Host
    from toron.world.world import World

_HOMES = {
    "BadKernel": "toron.errors",
    "Branching": "toron.search.branch",
    "Divergence": "toron.search.verify",
    "EscapeError": "toron.errors",
    "Execution": "toron.search.outcome",
    "Explanation": "toron.search.explain.explanation",
    "Exploration": "toron.search.explore",
    "Failure": "toron.search.outcome",
    "History": "toron.checks.history",
    "Host": "toron.world.hosts",
    "Inevitability": "toron.search.inevitable",
    "KernelRef": "toron.search.references",
    "Outcome": "toron.search.outcome",
    "ReplayDiffers": "toron.testing",
    "ToronError": "toron.errors",
    "Verification": "toron.search.verify",
    "World": "toron.world.world",
    "branch": "toron.testing",
    "check_linearizable": "toron.checks.linearizability",
    "check_serializable": "toron.checks.serializability",
    "execute": "toron.testing",
    "explain": "toron.testing",
    "explore": "toron.testing",
    "inevitable": "toron.testing",
    "kernel": "toron.testing",
    "replay": "toron.testing",
    "run": "toron.testing",
    "shrink": "toron.testing",
    "trace": "toron.testing",
    "verify": "toron.testing",
}

__all__ = [
    "ENGINE_VERSION",
    "BadKernel",
    "Branching",
    "Divergence",
    "EscapeError",
    "Execution",
    "Explanation",
    "Exploration",
    "Failure",
    "History",
    "Host",
    "Inevitability",
    "KernelRef",
    "Outcome",
    "ReplayDiffers",
    "ToronError",
    "Verification",
    "World",
    "__version__",
    "branch",
    "check_linearizable",
    "check_serializable",
    "execute",
    "explain",
    "explore",
    "inevitable",
    "kernel",
    "models",
    "replay",
    "run",
    "shrink",
    "trace",
    "verify",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "models":
        return importlib.import_module("toron.checks.models")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'toron' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
