"""One stage from its first try to its report; judging the report belongs to `warroom.judge`.

A stage is tried again only when its tool failed, never because of what it found: a finding that
goes away on a second try is still a finding.
"""

from testops.domain.errors import InternalError
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
from testops.runner.stages.context import StageContext
from testops.runner.stages.lint import run_lint
from testops.runner.stages.sim import run_sim
from testops.runner.stages.snapshot_compare import run_snapshot_compare
from testops.runner.stages.unit import run_unit
from testops.telemetry.events import StageStarted


def measured_stage(name: StageName, context: StageContext) -> StageReport:
    """What the stage `name` measured, run as often as its tool failed; or why it was not asked."""
    stage = context.asked.get(name)
    if stage is None:
        in_suite = name in context.suite_file.suite.stages.named()
        return StageReport(name, StageState.NOT_ASKED if in_suite else StageState.NOT_IN_SUITE)
    outcome, attempts = _try(name, stage, context)
    return _report(name, outcome, attempts)


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
    name: StageName, outcome: StageOutcome, attempts: tuple[StageAttempt, ...]
) -> StageReport:
    if isinstance(outcome, ToolError):
        return StageReport(
            name,
            StageState.TOOL_ERROR,
            attempts=attempts,
            artifacts=outcome.artifacts,
            reason=outcome.message,
        )
    return StageReport(
        name,
        StageState.RAN,
        attempts=attempts,
        metrics={metric.name: metric for metric in outcome.metrics},
        findings=outcome.findings,
        artifacts=outcome.artifacts,
        notes=outcome.notes,
    )
