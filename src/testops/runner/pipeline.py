"""One run from question to verdict. It reads like the diagram; each box is a neighbour's.

A stage is tried again only when its tool failed, never because of what it found: a finding that
goes away on a second try is still a finding.
"""

import logging
from dataclasses import dataclass

from testops.domain.errors import BadInput, InternalError, OutputNotWritable
from testops.domain.gate import GateResult, GateRule
from testops.domain.run import Run, RunState
from testops.domain.stage import (
    Ran,
    StageAttempt,
    StageName,
    StageOutcome,
    StageReport,
    StageState,
    ToolError,
)
from testops.domain.suite import Stage
from testops.domain.verdict import ExitCode, Verdict, combine_exit, exit_code_of, worst
from testops.runner.records import RunStore
from testops.runner.stages.context import StageContext
from testops.runner.stages.lint import run_lint
from testops.runner.stages.sim import run_sim
from testops.runner.stages.snapshot_compare import run_snapshot_compare
from testops.runner.stages.unit import run_unit
from testops.telemetry.events import (
    GateEvaluated,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)
from testops.warroom.gates import exit_code_of_gate, judge

log = logging.getLogger("testops.runner")


@dataclass(frozen=True, slots=True)
class Judged:
    """A stage with its gates."""

    report: StageReport
    gates: tuple[GateResult, ...]


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
            judged.append(_run_stage(name, context, rules))
            _tell(judged[-1], context)
        run = _finished(run, judged, context, strict=strict)
        store.save(run)
    except (KeyboardInterrupt, Exception) as error:
        _keep_the_end(_ended(run, judged, error, context), context, store)
        raise
    context.tell(RunFinished(run))
    return run


def _run_stage(name: StageName, context: StageContext, rules: list[GateRule]) -> Judged:
    stage = context.asked.get(name)
    if stage is None:
        in_suite = name in context.suite_file.suite.stages.named()
        state = StageState.NOT_ASKED if in_suite else StageState.NOT_IN_SUITE
        return Judged(StageReport(name, state), ())
    outcome, attempts = _try(name, stage, context)
    gates = tuple(judge(name, outcome, rules))
    return Judged(_report(name, outcome, attempts, gates), gates)


def _try(
    name: StageName, stage: Stage, context: StageContext
) -> tuple[StageOutcome, tuple[StageAttempt, ...]]:
    attempts: list[StageAttempt] = []
    while True:
        number = len(attempts) + 1
        context.tell(StageStarted(name, number))
        began = context.clock.elapsed_s()
        outcome = _run_once(name, context)
        wall_s = context.clock.elapsed_s() - began
        message = outcome.message if isinstance(outcome, ToolError) else ""
        attempts.append(StageAttempt(number, _kind(outcome), wall_s, message))
        may_go_away = isinstance(outcome, ToolError) and outcome.retryable
        if not may_go_away or number >= stage.attempts_max:
            return outcome, tuple(attempts)


def _run_once(name: StageName, context: StageContext) -> StageOutcome:
    stages = context.suite_file.suite.stages
    if name is StageName.LINT and stages.lint is not None:
        return run_lint(stages.lint, context)
    if name is StageName.UNIT and stages.unit is not None:
        return run_unit(stages.unit, context)
    if name is StageName.SIM and context.plan is not None:
        return run_sim(context.plan, context)
    if name is StageName.SNAPSHOT_COMPARE and stages.snapshot_compare is not None:
        return run_snapshot_compare(stages.snapshot_compare, context)
    raise InternalError(f"stage {name} is in the suite, and nothing runs it")


def _kind(outcome: StageOutcome) -> str:
    match outcome:
        case ToolError():
            return "tool_error"
        case Ran(findings=()):
            return "ran"
        case Ran():
            return "findings"


def _report(
    name: StageName,
    outcome: StageOutcome,
    attempts: tuple[StageAttempt, ...],
    gates: tuple[GateResult, ...],
) -> StageReport:
    verdict = worst(gate.verdict for gate in gates)
    reasons = (gate.missing or gate.reason for gate in gates if gate.verdict is not Verdict.PASS)
    reason = "; ".join(dict.fromkeys(reasons))
    if isinstance(outcome, ToolError):
        return StageReport(
            name,
            StageState.TOOL_ERROR,
            Verdict.INCONCLUSIVE,
            attempts,
            artifacts=outcome.artifacts,
            reason=outcome.message,
        )
    return StageReport(
        name,
        StageState.RAN,
        verdict,
        attempts,
        {metric.name: metric for metric in outcome.metrics},
        outcome.findings,
        outcome.artifacts,
        outcome.notes,
        reason,
    )


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
