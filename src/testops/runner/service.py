"""Answers a request: finds what was asked, gives it its id, and hands it to the pipeline."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testops.domain.errors import BadInput
from testops.domain.run import Question, Run, RunState, run_id_of
from testops.domain.seeds import seeds_from
from testops.domain.stage import StageName
from testops.domain.suite import Profile, Stage
from testops.runner.builds import build_of
from testops.runner.pipeline import run_pipeline
from testops.runner.ports import Simulator, Snapshots
from testops.runner.projects import Project
from testops.runner.records import RunStore
from testops.runner.seeding import SeedChoice, SeedFlags, choose_seeds
from testops.runner.stages.context import Commands, Simulated, StageContext
from testops.runner.suites import SimPlan, SuiteFile, load_profile, load_suite, resolve_sim
from testops.snapshots.canonical import canonical, storable
from testops.telemetry.clock import Clock
from testops.telemetry.events import Listener, Tell, unharmed


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for; None where they left it to the suite."""

    suite: str | None
    working_folder: Path
    environment: Mapping[str, str]
    profile: str | None = None
    seeds: SeedFlags = field(default_factory=SeedFlags)
    jobs: int = 1
    strict: bool = False
    only: frozenset[StageName] | None = None
    salt: str | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """The outside world, chosen in `testops.wiring`."""

    simulator: Simulator
    snapshots: Snapshots
    clock: Clock
    draw_seed: Callable[[], int]
    pause: Callable[[float], None]
    python: str
    commands_in: Callable[[Project], Commands]


def answer(request: Request, tools: Tools, *, listener: Listener, told: Tell) -> Run:
    """The run that answers `request`. Raises before anything is written when it cannot be one."""
    suite_file = load_suite(request.suite, working_folder=request.working_folder)
    project = suite_file.project
    profile = load_profile(request.profile or suite_file.suite.profile, project)
    own = suite_file.suite.seeds
    choice = choose_seeds(request.seeds, request.environment, own, tools.draw_seed)
    asked = _asked(suite_file, request)
    plan = None
    if StageName.SIM in asked:
        plan = resolve_sim(suite_file, tools.simulator.kernels_in)
    store = RunStore(project)
    with store.exclusive(pause=tools.pause, told=told):
        store.sweep()
        for killed in store.bury_the_killed(tools.clock.now()):
            told(f"run {killed} had ended without a verdict; it is now recorded as errored")
        context, queued = _prepare(
            request, tools, suite_file, profile, choice, asked, plan, listener
        )
        # What programs under test see as their folder, and what messages call a file, must not
        # depend on where in the project the person stands.
        with contextlib.chdir(project.root):
            return run_pipeline(queued, context, store, strict=request.strict)


def _asked(suite_file: SuiteFile, request: Request) -> Mapping[StageName, Stage]:
    named = suite_file.suite.stages.named()
    if request.only is None:
        return named
    asked = {name: stage for name, stage in named.items() if name in request.only}
    if not asked:
        wanted = ", ".join(sorted(request.only))
        raise BadInput(
            f"the suite has no stage {wanted}",
            where=suite_file.document.place(("stages",)),
            fix=f"name a suite that has one; this one has: {', '.join(named)}",
        )
    return asked


def _prepare(
    request: Request,
    tools: Tools,
    suite_file: SuiteFile,
    profile: Profile,
    choice: SeedChoice,
    asked: Mapping[StageName, Stage],
    plan: SimPlan | None,
    listener: Listener,
) -> tuple[StageContext, Run]:
    project, suite = suite_file.project, suite_file.suite
    build = build_of(project.root)
    sim_seeds = _sim_seeds(choice, plan)
    question = Question(
        suite=suite.model_dump(mode="json", by_alias=True),
        profile=profile.model_dump(mode="json", by_alias=True),
        seeds=choice.seeds,
        sim_seeds=sim_seeds,
        build=build,
        engine_version=tools.simulator.engine_version,
        stages=tuple(name.value for name in asked),
        salt=request.salt,
    )
    run_id = run_id_of(canonical(storable(question.to_json())))
    context = StageContext(
        project=project,
        suite_file=suite_file,
        profile=profile,
        seeds=choice.seeds,
        sim_seeds=sim_seeds,
        plan=plan,
        asked=asked,
        jobs=request.jobs,
        bundle=project.snapshots / f"run-{run_id}.tar.gz",
        environment=request.environment,
        python=tools.python,
        clock=tools.clock,
        simulator=tools.simulator,
        snapshots=tools.snapshots,
        commands=tools.commands_in(project),
        listener=unharmed(listener),
        simulated=Simulated(),
    )
    queued = Run(
        run_id=run_id,
        attempt=0,
        state=RunState.QUEUED,
        suite=suite.name,
        profile=profile.name,
        seeds=choice.seeds,
        build=build,
        engine_version=tools.simulator.engine_version,
        reproduce=context.again,
        started_at=tools.clock.now().isoformat(),
    )
    return context, queued


def _sim_seeds(choice: SeedChoice, plan: SimPlan | None) -> tuple[int, ...]:
    if plan is None:
        return ()
    if choice.sim_range is not None:
        return tuple(choice.sim_range)
    return seeds_from(choice.seeds.sim, plan.stage.seed_count)
