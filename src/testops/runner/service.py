"""Answers a request: finds what was asked, gives it its id, and hands it to the pipeline."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testops.domain.run import Run, RunState
from testops.domain.stage import StageName
from testops.domain.waiver import Waiver
from testops.runner.builds import build_of
from testops.runner.history import FileHistory
from testops.runner.pipeline import run_pipeline
from testops.runner.planning import Asked, Means, Planned, find, settle
from testops.runner.policies import definition_of
from testops.runner.ports import Simulator, Snapshots
from testops.runner.projects import Project
from testops.runner.records import RunStore
from testops.runner.run_reports import forget_reports, leave_reports
from testops.runner.seeding import SeedFlags
from testops.runner.stages.context import Commands, Simulated, StageContext
from testops.runner.waivers import load_waivers
from testops.telemetry.clock import Clock
from testops.telemetry.events import Listener, Tell, all_of, unharmed
from testops.warroom.judge import Judge, Subject
from testops.warroom.rules import Rules


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
    # Of policies/, and goes before the suite's own.
    policy: str | None = None


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
    # Whoever keeps the run beside its record on the disk, told what is planned; None: nobody.
    keeper: Callable[[Planned], Listener] | None = None
    # What a behaviour depends on beside the code, by name: its exact version.
    programs: Mapping[str, str] | None = None


def answer(request: Request, tools: Tools, *, listener: Listener, told: Tell) -> Run:
    """The run that answers `request`. Raises before anything is written when it cannot be one."""
    means = _means(request, tools)
    found = find(_asked(request), means)
    store = RunStore(found.project)
    waivers = load_waivers(found.project, tools.clock.now())
    with store.exclusive(pause=tools.pause, told=told):
        store.sweep()
        for killed in store.bury_the_killed(tools.clock.now()):
            told(f"run {killed} had ended without a verdict; it is now recorded as errored")
        # Only now: while we waited for another run, the project may have changed.
        planned = settle(found, means.build_of(found.project.root), means)
        heard = [unharmed(listener)]
        if tools.keeper is not None:
            heard.append(unharmed(tools.keeper(planned)))
        context = _context(request, tools, planned, all_of(heard))
        queued = _queued(planned, tools)
        judge = _judge(planned, tools.clock, waivers)
        # What programs under test see as their folder, and what messages call a file, must not
        # depend on where in the project the person stands.
        project = found.project
        with contextlib.chdir(project.root):
            forget_reports(project, told=told)
            run = run_pipeline(queued, context, store, judge, strict=request.strict)
            leave_reports(run, project, context.simulated.kernels, told=told)
            return run


def _asked(request: Request) -> Asked:
    return Asked(
        suite=request.suite,
        folder=request.working_folder,
        profile=request.profile,
        seeds=request.seeds,
        environment=request.environment,
        only=request.only,
        salt=request.salt,
        policy=request.policy,
        files_allowed=True,
    )


def _means(request: Request, tools: Tools) -> Means:
    return Means(
        kernels_in=tools.simulator.kernels_in,
        engine_version=tools.simulator.engine_version,
        draw_seed=tools.draw_seed,
        build_of=build_of,
        run_command=lambda project: tools.commands_in(project).run,
    )


def _context(request: Request, tools: Tools, planned: Planned, listener: Listener) -> StageContext:
    found = planned.found
    project = found.project
    return StageContext(
        project=project,
        suite_file=found.suite_file,
        profile=found.profile,
        seeds=planned.seeds,
        sim_seeds=planned.sim_seeds,
        plan=found.sim,
        asked=found.stages,
        jobs=request.jobs,
        bundle=project.snapshots / f"run-{planned.run_id}.tar.gz",
        environment=request.environment,
        python=tools.python,
        clock=tools.clock,
        simulator=tools.simulator,
        snapshots=tools.snapshots,
        commands=tools.commands_in(project),
        listener=listener,
        simulated=Simulated(),
    )


def _judge(planned: Planned, clock: Clock, waivers: Sequence[Waiver]) -> Judge:
    found = planned.found
    subject = Subject(
        planned.run_id, planned.suite, planned.profile, planned.engine_version, clock.now()
    )
    history = FileHistory(RunStore(found.project))
    rules = Rules.of(found.suite_file.suite, found.policy)
    return Judge(rules, subject, clock, history, waivers)


def _queued(planned: Planned, tools: Tools) -> Run:
    named = planned.found.named
    return Run(
        run_id=planned.run_id,
        attempt=0,
        state=RunState.QUEUED,
        suite=planned.suite,
        profile=planned.profile,
        seeds=planned.seeds,
        build=planned.build,
        engine_version=planned.engine_version,
        reproduce=planned.reproduce,
        started_at=tools.clock.now().isoformat(),
        environment=tools.programs,
        policy=None if named is None else named.ref,
        policy_definition=None if named is None else definition_of(named.policy),
    )
