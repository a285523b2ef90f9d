"""The snapshot-compare stage: what this run recorded against what a person approved."""

from testops.domain.errors import BadInput
from testops.domain.stage import Finding, Metric, Ran, StageOutcome, ToolError
from testops.domain.suite import SnapshotCompareStage
from testops.domain.verdict import Verdict
from testops.runner.stages.context import StageContext

FINDINGS_SHOWN_MAX = 20


def run_snapshot_compare(stage: SnapshotCompareStage, context: StageContext) -> StageOutcome:
    """Compares; never approves. Without a baseline the metric is missing, which blocks."""
    if context.simulated.identity is None:
        return ToolError("the sim stage left no bundle to compare", retryable=False)
    golden = context.project.inside(stage.golden, where="/stages/snapshot-compare/golden")
    masks = None
    if stage.masks is not None:
        masks = context.project.inside(stage.masks, where="/stages/snapshot-compare/masks")
    approve = f"{context.commands.testops} snapshot approve {context.bundle.name} --why REASON"
    if not golden.is_dir():
        why = f"there is no approved baseline in {stage.golden}; to approve this run: {approve}"
        return Ran((), notes=(why,))
    try:
        comparison = context.snapshots.compare(golden, context.bundle, masks=masks)
    except BadInput as error:
        return ToolError(str(error), retryable=False)
    written = context.snapshots.report_comparison(comparison, context.project.reports)
    artifacts = tuple(context.project.shown(path) for path in written)
    if comparison.verdict is Verdict.INCONCLUSIVE:
        why = comparison.reason
        note = why if "approve" in why else f"{why}; to approve this run: {approve}"
        return Ran((), artifacts=artifacts, notes=(note,))
    source = artifacts[0]
    metrics = (Metric("deltas", len(comparison.deltas), source),)
    shown = [context.snapshots.describe(delta) for delta in comparison.deltas[:FINDINGS_SHOWN_MAX]]
    again = f"{context.commands.testops} run {context.suite_file.suite.name}"
    seeds = f"--seed {context.seeds.sim} --chaos-seed {context.seeds.chaos}"
    findings = tuple(
        Finding(where, message, "delta", reproduce or f"{again} {seeds}")
        for where, message, reproduce in shown
    )
    notes = (f"if this change is meant: {approve}",) if findings else ()
    return Ran(metrics, findings, artifacts, notes)
