"""Answers one stage job inside its own process: events as lines of JSON, the last line the result.

Which adapters it answers with is chosen in `testops.stage_main`; what holds it in bounds is outside
of it, in `stage_process`.
"""

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testops.domain.errors import InternalError, TestOpsError
from testops.domain.seeds import Seeds
from testops.domain.stage import StageName
from testops.domain.suite import Profile, Suite
from testops.runner.chunks import RecordedSimulator, Whose, write_chunk
from testops.runner.documents import Document
from testops.runner.kernel_names import functions_in
from testops.runner.measured import measured_stage
from testops.runner.ports import Simulator, Snapshots
from testops.runner.projects import Project
from testops.runner.stage_jobs import SeedChunk, StageJob
from testops.runner.stages.context import Commands, Simulated, StageContext
from testops.runner.stages.sim import execute
from testops.runner.suites import SimPlan, SuiteFile, resolve_sim
from testops.telemetry.clock import Clock
from testops.telemetry.events import Event, StageFound, StageLog, StageProgress, StageStarted

# A key is told at most so often; the last of each is always told.
PROGRESS_INTERVAL_S = 0.25
LOGS_MAX = 2000

Write = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class ChildTools:
    """The outside world of a stage."""

    simulator: Simulator
    snapshots: Snapshots
    clock: Clock
    python: str
    commands_in: Callable[[Project], Commands]
    environment: Mapping[str, str]


def answer_job(encoded: bytes, tools: ChildTools, write: Write) -> None:
    """Run the stage and write its events and its result; an error is a result too."""
    try:
        job = StageJob.from_json(json.loads(encoded))
        with _told(job, tools.clock, write) as listener:
            result = _answer(job, tools, listener)
    except TestOpsError as error:
        write({"type": "result", "error": type(error).__name__, "message": str(error)})
    except Exception as error:  # noqa: BLE001 - a bug of ours must still be named
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} (in {place.name}, {place.filename}:{place.lineno})"
        write({"type": "result", "error": "InternalError", "message": said})
    else:
        write({"type": "result", "error": "", **result})


def _answer(
    job: StageJob, tools: ChildTools, listener: Callable[[Event], None]
) -> Mapping[str, Any]:
    name = StageName(job.stage)
    context = _context(job, tools, listener)
    if job.chunk is not None:
        return _chunk(job, job.chunk, context)
    report = measured_stage(name, context)
    identity = context.simulated.identity
    left = name is StageName.SIM and identity is not None
    return {
        "report": report.to_full_json(),
        "artifacts": [str(path) for path in _artifacts(report.artifacts, context.project)],
        "bundle": str(context.bundle) if left else None,
        "bundle_identity": identity if left else None,
        "chunk": None,
    }


def _chunk(job: StageJob, chunk: SeedChunk, context: StageContext) -> Mapping[str, Any]:
    plan = context.plan
    assert plan is not None
    assert set(chunk.seeds) <= set(context.sim_seeds), "a chunk is a part of its run"
    kernels = tuple(k for k in plan.kernels if k.name in chunk.kernels or not chunk.kernels)
    part = replace(context, sim_seeds=tuple(chunk.seeds))
    executions, _ = execute(replace(plan, kernels=kernels), part)
    expected = len(kernels) * len(chunk.seeds)
    if len(executions) != expected:
        raise InternalError(f"{len(executions)} of {expected} executions came back")
    whose = Whose(job.run_id, context.simulator.engine_version, context.seeds.chaos)
    left = write_chunk(job.output / "chunks", whose, executions)
    return {
        "report": {},
        "artifacts": [],
        "bundle": None,
        "bundle_identity": None,
        "chunk": [str(left.path), left.sha256, left.executions],
    }


def _artifacts(shown: tuple[str, ...], project: Project) -> Iterator[Path]:
    for name in dict.fromkeys(shown):
        path = (project.output or project.root) / name
        if path.is_file():
            yield path


def _context(job: StageJob, tools: ChildTools, listener: Callable[[Event], None]) -> StageContext:
    project = Project(job.project_root, output=job.output)
    suite = Suite.model_validate(job.suite)
    path = _path_of(job, project)
    suite_file = SuiteFile(project, path, suite, Document(project.shown(path), job.suite, {}))
    named = suite.stages.named()
    simulator = tools.simulator
    if job.executions:
        simulator = RecordedSimulator(simulator, job.run_id, job.executions)
    return StageContext(
        project=project,
        suite_file=suite_file,
        profile=Profile.model_validate(job.profile),
        seeds=Seeds(job.sim_seed, job.chaos_seed),
        sim_seeds=tuple(job.sim_seeds),
        plan=_plan(job, suite_file, simulator),
        asked={name: stage for name, stage in named.items() if name in job.only},
        jobs=job.jobs,
        bundle=project.snapshots / f"run-{job.run_id}.tar.gz",
        environment=tools.environment,
        python=tools.python,
        clock=tools.clock,
        simulator=simulator,
        snapshots=tools.snapshots,
        commands=tools.commands_in(project),
        listener=listener,
        simulated=Simulated(identity=job.bundle_identity),
        golden=job.golden,
    )


def _path_of(job: StageJob, project: Project) -> Path:
    """A path under which `SuiteFile.shown` says what the caller was shown."""
    if "/" in job.suite_shown or "." in job.suite_shown:
        return project.root / job.suite_shown
    return project.suites / f"{job.suite_shown}.yaml"


def _plan(job: StageJob, suite_file: SuiteFile, simulator: Simulator) -> SimPlan | None:
    if job.stage == StageName.SIM:
        return resolve_sim(suite_file, simulator.kernels_in)
    if job.stage == StageName.SNAPSHOT_COMPARE:
        # None is imported here: what differs is executed again in processes of its own.
        return resolve_sim(suite_file, functions_in)
    return None


@contextmanager
def _told(job: StageJob, clock: Clock, write: Write) -> Iterator[Callable[[Event], None]]:
    listener = Told(job.stage, clock, write)
    try:
        yield listener
    finally:
        listener.flush()


class Told:
    """Writes events as they may be sent: progress a few times a second, logs up to a bound."""

    def __init__(self, stage: str, clock: Clock, write: Write) -> None:
        self._stage = stage
        self._clock = clock
        self._write = write
        self._sent_at: dict[str, float] = {}
        self._waiting: dict[str, dict[str, Any]] = {}
        self._bad: set[str] = set()
        self._logs = 0

    def __call__(self, event: Event) -> None:
        match event:
            case StageStarted():
                self.flush()
                self._bad.clear()
                self._write(
                    {"type": "stage.started", "stage": event.stage, "number": event.attempt}
                )
            case StageProgress():
                self._progress(event)
            case StageLog():
                self._log({"stage": event.stage, "text": event.text})
            case StageFound():
                self._log(
                    {
                        "stage": event.stage,
                        "text": f"{event.finding.where}: {event.finding.message}",
                        "finding": event.finding.to_json(),
                    }
                )
            case _:
                # The rest is told by whoever records the run, together with what it records.
                return

    def flush(self) -> None:
        """Tell what waits: the last of every key."""
        for key in list(self._waiting):
            self._send(key)
        if self._logs > LOGS_MAX:
            left_out = self._logs - LOGS_MAX
            self._logs = 0
            text = f"{left_out} more lines are left out"
            self._write({"type": "stage.log", "stage": self._stage, "text": text})

    def _progress(self, event: StageProgress) -> None:
        key = f"{event.stage}/{event.part}" if event.part else str(event.stage)
        if not event.part_ok:
            self._bad.add(key)
        self._waiting[key] = {
            "type": "stage.progress",
            "stage": event.stage,
            "key": key,
            "done": event.done,
            "total": event.total,
            "part": event.part,
            "part_done": event.part_done,
            "part_total": event.part_total,
            # Of all that the part did so far: a viewer may be told only every hundredth.
            "part_ok": key not in self._bad,
        }
        now = self._clock.elapsed_s()
        for waiting in list(self._waiting):
            if now - self._sent_at.get(waiting, -PROGRESS_INTERVAL_S) >= PROGRESS_INTERVAL_S:
                self._sent_at[waiting] = now
                self._send(waiting)

    def _send(self, key: str) -> None:
        self._write(self._waiting.pop(key))

    def _log(self, body: Mapping[str, Any]) -> None:
        self._logs += 1
        if self._logs <= LOGS_MAX:
            self._write({"type": "stage.log", **body})
