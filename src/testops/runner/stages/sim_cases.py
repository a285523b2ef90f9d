"""The kernels of a simulation as tests: one case a kernel, whatever the number of its seeds."""

from collections.abc import Sequence

from testops.domain.stage import Finding
from testops.domain.test_case import Outcome, TestCase
from testops.domain.verdict import Verdict
from testops.runner.ports import Execution
from testops.runner.suites import ResolvedKernel

SUITE = "sim"
_TOLD_MAX = 20
# A verdict that is not there is no success.
_OUTCOMES = {
    Verdict.PASS.value: Outcome.PASSED,
    Verdict.WARN.value: Outcome.PASSED,
    Verdict.FAIL.value: Outcome.FAILED,
}


def kernel_cases(
    kernels: Sequence[ResolvedKernel],
    executions: Sequence[Execution],
    findings: Sequence[Finding],
) -> tuple[TestCase, ...]:
    """A case for each kernel, in the order of the suite."""
    by_kernel: dict[str, list[Execution]] = {kernel.name: [] for kernel in kernels}
    for execution in executions:
        by_kernel[execution.kernel].append(execution)
    return tuple(_case(kernel, by_kernel[kernel.name], _of(kernel, findings)) for kernel in kernels)


def _of(kernel: ResolvedKernel, findings: Sequence[Finding]) -> list[Finding]:
    return [one for one in findings if one.cause.partition(" ")[0] == kernel.name]


def _case(
    kernel: ResolvedKernel, executions: Sequence[Execution], findings: Sequence[Finding]
) -> TestCase:
    outcomes = [_outcome(execution) for execution in executions]
    order = (Outcome.FAILED, Outcome.ERROR, Outcome.PASSED)
    worst = next((one for one in order if one in outcomes), Outcome.ERROR)
    failed = sum(not outcome.holds for outcome in outcomes)
    left_out = len(findings) - _TOLD_MAX
    told = [finding.message for finding in findings[:_TOLD_MAX]]
    if left_out > 0:
        told.append(f"and {left_out} more")
    again = next((finding.reproduce for finding in findings if finding.reproduce), "")
    return TestCase(
        name=kernel.name,
        outcome=worst,
        suite=SUITE,
        group=kernel.function,
        file=kernel.shown,
        duration_s=sum(execution.wall_s for execution in executions),
        message="" if worst.holds or not told else told[0],
        detail="" if worst.holds else "\n".join(told),
        properties=(
            ("executions", str(len(executions))),
            ("executions_failed", str(failed)),
            *((("reproduce", again),) if again else ()),
        ),
    )


def _outcome(execution: Execution) -> Outcome:
    if not execution.identical:
        return Outcome.FAILED
    return _OUTCOMES.get(str(execution.outcome["verdict"]), Outcome.ERROR)
