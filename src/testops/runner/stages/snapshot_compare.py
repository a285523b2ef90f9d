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
    approve, review = _decisions(context, context.simulated.identity)
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
        # What the comparison advises is to be typed where the bundle is.
        advice = "" if _is_on_server(context) else comparison.fix
        why = f"{comparison.reason}; {advice or f'to approve this run: {approve}'}"
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
    left_out = comparison.delta_count - len(findings)
    more = (f"{left_out} more deltas are in {artifacts[0]}",) if left_out > 0 else ()
    return Ran(metrics, findings, artifacts, more + _notes(comparison, approve, review))


def _is_on_server(context: StageContext) -> bool:
    return context.project.output is not None


def _decisions(context: StageContext, identity: str) -> tuple[str, str]:
    """How to approve the run, and how to decide field by field, where its people are."""
    if _is_on_server(context):
        shown = f"/v1/snapshots/{identity}"
        review = f"POST /v1/snapshots/reviews/ID/decisions (GET {shown} has the ID of its review)"
        return f"POST {shown}/approve", review
    testops, name = context.commands.testops, context.bundle.name
    return f"{testops} snapshot approve {name} --why REASON", f"{testops} snapshot review {name}"


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
