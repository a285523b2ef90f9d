"""Executes one attempt: its stages in order, each kept before the next begins.

It can be executed again from the beginning at any time, by any runner: what has a result is not
executed twice, and what was being executed when a runner died is. Everything that it writes is
under the fence with which it took the run.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from testops.domain.errors import BadInput, StoreUnavailable
from testops.domain.event import EventType, NewEvent
from testops.domain.execution import (
    AlreadyRecorded,
    Chunk,
    Ending,
    Executor,
    Fenced,
    StageRecord,
    Taken,
    cancelled,
    overdue,
)
from testops.domain.gate import GateResult
from testops.domain.policy import Policy
from testops.domain.run import RunState
from testops.domain.stage import StageName, StageReport, StageState
from testops.domain.suite import Stage, Suite
from testops.domain.verdict import ExitCode, Verdict
from testops.domain.waiver import moment_of
from testops.runner.budget import Budget, Need
from testops.runner.left_bundles import with_snapshots
from testops.runner.stage_jobs import (
    Limits,
    SeedChunk,
    StageCrashed,
    StageDone,
    StageJob,
    StageStopped,
)
from testops.runner.worker_ports import Place, WorkerPorts
from testops.warroom.judge import Judge, Subject
from testops.warroom.rules import Rules
from testops.warroom.verdicts import Judgement, judgement_json

log = logging.getLogger("testops.runner.execution")

# A stage whose runner died so often kills its runners; a stage that crashed so often will again.
EXECUTIONS_MAX = 6
CRASHES_MAX = 3
# Simulations of more seeds are divided among all runners, so many seeds a part.
SEEDS_WHOLE_MAX = 64
SEEDS_PER_CHUNK_MIN = 32
CHUNKS_MAX = 2000
CHUNKS_POLL_S = 0.5
# In how many of these polls the queue is asked whether it still holds what is not settled.
_LOST_EVERY = 10
_RETRY_FIRST_S, _RETRY_LAST_S = 0.1, 2.0
_REASON_MAX = 1000
_EVENTS_HELD_MAX = 5000
_TOLD_BY_STAGES = (EventType.STAGE_STARTED, EventType.STAGE_PROGRESS, EventType.STAGE_LOG)

Result = TypeVar("Result")


class Stopped(Exception):
    """The execution must end; `why` is cancelled, deadline, fenced or shutdown."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Poisoned(Exception):
    """A stage that its runners do not survive is not executed once more."""

    def __init__(self, deaths: int) -> None:
        super().__init__(f"{deaths} runners died")
        self.deaths = deaths


@dataclass(eq=False)
class Active:
    """An execution in this process; `why` is set from outside when it must stop."""

    run_id: str
    attempt: int
    fence: int | None
    why: str | None = None
    by: str = ""

    def look(self) -> str | None:
        return self.why

    def stopped(self) -> None:
        """Raise when it must stop."""
        if self.why is not None:
            raise Stopped(self.why)


@dataclass(eq=False)
class _Held:
    """What a stage told and what is not in the log yet."""

    events: list[NewEvent] = field(default_factory=list)
    lost: int = 0

    def add(self, event: NewEvent) -> None:
        self.events.append(event)
        if len(self.events) > _EVENTS_HELD_MAX:
            # The database is away for long: what is most in number and least in worth goes first.
            self.lost += 1
            del self.events[0]


class AttemptExecutor:
    """Executes attempts and chunks with the budget of one runner."""

    def __init__(
        self, executor: Executor, ports: WorkerPorts, budget: Budget, stop: threading.Event
    ) -> None:
        self._executor = executor
        self._ports = ports
        self._budget = budget
        self._stop = stop

    def take(self, run_id: str, number: int) -> Taken | None:
        """The attempt in our hands; None when it has ended."""
        me = self._executor.executor_id
        return self._insist(lambda: self._ports.executions.take(run_id, number, me))

    def execute(self, taken: Taken, active: Active) -> None:
        """Execute what is left of the attempt and end it."""
        try:
            self._require_qualified(taken)
            ending = self._stages(taken, active)
        except Stopped as stopped:
            match stopped.why:
                case "cancelled":
                    ending = cancelled(active.by)
                case "deadline":
                    ending = overdue(started=True)
                case _:
                    raise
        except BadInput as error:
            ending = Ending(RunState.ERRORED, Verdict.INCONCLUSIVE, ExitCode.BAD_INPUT, str(error))
        self._insist(lambda: self._ports.executions.finish(taken, ending))

    def _require_qualified(self, taken: Taken) -> None:
        if refusal := self._ports.refusal(taken.run):
            raise BadInput(f"this run is not executed here: {refusal}")

    def _stages(self, taken: Taken, active: Active) -> Ending:
        run = taken.run
        suite = Suite.model_validate(run.question["suite"])
        judge = self._insist(lambda: self._judge(taken, suite))
        place = self._insist(lambda: self._ports.places.prepare(taken))
        kept = [
            StageRecord(stage.name, stage.report, ())
            for stage in run.stages
            if stage.report is not None
        ]
        gates = list(run.gates)
        for view in run.stages:
            active.stopped()
            if view.report is not None:
                continue
            name = StageName(view.name)
            stage = suite.stages.named()[name]
            record = self._stage(taken, active, place, (name, stage), kept, judge)
            kept.append(record)
            gates += record.gates
        absent = judge.absent([StageName(stage.name) for stage in run.stages], suite.stages.named())
        return _ending(judge, kept, [*map(GateResult.from_json, gates), *absent], absent)

    def _judge(self, taken: Taken, suite: Suite) -> Judge:
        """Who judges the run: by what was asked with it, and by what is known now."""
        run, grounds = taken.run, self._ports.grounds
        policy = run.question.get("policy")
        known = None if policy is None else Policy.model_validate(policy["definition"])
        begun_at = None if run.started_at is None else moment_of(run.started_at)
        subject = Subject(run.run_id, suite.name, run.profile, run.engine_version, begun_at)
        return Judge(
            Rules.of(suite, known),
            subject,
            self._ports.clock,
            grounds.history(run.workspace),
            grounds.waivers(run.workspace),
        )

    def _stage(
        self,
        taken: Taken,
        active: Active,
        place: Place,
        named: tuple[StageName, Stage],
        kept: list[StageRecord],
        judge: Judge,
    ) -> StageRecord:
        name, _ = named
        record = self._answered(taken, active, place, named, kept, judge)
        try:
            self._insist(lambda: self._ports.executions.record(taken, record))
        except AlreadyRecorded:
            log.info("run %s: %s was recorded by an earlier try", taken.run.run_id, name)
        return record

    def _answered(
        self,
        taken: Taken,
        active: Active,
        place: Place,
        named: tuple[StageName, Stage],
        kept: list[StageRecord],
        judge: Judge,
    ) -> StageRecord:
        """What the stage answers, or that it could not be executed however often it was tried."""
        name, stage = named
        job = self._job(taken, place, named, kept)
        if name is StageName.SNAPSHOT_COMPARE and job.bundle_identity is not None:
            identity = job.bundle_identity
            golden = self._insist(lambda: self._ports.places.baselines(taken, place, identity))
            job = replace(job, golden=golden)
        crashes = 0
        while True:
            try:
                result = self._run(taken, active, place, job, stage)
            except Poisoned as poisoned:
                why = f"its runner died {poisoned.deaths} times while it was executed"
                return _infrastructure(name, why, poisoned.deaths, judge)
            match result:
                case StageDone() as done:
                    return self._kept(taken, place, job, done, judge)
                case StageStopped(why=why):
                    raise Stopped(why)
                case StageCrashed() as crash:
                    crashes += 1
                    if not crash.may_go_away or crashes >= CRASHES_MAX:
                        return _infrastructure(name, crash.message, crashes, judge)

    def _job(
        self,
        taken: Taken,
        place: Place,
        named: tuple[StageName, Stage],
        kept: list[StageRecord],
    ) -> StageJob:
        run, (name, stage) = taken.run, named
        identity = next(
            (record.report.get("bundle_identity") for record in kept if record.stage == "sim"),
            None,
        )
        return StageJob(
            run_id=run.run_id,
            attempt=run.attempt,
            stage=name.value,
            project_root=place.root,
            output=place.output,
            suite=run.question["suite"],
            suite_shown=run.suite_shown,
            profile=run.question["profile"],
            sim_seed=run.seeds.sim,
            chaos_seed=run.seeds.chaos,
            sim_seeds=tuple(run.question["sim_seeds"]),
            only=tuple(run.question["stages"]),
            bundle_identity=identity,
            jobs=self._need(stage).cores,
            limits=Limits.of(stage, machine_cores=self._executor.cores),
            network=run.question["profile"]["network"]["policy"],
        )

    def _need(self, stage: Stage) -> Need:
        cores = self._executor.cores
        return Need(stage.cores_of(cores), stage.memory_mb_of(cores), stage.exclusive)

    def _run(
        self, taken: Taken, active: Active, place: Place, job: StageJob, stage: Stage
    ) -> StageDone | StageStopped | StageCrashed:
        need, rank = self._need(stage), taken.run.priority
        if job.stage == StageName.SIM and len(job.sim_seeds) > SEEDS_WHOLE_MAX:
            # It waits for chunks without holding cores: they may be executed here.
            self._begin(taken, job)
            divided = self._divided(taken, active, place, job)
            if isinstance(divided, StageCrashed):
                return divided
            with self._budget.lent(need, rank=rank, stopped=active.stopped):
                return self._follow(taken, active, divided)
        with self._budget.lent(need, rank=rank, stopped=active.stopped):
            self._begin(taken, job)
            return self._follow(taken, active, job)

    def _begin(self, taken: Taken, job: StageJob) -> None:
        me = self._executor.executor_id
        begun = self._insist(lambda: self._ports.executions.begin_stage(taken, job.stage, me))
        if begun > EXECUTIONS_MAX:
            raise Poisoned(begun - 1)

    def _follow(
        self, taken: Taken, active: Active, job: StageJob
    ) -> StageDone | StageStopped | StageCrashed:
        """Run the stage's process, and put what it tells into the log while it goes."""
        held = _Held()

        def look() -> str | None:
            self._tell(taken, active, held)
            return active.look()

        result = self._ports.run_stage(
            job,
            on_event=lambda body: _hear(body, held),
            stop=look,
            clock=self._ports.clock,
        )
        while held.events and active.look() is None:
            self._insist(lambda: self._tell(taken, active, held, insist=True))
        return result

    def _tell(self, taken: Taken, active: Active, held: _Held, *, insist: bool = False) -> None:
        """Move what is held into the log; what cannot be told now is told later."""
        events = list(held.events)
        if not events:
            return
        if held.lost:
            said = {"stage": "", "text": f"{held.lost} events were lost while the store was away"}
            events.insert(0, NewEvent(EventType.STAGE_LOG, said))
        try:
            self._ports.executions.tell(taken, events)
        except StoreUnavailable:
            if insist:
                raise
            return
        except Fenced:
            active.why = "fenced"
            return
        held.events.clear()
        held.lost = 0

    def _kept(
        self, taken: Taken, place: Place, job: StageJob, done: StageDone, judge: Judge
    ) -> StageRecord:
        name = StageName(job.stage)
        measured = _measured(name, done.report)
        if measured is None:
            return _infrastructure(name, "what it reported is no report of its stage", 1, judge)
        judged, gates = self._insist(lambda: judge.stage(measured))
        report = judged.to_full_json()
        if done.bundle_identity is not None:
            report["bundle_identity"] = done.bundle_identity
            report["bundle"] = None if done.bundle is None else _shown(done.bundle, place)
        if done.refused_count:
            report["refused"] = {"count": done.refused_count, "first": list(done.refused)}
        left = self._insist(lambda: self._ports.places.keep(place, done.artifacts))
        cause = None if report["verdict"] in ("pass", "warn") else "test"
        if report["state"] == StageState.TOOL_ERROR:
            cause = "infrastructure"
        record = StageRecord(
            name.value, report, [gate.to_full_json() for gate in gates], left, cause
        )
        try:
            return with_snapshots(taken.run, job, done, record, self._ports.clock.now())
        except BadInput as error:
            # A stage that leaves what it does not say leaves nothing that anybody may judge by.
            return _infrastructure(name, f"what it left is not believed: {error}", 1, judge)

    # --- fan-out --------------------------------------------------------------------------------

    def _divided(
        self, taken: Taken, active: Active, place: Place, job: StageJob
    ) -> StageJob | StageCrashed:
        """The job that assembles what all runners executed, once they have."""
        run = taken.run
        ranges = chunk_ranges(len(job.sim_seeds))
        self._insist(lambda: self._ports.chunks.split(taken, ranges))
        told, looks, suspects = -1, 0, frozenset[int]()
        while True:
            active.stopped()
            chunks = self._insist(lambda: self._ports.chunks.all(run.run_id, run.attempt))
            problem = next((chunk.problem for chunk in chunks if chunk.problem), None)
            if problem is not None:
                return StageCrashed(problem, "error", "BadInput")
            seeds = sum(chunk.end - chunk.first for chunk in chunks if chunk.settled)
            if seeds != told:
                told = seeds
                self._progress(taken, active, seeds, len(job.sim_seeds))
            if all(chunk.settled for chunk in chunks):
                break
            looks += 1
            if looks % _LOST_EVERY == 0:
                suspects = self._execute_lost(taken, active, chunks, suspects)
            self._stop.wait(CHUNKS_POLL_S)
            if self._stop.is_set():
                raise Stopped("shutdown")
        return replace(job, executions=tuple(self._fetched(chunk, place) for chunk in chunks))

    def _execute_lost(
        self, taken: Taken, active: Active, chunks: Sequence[Chunk], suspects: frozenset[int]
    ) -> frozenset[int]:
        """Execute here what was not settled and the queue has done with: nobody else ever would.

        It must be so in two looks, or it may just have been settled. Returns the next suspects.
        """
        names = {
            f"{chunk.run_id}-{chunk.attempt}-{chunk.number}": chunk
            for chunk in chunks
            if not chunk.settled
        }
        gone = [names[name] for name in self._insist(lambda: self._ports.queue.ended(list(names)))]
        for chunk in gone:
            if chunk.number in suspects:
                log.error("chunk %d of run %s was lost by the queue", chunk.number, chunk.run_id)
                self.execute_chunk(taken, chunk, active)
        return frozenset(chunk.number for chunk in gone)

    def _fetched(self, chunk: Chunk, place: Place) -> Path:
        sha256 = chunk.sha256
        assert sha256 is not None
        return self._insist(lambda: self._ports.places.fetch_chunk(sha256, place))

    def _progress(self, taken: Taken, active: Active, done: int, total: int) -> None:
        facts = {"stage": "sim", "done": done, "total": total, "unit": "seeds"}
        held = _Held([NewEvent(EventType.STAGE_PROGRESS, facts, "sim/seeds")])
        self._tell(taken, active, held)

    def execute_chunk(self, taken: Taken, chunk: Chunk, active: Active) -> None:
        """Execute some seeds of a run that another may hold, and settle them."""
        if refusal := self._ports.refusal(taken.run):
            # As its run would be ended here: a part of another engine must not get into a bundle.
            self._settle(chunk, None, f"not executed: {refusal}")
            return
        suite = Suite.model_validate(taken.run.question["suite"])
        stage = suite.stages.named()[StageName.SIM]
        place = self._insist(lambda: self._ports.places.prepare(taken))
        job = self._job(taken, place, (StageName.SIM, stage), [])
        seeds = job.sim_seeds[chunk.first : chunk.end]
        job = replace(job, chunk=SeedChunk(chunk.number, seeds))
        messages: list[str] = []
        while len(messages) < CRASHES_MAX:
            with self._budget.lent(
                self._need(stage), rank=taken.run.priority, stopped=active.stopped
            ):
                result = self._ports.run_stage(
                    job, on_event=lambda _: None, stop=active.look, clock=self._ports.clock
                )
            match result:
                case StageStopped(why=why):
                    raise Stopped(why)
                case StageDone(chunk=left) if left is not None:
                    sha256 = self._insist(lambda: self._ports.places.keep_chunk(left.path))
                    self._settle(chunk, sha256, None)
                    return
                case StageCrashed():
                    messages.append(result.message)
                    if not result.may_go_away:
                        break
                case _:
                    messages.append("it left no chunk")
        self._settle(chunk, None, messages[-1])

    def settle_failed(self, chunk: Chunk, error: Exception) -> None:
        """Settle a chunk that cannot be executed here: its run would wait for it for ever."""
        self._settle(chunk, None, str(error) or type(error).__name__)

    def _settle(self, chunk: Chunk, sha256: str | None, problem: str | None) -> None:
        settled = Chunk(
            chunk.run_id,
            chunk.attempt,
            chunk.number,
            chunk.first,
            chunk.end,
            sha256=sha256,
            problem=problem,
        )
        me = self._executor.executor_id
        self._insist(lambda: self._ports.chunks.settle(settled, me))

    def _insist(self, write: Callable[[], Result]) -> Result:
        """`write`, again and again while the store is away; each write may be repeated."""
        wait_s = _RETRY_FIRST_S
        while True:
            try:
                return write()
            except StoreUnavailable as error:
                log.warning("waiting for the store: %s", error)
                if self._stop.wait(wait_s):
                    raise Stopped("shutdown") from error
                wait_s = min(2 * wait_s, _RETRY_LAST_S)


def chunk_ranges(count: int) -> list[tuple[int, int]]:
    """How `count` seeds are divided: parts of equal size, by position, half-open."""
    size = max(SEEDS_PER_CHUNK_MIN, -(-count // CHUNKS_MAX))
    return [(first, min(first + size, count)) for first in range(0, count, size)]


def _hear(body: Mapping[str, Any], held: _Held) -> None:
    if body["type"] not in _TOLD_BY_STAGES:
        # It comes from the process of the stage, which says nothing about the run or its gates.
        log.warning("a stage told %.100r, which is not its to tell", body["type"])
        return
    # That an execution of the stage began is in the log already; a further try of it is not.
    if body["type"] != EventType.STAGE_STARTED or body["number"] > 1:
        held.add(event_of(body))


def _shown(path: Path, place: Place) -> str:
    return path.relative_to(place.output).as_posix() if path.is_relative_to(place.output) else ""


def event_of(body: Mapping[str, Any]) -> NewEvent:
    """What a stage told, as it goes into the log."""
    facts = {name: value for name, value in body.items() if name not in ("type", "key")}
    return NewEvent(EventType(body["type"]), facts, str(body.get("key", "")))


def _measured(name: StageName, body: Mapping[str, Any]) -> StageReport | None:
    """The report that the process of a stage spelled; None when it is none of that stage."""
    try:
        report = StageReport.from_json(body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("the report of %s cannot be read: %r", name, error)
        return None
    return report if report.name is name else None


def _ending(
    judge: Judge,
    kept: list[StageRecord],
    gates: Sequence[GateResult],
    absent: Sequence[GateResult],
) -> Ending:
    verdicts = [record.report["verdict"] for record in kept]
    judgement = judge.run([Verdict(one) for one in verdicts if one is not None], gates)
    sim = next((record.report for record in kept if record.stage == StageName.SIM), {})
    return Ending(
        RunState.FINISHED,
        judgement.verdict,
        judgement.exit_code,
        reason=_why(kept, absent, judgement) if judgement.verdict.blocks else "",
        bundle=sim.get("bundle"),
        bundle_identity=sim.get("bundle_identity"),
        judgement=judgement_json(judgement.score, absent, judge.waivers_unused(gates)),
    )


def _why(kept: list[StageRecord], absent: Sequence[GateResult], judgement: Judgement) -> str:
    """What blocks, stage by stage, for whoever sees only the run."""
    blocks = {verdict.value for verdict in Verdict if verdict.blocks}
    blocking = [record for record in kept if record.report["verdict"] in blocks]
    said = [f"{record.stage}: {record.report['reason'] or 'see its gates'}" for record in blocking]
    said += [gate.reason for gate in absent]
    if judgement.score is not None:
        said.append(f"the score is {judgement.score.value:.1f} of {judgement.score.pass_at:g}")
    return "; ".join(said)[:_REASON_MAX]


def _infrastructure(name: StageName, why: str, executions: int, judge: Judge) -> StageRecord:
    """The result of a stage that could not be executed: never a verdict on the program."""
    report: dict[str, Any] = {
        "name": name.value,
        "state": StageState.TOOL_ERROR.value,
        "verdict": Verdict.INCONCLUSIVE.value,
        "attempts": executions,
        "attempt_log": [],
        "metrics": {},
        "findings": [],
        "artifacts": [],
        "notes": [],
        "reason": why,
    }
    _, gates = judge.stage(StageReport(name, StageState.TOOL_ERROR, reason=why))
    said = [gate.to_full_json() for gate in gates]
    return StageRecord(name.value, report, said, (), "infrastructure")
