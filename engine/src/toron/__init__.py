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
    from toron.errors import BadKernel, EscapeError, ToronError
    from toron.search.explore import Exploration
    from toron.search.outcome import Execution, Failure, Outcome
    from toron.search.references import KernelRef
    from toron.search.verify import Divergence, Verification
    from toron.testing import ReplayDiffers, execute, explore, kernel, replay, run, verify
    from toron.world.hosts import Host
    from toron.world.world import World

_HOMES = {
    "BadKernel": "toron.errors",
    "Divergence": "toron.search.verify",
    "EscapeError": "toron.errors",
    "Execution": "toron.search.outcome",
    "Exploration": "toron.search.explore",
    "Failure": "toron.search.outcome",
    "History": "toron.checks.history",
    "Host": "toron.world.hosts",
    "KernelRef": "toron.search.references",
    "Outcome": "toron.search.outcome",
    "ReplayDiffers": "toron.testing",
    "ToronError": "toron.errors",
    "Verification": "toron.search.verify",
    "World": "toron.world.world",
    "check_linearizable": "toron.checks.linearizability",
    "execute": "toron.testing",
    "explore": "toron.testing",
    "kernel": "toron.testing",
    "replay": "toron.testing",
    "run": "toron.testing",
    "shrink": "toron.testing",
    "verify": "toron.testing",
}

__all__ = [
    "ENGINE_VERSION",
    "BadKernel",
    "Divergence",
    "EscapeError",
    "Execution",
    "Exploration",
    "Failure",
    "History",
    "Host",
    "KernelRef",
    "Outcome",
    "ReplayDiffers",
    "ToronError",
    "Verification",
    "World",
    "__version__",
    "check_linearizable",
    "execute",
    "explore",
    "kernel",
    "models",
    "replay",
    "run",
    "shrink",
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
