"""`reports/performance.html`: what load tests measured, as each of them told it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testops.domain.history import History
from testops.domain.performance import Performance
from testops.domain.stage import StageName
from testops.reports.files import write_reports
from testops.reports.page import render
from testops.reports.page_text import one_line
from testops.reports.performance_model import load_test
from testops.reports.run_gates import GateRow, gate_rows
from testops.reports.trends import Band, trends_of

NAME = "performance.html"
JSON_NAME = "performance.json"
TESTS_MAX = 12


def render_performance(
    measured: Sequence[Performance],
    *,
    usual: Mapping[str, Band] | None = None,
    gates: Sequence[Mapping[str, Any]] = (),
    of: str = "",
) -> str:
    """The page of `measured`; `of` says whose they are. Gates are a run's, as JSON."""
    rows = gate_rows([gate for gate in gates if gate.get("stage") == StageName.LOAD.value], {})
    bands = usual or {}
    context: dict[str, Any] = {
        "tests": [load_test(one, bands, f"t{at}") for at, one in enumerate(measured[:TESTS_MAX])],
        "tests_hidden": len(measured) - TESTS_MAX,
        "gates": rows,
        "verdict": _verdict(rows, measured),
        "why": _why(rows, measured),
        "of": of,
    }
    return render("performance.html", context)


def _verdict(rows: Sequence[GateRow], measured: Sequence[Performance]) -> str:
    """Of the gates where there are some, else of the limits that the tools judged; or none."""
    for verdict in ("fail", "inconclusive", "warn"):
        if any(row.verdict == verdict and not row.waiver for row in rows):
            return verdict
    held = [limit.held for one in measured for limit in one.thresholds]
    if rows:
        return "pass"
    return "" if not held else "pass" if all(held) else "fail"


def _why(rows: Sequence[GateRow], measured: Sequence[Performance]) -> str:
    """What decided, of the gates or else of the limits of the tools."""
    if rows:
        reasons = [row.reason for row in rows if row.verdict != "pass" and not row.waiver]
        return _first_of(reasons[0], len(reasons)) if reasons else ""
    broken = [(one, limit) for one in measured for limit in one.thresholds if not limit.held]
    if not broken:
        return ""
    test, limit = broken[0]
    said = f"{one_line(test.name, 120)}: {one_line(limit.metric, 120)} {one_line(limit.rule, 120)}"
    return _first_of(f"{said} does not hold", len(broken))


def _first_of(first: str, count: int) -> str:
    return f"{one_line(first, 400)}{f', and {count - 1} more' if count > 1 else ''}."


def usual_performance(history: History, *, suite: str, profile: str | None) -> dict[str, Band]:
    """What load stages of passed runs usually measure, by the name of the metric."""
    trends = trends_of(history, suite=suite, profile=profile)
    return {
        one.metric: one.band
        for one in trends.series
        if one.stage is StageName.LOAD and one.band is not None
    }


def performance_json(measured: Sequence[Performance]) -> str:
    """`reports/performance.json`: the same for programs."""
    body = {"schema": 1, "tests": [one.to_json() for one in measured]}
    return json.dumps(body, ensure_ascii=False, indent=2) + "\n"


def measured_in(body: Mapping[str, Any]) -> list[Performance]:
    """What `performance_json` spelled; raises ValueError, KeyError or TypeError when it is none."""
    return [Performance.from_json(one) for one in body["tests"]]


def write_performance(folder: Path, page: str, measured: Sequence[Performance]) -> list[Path]:
    """Write page and JSON into `folder`."""
    return write_reports(folder, {NAME: page, JSON_NAME: performance_json(measured)})
