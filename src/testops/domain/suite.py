"""The shape of a suite and of a profile: the one schema that files, the API and editors share.

Finding the file, reading it and explaining what is wrong with it belong to `runner.suites`.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from testops.domain.policy import Gate, PolicyAsked
from testops.domain.seeds import SEED_COUNT, Seeds
from testops.domain.shapes import Name, Number, Seconds, Strict, Text
from testops.domain.stage import StageName

KernelName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
ProjectPath = Annotated[str, Field(min_length=1, max_length=500)]
Seed = Annotated[int, Field(ge=0, lt=SEED_COUNT)]


class SeedPair(Strict):
    """The suite's own seeds; a flag or SIM_SEED / CHAOS_SEED goes before them."""

    sim: Seed
    chaos: Seed

    def as_seeds(self) -> Seeds:
        return Seeds(sim=self.sim, chaos=self.chaos)


_STAGE_CAME_LATER = ("cores", "memory_mb", "processes", "exclusive")


class Stage(Strict):
    """What every stage may set."""

    _takes_all_cores: ClassVar[bool] = False
    _came_later: ClassVar[tuple[str, ...]] = _STAGE_CAME_LATER

    timeout_s: Seconds = Field(600.0, description="The stage is ended after so many seconds.")
    attempts_max: int = Field(
        2, ge=1, le=5, description="Tries when the tool itself fails; findings are never retried."
    )
    cores: int | None = Field(
        None, ge=1, le=1024, description="Cores on a runner; default: 1, a simulation takes all."
    )
    memory_mb: int | None = Field(
        None,
        ge=64,
        le=1_048_576,
        description="On a runner, a stage that uses more is ended; default: 2048 and 256 a core.",
    )
    processes: int = Field(
        1024, ge=8, le=32_768, description="On a runner, a stage that starts more is ended."
    )
    exclusive: bool = Field(False, description="On a runner, nothing else runs beside it.")

    def cores_of(self, machine: int) -> int:
        """The cores that it is given on a runner of `machine` cores."""
        usual = machine if self._takes_all_cores else 1
        return min(self.cores or usual, machine)

    def memory_mb_of(self, machine: int) -> int:
        """The memory that it may use there."""
        return self.memory_mb or 2048 + 256 * self.cores_of(machine)

    @model_serializer(mode="wrap")
    def _as_it_was_spelled_before(self, spell: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A field that came later is left out while it says its default.

        A run's id is the hash of this spelling: a release that adds a field must not give every
        known run another name.
        """
        spelled: dict[str, Any] = spell(self)
        for name in self._came_later:
            if getattr(self, name) == type(self).model_fields[name].default:
                del spelled[name]
        return spelled


class LintTool(Strict):
    """One tool and what it looks at."""

    paths: list[ProjectPath] = Field(default_factory=lambda: ["."], min_length=1, max_length=200)


class LintStage(Stage):
    """Static checks with the project's own configuration; one SARIF file for all."""

    python: ProjectPath | None = Field(
        None, description="Interpreter of the project's environment; default: the one running."
    )
    ruff: LintTool | None = None
    format: LintTool | None = None
    mypy: LintTool | None = None

    @model_validator(mode="after")
    def _names_a_tool(self) -> Self:
        if self.ruff is None and self.format is None and self.mypy is None:
            raise ValueError("name at least one of ruff, format, mypy")
        return self


class UnitStage(Stage):
    """The project's own tests in its own environment, seeded, loopback only."""

    _came_later: ClassVar[tuple[str, ...]] = (*_STAGE_CAME_LATER, "classify_failures")

    python: ProjectPath | None = Field(
        None, description="Interpreter of the project's environment; default: the one running."
    )
    paths: list[ProjectPath] = Field(default_factory=lambda: ["tests"], min_length=1)
    arguments: list[str] = Field(default_factory=list, description="More arguments for pytest.")
    order: Literal["seeded", "file"] = Field(
        "seeded", description="Shuffled by SIM_SEED, or as pytest finds them."
    )
    coverage: list[ProjectPath] = Field(
        default_factory=list, description="Folders whose coverage is measured; none: not measured."
    )
    environment: dict[str, str] = Field(default_factory=dict)
    classify_failures: bool = Field(
        True,
        description="Repeat tests that failed, to say whether order or chance made them fail.",
    )


class Kernel(Strict):
    """A kernel: a function of a file, and under which hash seeds it must agree with itself."""

    run: Annotated[str, Field(pattern=r"^[^:]+\.py::[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        description="FILE.py::FUNCTION, relative to the project."
    )
    verify: Literal["fixed", "varied"] = Field(
        "fixed", description="varied: also equal under other hash seeds and addresses."
    )

    @property
    def file(self) -> str:
        return self.run.partition("::")[0]

    @property
    def function(self) -> str:
        return self.run.partition("::")[2]


class SimStage(Stage):
    """Kernels × seeds in Toron, each execution verified in a second process."""

    _takes_all_cores: ClassVar[bool] = True

    kernels: dict[KernelName, Kernel] = Field(default_factory=dict, max_length=1000)
    suite: Name | None = Field(
        None, description="Take the sim stage of this suite instead; one baseline serves both."
    )
    seed_count: int = Field(
        1, ge=1, le=1_000_000, description="Seeds per kernel: sim, sim+1, … (--seeds goes before)."
    )
    wall_limit_s: Seconds = Field(60.0, description="Real time that one execution may take.")

    @model_validator(mode="after")
    def _has_kernels_or_a_suite(self) -> Self:
        if bool(self.kernels) == (self.suite is not None):
            raise ValueError("give either kernels or suite")
        return self


class SnapshotCompareStage(Stage):
    """The bundle of this run against the approved baseline."""

    _came_later: ClassVar[tuple[str, ...]] = (
        *_STAGE_CAME_LATER,
        "reexecute",
    )

    golden: ProjectPath = "snapshots/golden"
    masks: ProjectPath | None = None
    reexecute: bool = Field(
        True,
        description="Execute what differs again, to tell a regression from nondeterminism.",
    )


class Stages(Strict):
    """The stages of this suite; they run in the order of the mission, whatever the file's."""

    lint: LintStage | None = None
    unit: UnitStage | None = None
    sim: SimStage | None = None
    snapshot_compare: SnapshotCompareStage | None = Field(None, alias="snapshot-compare")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.named():
            raise ValueError("name at least one of lint, unit, sim, snapshot-compare")
        if self.snapshot_compare is not None and self.sim is None:
            raise ValueError("snapshot-compare needs a sim stage: it compares what sim recorded")
        return self

    def named(self) -> dict[StageName, Stage]:
        every = {
            StageName.LINT: self.lint,
            StageName.UNIT: self.unit,
            StageName.SIM: self.sim,
            StageName.SNAPSHOT_COMPARE: self.snapshot_compare,
        }
        return {name: stage for name, stage in every.items() if stage is not None}


class Suite(Strict):
    """A suite file: `suites/NAME.yaml`."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Name
    description: Text = ""
    profile: Name = "offline"
    seeds: SeedPair
    stages: Stages
    gates: list[Gate] = Field(default_factory=list, max_length=200)
    policy: PolicyAsked | None = Field(
        None, description="By name from policies/, from the server, or in place."
    )

    @model_validator(mode="after")
    def _calls_no_two_gates_alike(self) -> Self:
        given = [gate.name for gate in self.gates if gate.name is not None]
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"two gates are called {twice[0]}")
        return self

    @model_serializer(mode="wrap")
    def _as_it_was_spelled_before(self, spell: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a policy as before there were any: a run's id is the hash of this spelling."""
        spelled: dict[str, Any] = spell(self)
        if self.policy is None:
            del spelled["policy"]
        return spelled


class Constant(Strict):
    """The same number every time."""

    kind: Literal["constant"]
    value: Number


class Uniform(Strict):
    """Any number from `min` to `max`, equally likely."""

    kind: Literal["uniform"]
    min: Number
    max: Number

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is larger than max")
        return self


class Normal(Strict):
    """The bell around `mean`."""

    kind: Literal["normal"]
    mean: Number
    stddev: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Zipf(Strict):
    """Few very common, many rare; by rank to the power of `exponent`."""

    kind: Literal["zipf"]
    exponent: Annotated[float, Field(gt=0, le=100)]


Distribution = Annotated[Constant | Uniform | Normal | Zipf, Field(discriminator="kind")]


class Network(Strict):
    """What a run may reach."""

    policy: Literal["loopback-only", "open"] = Field(
        "loopback-only", description="loopback-only refuses and names every other connection."
    )


class Profile(Strict):
    """A profile file: `profiles/NAME.yaml`. Tests read it from TESTOPS_PROFILE, as JSON."""

    schema_version: Literal[1] = Field(1, alias="schema")
    name: Name
    description: Text = ""
    network: Network = Network()
    sizes: dict[Name, Annotated[int, Field(ge=0)]] = Field(default_factory=dict, max_length=200)
    distributions: dict[Name, Distribution] = Field(default_factory=dict, max_length=200)
