"""One run from question to verdict. It reads like the diagram; each box is a neighbour's."""

import logging
from dataclasses import dataclass

from testops.domain.errors import BadInput, OutputNotWritable
from testops.domain.gate import GateResult
from testops.domain.run import Run, RunState
from testops.domain.stage import StageName, StageReport, StageState
from testops.domain.verdict import ExitCode, Verdict
from testops.runner.measured import measured_stage
from testops.runner.records import RunStore
from testops.runner.stages.context import StageContext
from testops.telemetry.events import GateEvaluated, RunFinished, RunStarted, StageFinished
from testops.warroom.judge import Judge

log = logging.getLogger("testops.runner")


@dataclass(frozen=True, slots=True)
class Judged:
    """A stage with its gates."""

    report: StageReport
    gates: tuple[GateResult, ...] = ()


def run_pipeline(
    queued: Run, context: StageContext, store: RunStore, judge: Judge, *, strict: bool
) -> Run:
    """Run every stage of the suite, judge it, and keep the record; the run as it ended.

    Whatever ends it early (Ctrl-C, a full disk, a bug) is in the record before it goes on upwards.
    """
    run = store.begin(queued)
    context.tell(RunStarted(run, [(name, name in context.asked) for name in StageName]))
    judged: list[Judged] = []
    try:
        for name in StageName:
            judged.append(_judged(measured_stage(name, context), judge))
            _tell(judged[-1], context)
        run = _finished(run, judged, context, judge, strict=strict)
        store.save(run)
    except (KeyboardInterrupt, Exception) as error:
        _keep_the_end(_ended(run, judged, error, context), context, store)
        raise
    context.tell(RunFinished(run))
    return run


def _judged(report: StageReport, judge: Judge) -> Judged:
    if report.state in (StageState.NOT_ASKED, StageState.NOT_IN_SUITE):
        return Judged(report)
    return Judged(*judge.stage(report))


def _tell(judged: Judged, context: StageContext) -> None:
    for gate in judged.gates:
        context.tell(GateEvaluated(gate))
    context.tell(StageFinished(judged.report))


def _finished(
    run: Run, judged: list[Judged], context: StageContext, judge: Judge, *, strict: bool
) -> Run:
    reports = tuple(one.report for one in judged)
    absent = judge.absent(context.asked, context.suite_file.suite.stages.named())
    for gate in absent:
        context.tell(GateEvaluated(gate))
    gates = (*(gate for one in judged for gate in one.gates), *absent)
    verdicts = [report.verdict for report in reports if report.verdict is not None]
    judgement = judge.run(verdicts, gates, strict=strict)
    identity = context.simulated.identity
    return run.moved_to(
        RunState.FINISHED,
        verdict=judgement.verdict,
        exit_code=judgement.exit_code,
        stages=reports,
        gates=gates,
        bundle=context.project.shown(context.bundle) if identity is not None else None,
        bundle_identity=identity,
        finished_at=context.clock.now().isoformat(),
        score=judgement.score,
        waivers_unused=judge.waivers_unused(gates),
    )


def _ended(run: Run, judged: list[Judged], error: BaseException, context: StageContext) -> Run:
    """The run that `error` ended; it is never green, whatever its stages said so far."""
    cancelled = isinstance(error, KeyboardInterrupt)
    return run.moved_to(
        RunState.CANCELLED if cancelled else RunState.ERRORED,
        verdict=Verdict.INCONCLUSIVE,
        exit_code=_exit_code_of(error),
        stages=tuple(one.report for one in judged),
        gates=tuple(gate for one in judged for gate in one.gates),
        reason="interrupted" if cancelled else f"{type(error).__name__}: {error}",
        finished_at=context.clock.now().isoformat(),
    )


def _exit_code_of(error: BaseException) -> ExitCode:
    match error:
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case OutputNotWritable():
            return ExitCode.INCONCLUSIVE
        case BadInput():
            return ExitCode.BAD_INPUT
        case _:
            return ExitCode.INTERNAL


def _keep_the_end(run: Run, context: StageContext, store: RunStore) -> None:
    context.tell(RunFinished(run))
    try:
        store.save(run)
    except OutputNotWritable as error:
        # What ended the run matters more than that its record cannot say so: the record still
        # reads `running`, and the next run buries it.
        log.warning("the record of run %s could not be kept: %s", run.run_id, error)
