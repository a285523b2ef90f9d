"""`reports/determinism.json`: how many executions a second process repeated exactly."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from testops.reports.files import write_reports
from testops.reports.ports import ExecutionLike

_DIVERGING_MAX = 100


def write_determinism(executions: Iterable[ExecutionLike], reports_dir: Path) -> Path:
    """Write the report of these executions; the order in which they finished leaves no trace."""
    report = determinism_report(executions)
    text = json.dumps(report, indent=2, sort_keys=True) + "\n"
    return write_reports(reports_dir, {"determinism.json": text})[0]


def determinism_report(executions: Iterable[ExecutionLike]) -> dict[str, Any]:
    """The report as a value. Without executions the percentage is null: no data is not 100 %."""
    ordered = sorted(executions, key=lambda item: (item.kernel, item.sim_seed, item.chaos_seed))
    by_kernel: dict[str, list[ExecutionLike]] = {}
    for execution in ordered:
        by_kernel.setdefault(execution.kernel, []).append(execution)
    return {
        **_counts(ordered),
        "kernels": [
            {"kernel": kernel, **_counts(group), "diverging": _diverging(group)}
            for kernel, group in by_kernel.items()
        ],
    }


def _counts(executions: Sequence[ExecutionLike]) -> dict[str, Any]:
    identical = sum(execution.identical for execution in executions)
    return {
        "executions": len(executions),
        "identical": identical,
        "determinism_percent": percent_down(identical, len(executions)),
    }


def percent_down(part: int, whole: int) -> float | None:
    """A percentage to four decimals, rounded down: 100 means all of them, never nearly all."""
    return (1_000_000 * part // whole) / 10_000 if whole else None


def _diverging(executions: Sequence[ExecutionLike]) -> list[dict[str, Any]]:
    return [
        {
            "sim_seed": execution.sim_seed,
            "chaos_seed": execution.chaos_seed,
            "first_divergence": execution.first_divergence,
        }
        for execution in executions
        if not execution.identical
    ][:_DIVERGING_MAX]
