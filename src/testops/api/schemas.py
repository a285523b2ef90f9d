"""The shapes on the wire: what clients send is checked by them, what they get is described.

What a suite or a profile may hold is said by `domain.suite`, for files and requests alike.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from testops.domain.policy import PolicyAsked
from testops.domain.run import RunState
from testops.domain.run_view import PRIORITY_DEFAULT, PRIORITY_FIRST, PRIORITY_LAST
from testops.domain.shapes import Name, Strict
from testops.domain.suite import Seed
from testops.domain.verdict import Verdict
from testops.domain.waiver import WaiverEntry

# No control characters: PostgreSQL has no NUL, and a label is shown in one line.
_LINE = r"^[^\x00-\x1f\x7f]*$"
Line = Annotated[str, Field(pattern=_LINE, min_length=1, max_length=200)]
LabelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$")]
LabelValue = Annotated[str, Field(pattern=_LINE, max_length=200)]
WorkspaceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
# The id of a run, or the identity of a bundle.
BundleName = Annotated[str, Field(pattern=r"^([0-9a-f]{16}|[0-9a-f]{64})$")]
StageWord = Literal["lint", "unit", "sim", "snapshot-compare"]
SeedAsked = Seed | Literal["random"]
SuiteAsked = (
    Name | Annotated[dict[str, Any], WithJsonSchema({"$ref": "#/components/schemas/Suite"})]
)
ProfileAsked = (
    Name | Annotated[dict[str, Any], WithJsonSchema({"$ref": "#/components/schemas/Profile"})]
)


class SeedsAsked(Strict):
    """The seeds; what is left out is the suite's own. A range `A:B` is half-open."""

    sim: SeedAsked | None = None
    chaos: SeedAsked | None = None
    sim_range: Annotated[str, Field(pattern=r"^[0-9]{1,20}:[0-9]{1,20}$")] | None = Field(
        None, examples=["0:100"]
    )

    @model_validator(mode="after")
    def _means_one_thing(self) -> Self:
        if self.sim is not None and self.sim_range is not None:
            raise ValueError("give sim or sim_range: a range begins at its first seed")
        return self


class BuildAsked(Strict):
    """What the client deployed, and vouches for; without it the workspace's own build is read."""

    commit: Line | None = None
    version: Line | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.commit is None and self.version is None:
            raise ValueError("give commit or version")
        return self


class TestRunAsked(Strict):
    """What is asked; equal questions are one run, whoever asks and however often."""

    __test__ = False  # the name begins with Test; pytest must not collect it

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"suite": "regression_core", "seeds": {"sim": 42, "chaos": 7}},
                {
                    "suite": {
                        "schema": 1,
                        "name": "smoke",
                        "seeds": {"sim": 42, "chaos": 7},
                        "stages": {"sim": {"suite": "regression_core"}},
                    },
                    "labels": {"branch": "main"},
                },
            ]
        }
    )

    suite: SuiteAsked = Field(description="A suite of the workspace by name, or a definition.")
    profile: ProfileAsked | None = Field(
        None, description="A profile by name, or a definition; left out: the suite's own."
    )
    seeds: SeedsAsked | None = None
    build: BuildAsked | None = None
    policy: PolicyAsked | None = Field(
        None, description="What judges the run; goes before the suite's own."
    )
    stages: list[StageWord] | None = Field(
        None, min_length=1, max_length=4, description="Only these stages of the suite."
    )
    salt: Line | None = Field(None, description="Another salt is another run.")
    baseline: BundleName | None = Field(
        None,
        description="Compare with this bundle, whatever is approved: its identity, or its run.",
    )
    workspace: WorkspaceName = "default"
    labels: dict[LabelName, LabelValue] = Field(default_factory=dict, max_length=32)
    priority: int = Field(
        PRIORITY_DEFAULT, ge=PRIORITY_FIRST, le=PRIORITY_LAST, description="0 goes first."
    )
    deadline_s: Annotated[float, Field(gt=0, le=604_800)] | None = Field(
        None, description="The run is ended so many seconds after it was asked for."
    )


class StageRunAsked(Strict):
    """A run of one stage."""

    suite: SuiteAsked
    seeds: SeedsAsked | None = None
    workspace: WorkspaceName = "default"


class HardeningAsked(StageRunAsked):
    """A run of the hardening stage, by a phase's gates."""

    phase: int = Field(ge=4, le=9)


class RerunAsked(Strict):
    """How to ask again: what failed, all of it, or all of it under new seeds."""

    mode: Literal["failed", "same", "new-seed"]


class MasksAsked(Strict):
    """Places where a change is expected."""

    version: Literal[1] = 1
    masks: list[dict[str, Any]] = Field(max_length=1000)


class CompareAsked(Strict):
    """Two bundles: each the id of a run, or the identity of a bundle."""

    base: BundleName
    target: BundleName
    masks: MasksAsked | None = None


class ScheduleAsked(Strict):
    """A request to repeat, at the times of a cron line of five fields."""

    name: Name
    cron: Annotated[str, Field(min_length=9, max_length=200, pattern=_LINE)] = Field(
        examples=["30 3 * * 1-5"]
    )
    time_zone: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")] = Field(
        "UTC", examples=["Europe/Berlin"]
    )
    enabled: bool = True
    request: TestRunAsked


class Wire(BaseModel):
    """What we send; more fields may come with later versions."""


class SeedPairShown(Wire):
    """The pair that drives the run."""

    sim: int
    chaos: int


class BuildShown(Wire):
    """What was qualified; `stated` builds are a client's word."""

    commit: str | None
    dirty: str | None
    version: str | None = None
    stated: bool = False


class StageShown(Wire):
    """How a stage of the newest attempt went, or how far it is."""

    name: str
    state: str
    verdict: Verdict | None
    attempts: int
    metrics: dict[str, float]
    findings: list[dict[str, Any]]
    artifacts: list[str]
    notes: list[str]
    reason: str


class WaivedShown(Wire):
    """The waiver that made a failing gate a warning."""

    owner: str
    reason: str
    expires: str
    ticket: str | None = None


class GateShown(Wire):
    """What one gate said; `margin` is how far the value is from the threshold, positive: it holds.

    What stands with a default is missing in runs of releases before it.
    """

    name: str = ""
    kind: str = "absolute"
    stage: str
    metric: str
    op: str
    threshold: float | None
    unit: str = ""
    severity: str
    weight: float = 1
    key: bool = False
    verdict: Verdict
    value: float | None
    margin: float | None = None
    source: str = ""
    reason: str
    waiver: WaivedShown | None = None
    baseline_runs: list[str] = Field(default_factory=list)
    statistics: dict[str, Any] | None = None


class PolicyRefShown(Wire):
    """The policy that a run was judged by; `digest` is the sha256 of its canonical JSON."""

    name: str
    version: int
    digest: str


class ScoreShown(Wire):
    """The weights that were achieved, in percent; from `pass` on the run passes."""

    value: float
    pass_at: float = Field(alias="pass")
    warn: float


class RunSummary(Wire):
    """A run in a list."""

    run_id: str
    state: RunState
    verdict: Verdict | None
    attempt: int
    suite: str
    profile: str
    seeds: SeedPairShown
    events_url: str
    reproduce: str
    exit_code: int | None
    bundle: str | None
    bundle_identity: str | None
    build: BuildShown
    engine_version: str
    workspace: str
    labels: dict[str, str]
    priority: int
    pinned: bool
    created_by: str
    created_at: str
    queued_at: str
    started_at: str | None
    finished_at: str | None
    reason: str


class RunShown(RunSummary):
    """A run: what was asked, and how its newest attempt goes."""

    stages: list[StageShown]
    gates: list[GateShown]
    policy: PolicyRefShown | None = None
    score: ScoreShown | None = None
    waivers_unused: list[str] = Field(default_factory=list)


class RunList(Wire):
    """Runs, newest first."""

    runs: list[RunSummary]
    next_cursor: str | None


class KernelPlanned(Wire):
    """A kernel that the sim stage would execute."""

    name: str
    run: str
    verify: str


class GatePlanned(Wire):
    """A rule that would be applied."""

    name: str
    kind: str
    condition: str
    stage: str
    metric: str
    op: str
    threshold: float | None
    severity: str
    weight: float
    key: bool


class StagePlanned(Wire):
    """A stage that would run."""

    name: str
    timeout_s: float
    attempts_max: int


class PlanShown(Wire):
    """What a request would do: nothing was created."""

    run_id: str
    existing: RunState | None = Field(description="The state of the run that answers it already.")
    workspace: str
    suite: str
    profile: str
    seeds: SeedPairShown
    build: BuildShown
    engine_version: str
    baseline: str | None = Field(description="The bundle that the request names to compare with.")
    stages: list[StagePlanned]
    kernels: list[KernelPlanned]
    sim_seed_count: int
    sim_seeds: list[int] = Field(description="The first 100 of them.")
    executions: int
    gates: list[GatePlanned]
    reproduce: str


class ArtifactShown(Wire):
    """A file that an attempt left."""

    path: str
    sha256: str
    size: int
    media_type: str
    url: str


class ArtifactList(Wire):
    """What an attempt left."""

    run_id: str
    attempt: int
    artifacts: list[ArtifactShown]


class SuiteEntry(Wire):
    """A suite of a workspace, or why it cannot be used."""

    name: str
    description: str = ""
    profile: str | None = None
    stages: list[str] = Field(default_factory=list)
    problem: str | None = None


class SuiteList(Wire):
    """The suites of a workspace."""

    workspace: str
    suites: list[SuiteEntry]


class ProfileEntry(Wire):
    """A profile of a workspace, or why it cannot be used."""

    name: str
    description: str = ""
    network: str | None = None
    problem: str | None = None


class ProfileList(Wire):
    """The profiles of a workspace."""

    workspace: str
    profiles: list[ProfileEntry]


class Definition(Wire):
    """A suite or a profile as it is written, with its defaults."""

    workspace: str
    name: str
    definition: dict[str, Any]


class FiringShown(Wire):
    """The last time that came."""

    due_at: str
    run_id: str | None
    problem: str
    missed: int


class ScheduleShown(Wire):
    """A schedule."""

    schedule_id: str
    workspace: str
    name: str
    cron: str
    time_zone: str
    request: dict[str, Any]
    enabled: bool
    version: int
    created_by: str
    created_at: str
    next_due_at: str | None
    last: FiringShown | None


class ScheduleList(Wire):
    """The schedules that the caller may see."""

    schedules: list[ScheduleShown]


class PolicyShown(Wire):
    """One version of a policy; `digest` is the sha256 of the definition's canonical JSON."""

    name: str
    version: int
    digest: str
    definition: dict[str, Any]
    created_by: str
    created_at: str


class PolicyList(Wire):
    """Policies, or the versions of one, each as it is."""

    policies: list[PolicyShown]


class WaiverAsked(WaiverEntry):
    """A waiver to keep; who sends it is recorded beside its owner."""

    workspace: WorkspaceName = "default"


class WaiverShown(Wire):
    """A waiver; `state` is what it is now."""

    waiver_id: str
    workspace: str
    suite: str
    gate: str
    owner: str
    reason: str
    expires: str
    up_to: float | None
    ticket: str
    created_by: str
    created_at: str
    state: Literal["active", "expired"]


class WaiverList(Wire):
    """The waivers that the caller may see, the newest first."""

    waivers: list[WaiverShown]


class WorkspaceShown(Wire):
    """A workspace."""

    name: str
    kind: str
    allow_commands: bool
    approvals_required: int


class WorkspaceKept(WorkspaceShown):
    """A workspace whose content was sent."""

    sha256: str


class WorkspaceList(Wire):
    """The workspaces that the caller may see."""

    workspaces: list[WorkspaceShown]


class RunnerShown(Wire):
    """A process that executes runs."""

    executor_id: str
    kind: str
    host: str
    pid: int
    cores: int
    version: str
    alive: bool
    silent_ms: int


class RunnerList(Wire):
    """The runners."""

    runners: list[RunnerShown]


class Health(Wire):
    """A process that answers."""

    status: Literal["ok"]
    version: str


class CheckShown(Wire):
    """One thing that must be so."""

    name: str
    ok: bool
    detail: str = ""


class Readiness(Wire):
    """Whether everything that serving needs is there."""

    ready: bool
    checks: list[CheckShown]


class ProblemEntry(Wire):
    """One thing that is wrong, and where: `pointer` (RFC 6901) into `document`."""

    document: str
    pointer: str
    detail: str
    fix: str | None = None


class ProblemShown(Wire):
    """RFC 9457. `type` never changes, whatever the text says."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemEntry] | None = None


class ComparisonShown(Wire):
    """What comparing found: as `testops snapshot compare --json` prints it."""

    verdict: Verdict
    reason: str
    exit_code: int
    delta_count: int
    deltas: list[dict[str, Any]]
    cause: str = Field(
        "unknown",
        description="regression, nondeterminism, or unknown: as a run found by executing it again.",
    )
