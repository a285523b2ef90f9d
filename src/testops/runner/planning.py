"""Turns what somebody asked for into the question that a run answers, and into the run's id.

The command line, the API and dry runs plan here, so the same words mean the same run everywhere.
Planning reads files and starts nothing of a project's; executing belongs to the pipeline.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.policy import Policy, PolicyAsked
from testops.domain.run import DEFAULT_WORKSPACE, Build, Question, run_id_of
from testops.domain.seeds import Seeds, seeds_from
from testops.domain.stage import StageName
from testops.domain.suite import Profile, Stage
from testops.runner.permissions import command_faults
from testops.runner.policies import Named, PolicyCalled, policy_for
from testops.runner.projects import Project
from testops.runner.seeding import SeedChoice, SeedFlags, choose_seeds
from testops.runner.suites import (
    SimPlan,
    SuiteFile,
    load_profile,
    load_suite,
    profile_given,
    profile_named,
    resolve_sim,
    suite_given,
    suite_named,
)
from testops.snapshots.canonical import canonical, storable

Definition = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to know; None where they left it to the suite.

    `suite` and `profile` are names or definitions; on the command line (`files_allowed`) also
    files, found from `folder`. `build` is read from the project unless the asker names it.
    Without `commands_allowed`, a suite may run commands only where its file is the operator's
    (`own_files`).
    """

    suite: str | Definition | None
    folder: Path
    profile: str | Definition | None = None
    # Goes before the suite's own.
    policy: PolicyAsked | None = None
    seeds: SeedFlags = field(default_factory=SeedFlags)
    environment: Mapping[str, str] = field(default_factory=dict)
    only: frozenset[StageName] | None = None
    build: Build | None = None
    salt: str | None = None
    workspace: str = DEFAULT_WORKSPACE
    files_allowed: bool = False
    commands_allowed: bool = True
    own_files: bool = False
    # The identity of a bundle: snapshot-compare compares with it, whatever is approved.
    baseline: str | None = None


@dataclass(frozen=True, slots=True)
class Means:
    """What planning needs from outside; `kernels_in` names the kernels of a file."""

    kernels_in: Callable[[Path], Sequence[str]]
    engine_version: str
    draw_seed: Callable[[], int]
    build_of: Callable[[Path], Build]
    run_command: Callable[[Project], str]
    # The policies of the server; None where there is none.
    policy_called: PolicyCalled | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was asked for with every reference followed; all that is left open is the build."""

    asked: Asked
    suite_file: SuiteFile
    profile: Profile
    choice: SeedChoice
    stages: Mapping[StageName, Stage]
    sim: SimPlan | None
    # The profile came with the request, so no file of the project has it.
    profile_inline: bool
    named: Named | None = None

    @property
    def project(self) -> Project:
        return self.suite_file.project

    @property
    def policy(self) -> Policy | None:
        return None if self.named is None else self.named.policy

    @property
    def sim_seeds(self) -> tuple[int, ...]:
        if self.sim is None:
            return ()
        if self.choice.sim_range is not None:
            return tuple(self.choice.sim_range)
        return seeds_from(self.choice.seeds.sim, self.sim.stage.seed_count)


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that can be created: its id is the hash of `question`, which holds all it needs."""

    run_id: str
    workspace: str
    project_root: Path
    question: Mapping[str, Any]
    suite: str
    suite_shown: str
    profile: str
    seeds: Seeds
    sim_seeds: tuple[int, ...]
    stages: tuple[StageName, ...]
    build: Build
    engine_version: str
    reproduce: str
    # For whoever shows the plan; running needs only the question.
    found: Found


def plan(asked: Asked, means: Means) -> Planned:
    """The run that answers `asked`; `BadInput` says what is wrong with it, and where."""
    found = find(asked, means)
    build = asked.build or means.build_of(found.project.root)
    return settle(found, build, means)


def find(asked: Asked, means: Means) -> Found:
    """The first half of `plan`: everything but the build, which changes while others run."""
    suite_file = _suite_of(asked)
    profile = _profile_of(asked, suite_file)
    choice = choose_seeds(asked.seeds, asked.environment, suite_file.suite.seeds, means.draw_seed)
    stages = _stages_of(asked, suite_file)
    # A definition that says what the operator's own file says is that file.
    is_own = asked.own_files and suite_file.path is not None
    if not (asked.commands_allowed or is_own):
        _refuse_commands(suite_file, stages, asked.workspace)
    if asked.baseline is not None and StageName.SNAPSHOT_COMPARE not in stages:
        raise BadInput(
            "a baseline is named, and no stage compares with it",
            where="baseline",
            fix="ask for a suite with the stage snapshot-compare, or name no baseline",
            pointer="/baseline",
        )
    sim = resolve_sim(suite_file, means.kernels_in) if StageName.SIM in stages else None
    wanted = asked.policy or suite_file.suite.policy
    return Found(
        asked,
        suite_file,
        profile,
        choice,
        stages,
        sim,
        isinstance(asked.profile, Mapping),
        policy_for(wanted, suite_file.project, means.policy_called),
    )


def settle(found: Found, build: Build, means: Means) -> Planned:
    """The second half of `plan`: the question about this very `build`, and its id."""
    suite = found.suite_file.suite
    question = Question(
        suite=suite.model_dump(mode="json", by_alias=True),
        profile=found.profile.model_dump(mode="json", by_alias=True),
        seeds=found.choice.seeds,
        sim_seeds=found.sim_seeds,
        build=build,
        engine_version=means.engine_version,
        stages=tuple(name.value for name in found.stages),
        salt=found.asked.salt,
        workspace=found.asked.workspace,
        policy=None if found.named is None else found.named.to_json(),
        baseline=found.asked.baseline,
    ).to_json()
    run_id = run_id_of(canonical(storable(question)))
    return Planned(
        run_id=run_id,
        workspace=found.asked.workspace,
        project_root=found.project.root,
        question=question,
        suite=suite.name,
        suite_shown=found.suite_file.shown,
        profile=found.profile.name,
        seeds=found.choice.seeds,
        sim_seeds=found.sim_seeds,
        stages=tuple(found.stages),
        build=build,
        engine_version=means.engine_version,
        reproduce=_reproduce(found, run_id, means.run_command(found.project)),
        found=found,
    )


def _suite_of(asked: Asked) -> SuiteFile:
    if asked.files_allowed and not isinstance(asked.suite, Mapping):
        return load_suite(asked.suite, working_folder=asked.folder)
    # Not `project_around`: a workspace without suites/ must not become the folder that it is in.
    project = Project(asked.folder)
    if isinstance(asked.suite, Mapping):
        return suite_given(asked.suite, project)
    if asked.suite is None:
        raise BadInput("no suite is named", fix="name one, or give its definition", pointer="")
    return suite_named(asked.suite, project)


def _profile_of(asked: Asked, suite_file: SuiteFile) -> Profile:
    if isinstance(asked.profile, Mapping):
        return profile_given(asked.profile)
    name = asked.profile or suite_file.suite.profile
    if asked.files_allowed:
        return load_profile(name, suite_file.project)
    return profile_named(name, suite_file.project)


def _stages_of(asked: Asked, suite_file: SuiteFile) -> Mapping[StageName, Stage]:
    named = suite_file.suite.stages.named()
    if asked.only is None:
        return named
    chosen = {name: stage for name, stage in named.items() if name in asked.only}
    if not chosen:
        wanted = ", ".join(sorted(asked.only))
        raise BadInput(
            f"the suite has no stage {wanted}",
            where=suite_file.document.place(("stages",)),
            fix=f"name a suite that has one; this one has: {', '.join(named)}",
            pointer="/stages",
        )
    return chosen


def _refuse_commands(
    suite_file: SuiteFile, stages: Mapping[StageName, Stage], workspace: str
) -> None:
    """Refuse what starts programs, or lets a suite choose which one, or how it is started."""
    faults = command_faults(stages, workspace)
    if faults:
        raise BadInput(
            "this workspace does not allow suites that run commands",
            where=f"{suite_file.document.shown}: {faults[0].pointer}",
            fix=faults[0].fix,
            faults=faults,
        )


def _reproduce(found: Found, run_id: str, run_command: str) -> str:
    """The command that asks the very same again, from the project's folder."""
    seeds, sim_range = found.choice.seeds, found.choice.sim_range
    sim = f"--seed {seeds.sim}"
    if sim_range is not None:
        sim = f"--seeds {sim_range.start}:{sim_range.stop}"
    fetch, suite, profile = "", found.suite_file.shown, found.profile.name
    if found.suite_file.path is None:
        # No file has it: the server that was asked does.
        fetch, suite = _fetch(run_id, "suite"), f"run-{run_id}.suite.json"
    if found.profile_inline:
        fetch, profile = fetch + _fetch(run_id, "profile"), f"run-{run_id}.profile.json"
    return f"{fetch}{run_command} {suite} --profile {profile} {sim} --chaos-seed {seeds.chaos}"


def _fetch(run_id: str, kind: str) -> str:
    return (
        f'curl -sfH "Authorization: Bearer $TESTOPS_API_KEY" -o run-{run_id}.{kind}.json'
        f" $TESTOPS_URL/v1/test-runs/{run_id}/{kind} && "
    )
