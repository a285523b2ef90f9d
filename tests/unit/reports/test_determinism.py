"""The determinism report counts, rounds down, and does not depend on who finished first."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.reports import determinism_report, write_determinism
from testops.reports.determinism import percent_down


@dataclass(frozen=True)
class Execution:
    kernel: str
    sim_seed: int
    chaos_seed: int = 3
    identical: bool = True
    first_divergence: Mapping[str, Any] | None = None


MOVED = {"event": 4, "where": "a.py:12 in f", "first": "1", "second": "2", "moves": "hash_seed"}


def test_executions_are_counted_in_all_and_by_kernel(tmp_path: Path) -> None:
    executions = [Execution("b", seed) for seed in range(3)]
    executions += [Execution("a", 0), Execution("a", 1, identical=False, first_divergence=MOVED)]
    report = json.loads(write_determinism(executions, tmp_path).read_text())
    assert {name: report[name] for name in ("executions", "identical", "determinism_percent")} == {
        "executions": 5,
        "identical": 4,
        "determinism_percent": 80.0,
    }
    assert [kernel["kernel"] for kernel in report["kernels"]] == ["a", "b"]
    assert report["kernels"][0]["diverging"] == [
        {"sim_seed": 1, "chaos_seed": 3, "first_divergence": MOVED}
    ]
    assert report["kernels"][1]["diverging"] == []


def test_the_order_in_which_executions_finished_leaves_no_trace(tmp_path: Path) -> None:
    executions = [Execution(kernel, seed) for kernel in "abc" for seed in range(9)]
    first = write_determinism(executions, tmp_path / "first").read_bytes()
    random.Random(1).shuffle(executions)
    assert write_determinism(executions, tmp_path / "second").read_bytes() == first


def test_no_execution_is_no_percentage() -> None:
    report = determinism_report([])
    assert (report["executions"], report["determinism_percent"]) == (0, None)


def test_nearly_all_is_never_rounded_up_to_all() -> None:
    assert percent_down(9_999_999, 10_000_000) == 99.9999
    assert percent_down(3, 3) == 100.0
    assert percent_down(2, 3) == 66.6666
