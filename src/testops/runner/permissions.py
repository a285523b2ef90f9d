"""Which stages of a suite run commands, for workspaces whose operator has not allowed them.

Kernels run inside Toron, which starts no programs. Lint and unit start the project's own tools, and
a suite can also choose the interpreter, its arguments and its environment.
"""

from collections.abc import Iterator, Mapping

from testops.domain.errors import Fault
from testops.domain.stage import StageName
from testops.domain.suite import LintStage, Stage, UnitStage

_CHOOSING = ("python", "arguments", "environment")


def command_faults(stages: Mapping[StageName, Stage], workspace: str) -> list[Fault]:
    """Everything in `stages` that needs commands to be allowed; nothing when none does."""
    return list(_faults(stages, f"its operator may: testops workspaces allow-commands {workspace}"))


def _faults(stages: Mapping[StageName, Stage], fix: str) -> Iterator[Fault]:
    for name, stage in stages.items():
        if isinstance(stage, LintStage | UnitStage):
            yield Fault(f"/stages/{name}", "starts commands, which nobody allowed here", fix)
        for field in _CHOOSING:
            if getattr(stage, field, None):
                yield Fault(f"/stages/{name}/{field}", "chooses what command runs", fix)
