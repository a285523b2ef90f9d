"""Who executes a bundle's kernels again: Toron, with the code that is here, under this Python."""

import sys

from testops.runner.builds import build_of
from testops.runner.ports import Reexecution
from testops.runner.projects import Project
from testops.runner.records import RunStore
from testops.runner.reexecution import (
    WALL_LIMIT_S,
    Bounds,
    SimulatorAgain,
    kernels_of_plan,
    kernels_of_project,
    recorded_builds,
)
from testops.telemetry.clock import SystemClock
from testops.wiring.machine import cpu_count
from testops.wiring.simulator import ToronSimulator

PYTHON_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def executor_of_run(asked: Reexecution) -> SimulatorAgain:
    """For a run whose bundle was made a moment ago, from the very same code."""
    return SimulatorAgain(
        asked.simulator,
        kernels_of_plan(asked.kernels),
        python=PYTHON_MINOR,
        clock=asked.clock,
        bounds=Bounds(asked.jobs),
        is_same_code=lambda _: True,
    )


def executor_of_project(project: Project, *, wall_limit_s: float = WALL_LIMIT_S) -> SimulatorAgain:
    """For a bundle from anywhere, with the kernels of `project` as they are now."""

    def is_same_code(identity: str) -> bool | None:
        builds = recorded_builds(RunStore(project).records(), identity)
        return build_of(project.root).to_json() in builds if builds else None

    return SimulatorAgain(
        ToronSimulator(),
        kernels_of_project(project),
        python=PYTHON_MINOR,
        clock=SystemClock(),
        bounds=Bounds(cpu_count(), wall_limit_s),
        is_same_code=is_same_code,
    )
