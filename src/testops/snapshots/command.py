"""The use case behind `testops snapshot compare` and `tools/snapshot_compare.py`.

It compares, hands the result to a reporter, and answers with what to print and the exit code.
Parsing options and rendering reports belong to the boxes above and beside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testops.domain.review import Cause
from testops.domain.verdict import ExitCode, combine_exit, exit_code_of
from testops.snapshots.again import with_causes
from testops.snapshots.canonical import Json
from testops.snapshots.causes import Reexecutor
from testops.snapshots.compare import Comparison, compare_paths
from testops.snapshots.masks import masks_text
from testops.snapshots.memory import Memory
from testops.snapshots.origins import Here, with_origins

_DELTAS_PRINTED_MAX = 10

# Given the comparison as JSON, writes the reports and returns their paths.
Reporter = Callable[[Mapping[str, Json]], Sequence[Path]]


@dataclass(frozen=True, slots=True)
class CompareResult:
    """What a terminal and a machine are told."""

    comparison: Comparison
    exit_code: ExitCode
    reports: Sequence[Path]
    # The review that this comparison opened, where it opened one.
    review: Path | None = None

    def to_json(self) -> dict[str, Json]:
        """The one object of `--json`."""
        return {
            **self.comparison.to_json(),
            "exit_code": int(self.exit_code),
            "reports": [str(path) for path in self.reports],
            "review": None if self.review is None else str(self.review),
        }

    def text(self) -> str:
        """The lines for a person: verdict, the first deltas, what else to know, what to do."""
        comparison = self.comparison
        lines = [f"snapshot-compare: {comparison.verdict.upper()}: {comparison.reason}"]
        # The reason of a failure names the first delta already.
        lines += [f"  {delta.text()}" for delta in comparison.deltas[1:_DELTAS_PRINTED_MAX]]
        hidden = comparison.delta_count - min(len(comparison.deltas), _DELTAS_PRINTED_MAX)
        if hidden > 0:
            lines.append(f"  and {hidden} more in the report")
        if comparison.delta_count:
            lines.append(f"  cause: {comparison.cause}: {comparison.why}")
        if masks := masks_text(comparison.audit):
            lines.append(f"  {masks}")
        lines += [f"  note: {note}" for note in comparison.notes]
        lines += [f"  finding: {finding['message']}" for finding in comparison.findings]
        if comparison.fix:
            lines.append(f"  next: {comparison.fix}")
        lines += [f"  report: {path}" for path in self.reports]
        if self.review is not None:
            lines.append(f"  review: {self.review}; `testops snapshot review {self.review.stem}`")
        return "\n".join(lines)


def compare_command(
    base: Path,
    target: Path,
    *,
    masks: Path | None,
    strict: bool,
    report: Reporter,
    executor: Reexecutor | None = None,
    memory: Memory | None = None,
    here: Here | None = None,
) -> CompareResult:
    """Compare, find the cause where there is an `executor`, and report.

    BadInput and OutputNotWritable pass through for the caller to answer.
    """
    comparison = compare_paths(base, target, masks=masks, memory=memory)
    if executor is not None:
        comparison = with_causes(comparison, executor)
    if here is not None:
        comparison = with_origins(comparison, here)
    reports = report(comparison.to_json())
    code = exit_code_of(comparison.verdict, strict=strict)
    if comparison.cause is Cause.NONDETERMINISM:
        code = combine_exit((code, ExitCode.NONDETERMINISM))
    return CompareResult(comparison=comparison, exit_code=code, reports=reports)
