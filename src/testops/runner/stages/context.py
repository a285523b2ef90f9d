"""What a stage is given: the question, the places, and the ways to the outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testops.domain.seeds import Seeds
from testops.domain.stage import StageName
from testops.domain.suite import Profile, Stage
from testops.domain.test_case import TestCase
from testops.runner.ports import Execution, Simulator, Snapshots
from testops.runner.projects import Project
from testops.runner.suites import SimPlan, SuiteFile
from testops.telemetry.clock import Clock
from testops.telemetry.events import Event, Listener, StageProgress


@dataclass(frozen=True, slots=True)
class Commands:
    """How a person here starts our programs; it depends on where they are installed."""

    testops: str = "testops"
    toron: str = "toron"
    # What comes before the name of a suite.
    run: str = "testops run"


@dataclass(slots=True)
class Simulated:
    """What the sim stage leaves for snapshot-compare."""

    executions: list[Execution] = field(default_factory=list)
    identity: str | None = None
    # Each kernel as a test, for the reports that list tests.
    kernels: tuple[TestCase, ...] = ()


@dataclass(frozen=True, slots=True)
class StageContext:
    """One run, as its stages see it."""

    project: Project
    suite_file: SuiteFile
    profile: Profile
    seeds: Seeds
    sim_seeds: tuple[int, ...]
    plan: SimPlan | None
    asked: Mapping[StageName, Stage]
    jobs: int
    bundle: Path
    environment: Mapping[str, str]
    python: str
    clock: Clock
    simulator: Simulator
    snapshots: Snapshots
    commands: Commands
    listener: Listener
    simulated: Simulated
    # A folder of baselines that goes before the project's own: a server's, or none.
    golden: Path | None = None

    @property
    def again(self) -> str:
        """The command that runs this very question again."""
        return (
            f"{self.commands.run} {self.suite_file.shown} --profile {self.profile.name}"
            f" --seed {self.seeds.sim} --chaos-seed {self.seeds.chaos}"
        )

    def tell(self, event: Event) -> None:
        self.listener(event)

    def progress(self, stage: StageName) -> Callable[[int, int], None]:
        """A function that tells `done` of `total` for `stage`."""
        return lambda done, total: self.tell(StageProgress(stage, done, total))

    def interpreter(self, asked: str | None) -> str:
        """The Python that a stage uses: the suite's, relative to the project, or our own."""
        if asked is None:
            return self.python
        return str(self.project.root / asked) if "/" in asked else asked
