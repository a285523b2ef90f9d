"""The sim stage: every kernel under every seed, each execution verified in a second process.

It leaves the bundle and `reports/determinism.json`. What Toron does with a kernel belongs to Toron,
what a bundle looks like to `snapshots`.
"""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from testops.domain.stage import (
    SAMPLES_MAX,
    Finding,
    Metric,
    Ran,
    StageName,
    StageOutcome,
    ToolError,
)
from testops.domain.verdict import Verdict
from testops.runner.ports import Execution
from testops.runner.stages.context import StageContext
from testops.runner.stages.sim_cases import kernel_cases
from testops.runner.suites import ResolvedKernel, SimPlan
from testops.telemetry.events import StageFound, StageProgress

FINDINGS_SHOWN_MAX = 50


def run_sim(plan: SimPlan, context: StageContext) -> StageOutcome:
    """All executions of the plan, and what they leave on the disk."""
    executions, findings = execute(plan, context)
    expected = len(plan.kernels) * len(context.sim_seeds)
    if len(executions) != expected:
        return ToolError(f"{len(executions)} of {expected} executions came back")
    identity = context.snapshots.leave(
        executions,
        target=context.bundle,
        unpacked=context.project.snapshots / "dev",
        suite=plan.suite,
        profile=context.profile.name,
        seeds=context.seeds,
        sources={kernel.name: f"{kernel.shown}::{kernel.function}" for kernel in plan.kernels},
        masks=plan.masks,
    )
    context.simulated.identity = identity
    context.simulated.kernels = kernel_cases(plan.kernels, executions, findings)
    report = context.snapshots.report_determinism(executions, context.project.reports)
    source = context.project.shown(report)
    artifacts = (source, context.project.shown(context.bundle))
    shown = tuple(findings[:FINDINGS_SHOWN_MAX])
    left_out = len(findings) - len(shown)
    notes = (f"{left_out} more findings are in {source}",) if left_out else ()
    return Ran(tuple(_metrics(plan, executions, source)), shown, artifacts, notes)


def execute(plan: SimPlan, context: StageContext) -> tuple[list[Execution], list[Finding]]:
    """Every execution of the plan, and what was found, both in an order of their own."""
    executions: list[Execution] = []
    findings: list[Finding] = []
    done: Counter[str] = Counter()
    by_name = {kernel.name: kernel for kernel in plan.kernels}
    total = len(plan.kernels) * len(context.sim_seeds)
    for execution in context.simulator.simulate(
        plan.kernels,
        sim_seeds=context.sim_seeds,
        chaos_seed=context.seeds.chaos,
        jobs=context.jobs,
        wall_limit_s=plan.stage.wall_limit_s,
    ):
        executions.append(execution)
        done[execution.kernel] += 1
        found = _findings(execution, by_name[execution.kernel], context)
        findings += found
        for finding in found:
            context.tell(StageFound(StageName.SIM, finding))
        context.tell(
            StageProgress(
                StageName.SIM,
                len(executions),
                total,
                part=execution.kernel,
                part_done=done[execution.kernel],
                part_total=len(context.sim_seeds),
                part_ok=not found,
            )
        )
    # They arrive as they finish; what is kept must not depend on which was faster.
    order = {kernel.name: index for index, kernel in enumerate(plan.kernels)}
    executions.sort(key=lambda e: (order[e.kernel], e.sim_seed, e.chaos_seed))
    findings.sort(key=lambda finding: (finding.rule, finding.where, finding.message))
    return executions, findings


def _metrics(plan: SimPlan, executions: Sequence[Execution], source: str) -> list[Metric]:
    identical = sum(execution.identical for execution in executions)
    verdicts = {kernel.name: set[str]() for kernel in plan.kernels}
    for execution in executions:
        verdicts[execution.kernel].add(str(execution.outcome["verdict"]))

    def kernels(verdict: Verdict) -> int:
        return sum(verdict.value in seen for seen in verdicts.values())

    return [
        Metric("kernels", len(plan.kernels), source),
        Metric("executions", len(executions), source),
        Metric("identical", identical, source),
        Metric("determinism_percent", 100 * identical / len(executions), source, "%"),
        Metric("kernels_failed", kernels(Verdict.FAIL), source),
        Metric("kernels_inconclusive", kernels(Verdict.INCONCLUSIVE), source),
        Metric("kernels_warned", kernels(Verdict.WARN), source),
        _wall_time(executions),
    ]


def _wall_time(executions: Sequence[Execution]) -> Metric:
    """How long an execution took on this machine; no bundle holds it, and no comparison sees it."""
    walls = tuple(execution.wall_s for execution in executions[:SAMPLES_MAX])
    return Metric("execution_wall_s", statistics.median(walls), "the simulator", "s", walls)


def _findings(execution: Execution, kernel: ResolvedKernel, context: StageContext) -> list[Finding]:
    found = []
    at = f"{kernel.name} at seed {execution.sim_seed}/{execution.chaos_seed}"
    place = f"{kernel.shown}::{kernel.function}"
    seeds = f"--seed {execution.sim_seed} --chaos-seed {execution.chaos_seed}"
    verdict = execution.outcome["verdict"]
    if verdict != Verdict.PASS.value:
        failure = execution.outcome.get("failure") or {}
        where = str(failure.get("where") or kernel.shown)
        message = f"{at}: {_what_failed(failure, str(verdict))}"
        again = f"{context.commands.toron} run {place} {seeds}"
        rule = str(failure.get("kind") or verdict)
        cause = f"{kernel.name} {rule} {failure.get('property')} {where}"
        instance = f"seed {execution.sim_seed}"
        found.append(Finding(where, message, rule, again, cause, instance))
    if not execution.identical:
        divergence = execution.first_divergence or {}
        where = str(divergence.get("where") or kernel.shown)
        message = f"{at}: two executions differ{_where_it_parted(divergence)}"
        first = execution.sim_seed
        again = (
            f"{context.commands.toron} verify {place} --seeds {first}:{first + 1}"
            f" --chaos-seed {execution.chaos_seed}"
        )
        cause = f"{kernel.name} nondeterminism {where}"
        instance = f"seed {execution.sim_seed}"
        found.append(Finding(where, message, "nondeterminism", again, cause, instance))
    return found


def _what_failed(failure: Mapping[str, Any], verdict: str) -> str:
    if not failure:
        return f"the verdict is {verdict}"
    named = f" {failure['property']!r}" if failure.get("property") else ""
    at_s = f" after {failure['virtual_ns'] / 1e9:.3f} virtual seconds"
    first_line = (str(failure.get("message", "")).splitlines() or [""])[0]
    return f"{failure['kind']}{named}{at_s}: {first_line}"


def _where_it_parted(divergence: Mapping[str, Any]) -> str:
    if not divergence:
        return ""
    return (
        f" from event {divergence.get('event')} on:"
        f" {divergence.get('first')} against {divergence.get('second')}"
    )
