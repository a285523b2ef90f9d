"""The snapshot-compare stage: what this run recorded against what a person approved."""

from testops.domain.errors import BadInput
from testops.domain.review import Cause
from testops.domain.stage import Finding, Metric, Ran, StageOutcome, ToolError
from testops.domain.suite import SnapshotCompareStage
from testops.domain.verdict import Verdict
from testops.runner.ports import Comparison, Delta, Reexecution
from testops.runner.stages.context import StageContext
from testops.runner.suites import SimPlan

FINDINGS_SHOWN_MAX = 20


def run_snapshot_compare(stage: SnapshotCompareStage, context: StageContext) -> StageOutcome:
    """Compares; never approves. Without a baseline the metric is missing, which blocks."""
    if context.simulated.identity is None or context.plan is None:
        return ToolError("the sim stage left no bundle to compare", retryable=False)
    golden = context.golden or context.project.inside(
        stage.golden, where="/stages/snapshot-compare/golden"
    )
    approve = f"{context.commands.testops} snapshot approve {context.bundle.name} --why REASON"
    review = f"{context.commands.testops} snapshot review {context.bundle.name}"
    if context.project.output is not None:
        # On a server: its people decide there, and this machine is not theirs.
        approve = f"POST /v1/snapshots/{context.simulated.identity}/approve"
    if not golden.is_dir():
        place = context.project.shown(golden)
        why = f"there is no approved baseline in {place}; to approve this run: {approve}"
        return Ran((), notes=(why,))
    try:
        comparison = context.snapshots.compare(
            golden,
            context.bundle,
            masks=context.plan.masks,
            reports=context.project.reports,
            again=_again_of(context, context.plan) if stage.reexecute else None,
        )
    except BadInput as error:
        return ToolError(str(error), retryable=False)
    artifacts = tuple(context.project.shown(path) for path in comparison.reports)
    if comparison.verdict is Verdict.INCONCLUSIVE:
        why = f"{comparison.reason}; {comparison.fix or f'to approve this run: {approve}'}"
        return Ran((), artifacts=artifacts, notes=(why,))
    findings = tuple(
        Finding(delta.where, delta.what, "delta", _again(delta, context))
        for delta in comparison.deltas[:FINDINGS_SHOWN_MAX]
    )
    metrics = (
        Metric("deltas", comparison.delta_count, artifacts[0]),
        Metric("executions_compared", comparison.executions_compared, artifacts[0]),
        # About the comparison itself: a mask that hits nothing, a baseline changed by hand.
        Metric("findings", len(comparison.findings), artifacts[0]),
        # Found by executing again; its gate has the exit code of nondeterminism.
        Metric("nondeterministic", comparison.nondeterministic, artifacts[0]),
    )
    return Ran(metrics, findings, artifacts, _notes(comparison, approve, review))


def _notes(comparison: Comparison, approve: str, review: str) -> tuple[str, ...]:
    if not comparison.delta_count:
        return comparison.findings
    cause = f"cause: {comparison.cause.value}: {comparison.why}"
    if comparison.cause is Cause.NONDETERMINISM:
        return cause, comparison.fix
    return cause, f"to decide field by field: {review}", f"if all of it is meant: {approve}"


def _again_of(context: StageContext, plan: SimPlan) -> Reexecution:
    return Reexecution(context.simulator, plan.kernels, context.clock, context.jobs)


def _again(delta: Delta, context: StageContext) -> str:
    """The delta's own command, with Toron called as it is called here; or the whole run's."""
    program, space, rest = delta.reproduce.partition(" ")
    return f"{context.commands.toron}{space}{rest}" if program == "toron" else context.again
