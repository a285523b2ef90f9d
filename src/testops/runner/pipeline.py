"""One run from question to verdict. It reads like the diagram; each box is a neighbour's."""

import logging

from testops.domain.errors import BadInput, OutputNotWritable
from testops.domain.run import Run, RunState
from testops.domain.stage import StageName
from testops.domain.verdict import ExitCode, Verdict, combine_exit, exit_code_of, worst
from testops.runner.judged import Judged, judged_stage
from testops.runner.records import RunStore
from testops.runner.stages.context import StageContext
from testops.telemetry.events import GateEvaluated, RunFinished, RunStarted, StageFinished
from testops.warroom.gates import exit_code_of_gate

log = logging.getLogger("testops.runner")


def run_pipeline(queued: Run, context: StageContext, store: RunStore, *, strict: bool) -> Run:
    """Run every stage of the suite, judge it, and keep the record; the run as it ended.

    Whatever ends it early (Ctrl-C, a full disk, a bug) is in the record before it goes on upwards.
    """
    run = store.begin(queued)
    rules = [gate.as_rule() for gate in context.suite_file.suite.gates]
    context.tell(RunStarted(run, [(name, name in context.asked) for name in StageName]))
    judged: list[Judged] = []
    try:
        for name in StageName:
            judged.append(judged_stage(name, context, rules))
            _tell(judged[-1], context)
        run = _finished(run, judged, context, strict=strict)
        store.save(run)
    except (KeyboardInterrupt, Exception) as error:
        _keep_the_end(_ended(run, judged, error, context), context, store)
        raise
    context.tell(RunFinished(run))
    return run


def _tell(judged: Judged, context: StageContext) -> None:
    for gate in judged.gates:
        context.tell(GateEvaluated(gate))
    context.tell(StageFinished(judged.report))


def _finished(run: Run, judged: list[Judged], context: StageContext, *, strict: bool) -> Run:
    reports = tuple(one.report for one in judged)
    gates = tuple(gate for one in judged for gate in one.gates)
    verdict = worst(report.verdict for report in reports if report.verdict is not None)
    codes = [exit_code_of_gate(gate, strict=strict) for gate in gates]
    identity = context.simulated.identity
    return run.moved_to(
        RunState.FINISHED,
        verdict=verdict,
        exit_code=combine_exit([exit_code_of(verdict, strict=strict), *codes]),
        stages=reports,
        gates=gates,
        bundle=context.project.shown(context.bundle) if identity is not None else None,
        bundle_identity=identity,
        finished_at=context.clock.now().isoformat(),
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
