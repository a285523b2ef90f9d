"""`reports/hardening.json` and `.html`: phases 4 to 9 on one page."""

import json
from collections.abc import Sequence
from pathlib import Path

from testops.domain.verdict import Verdict, worst
from testops.reports.files import write_reports
from testops.reports.hardening import Phase, hardening_json
from testops.reports.page import render

NAME, JSON_NAME = "hardening.html", "hardening.json"


def render_hardening(phases: Sequence[Phase]) -> str:
    """The page."""
    body = hardening_json(phases)
    measured = [phase for phase in phases if phase.checks]
    holds = [phase for phase in measured if phase.verdict and not phase.verdict.blocks]
    worst_of = worst(phase.verdict or Verdict.INCONCLUSIVE for phase in phases)
    context = {
        "hardening": body,
        "verdict": worst_of.value,
        "measured": len(measured),
        "holds": len(holds),
        "count": len(phases),
    }
    return render("hardening.html", context)


def write_hardening(phases: Sequence[Phase], folder: Path) -> list[Path]:
    """Write page and JSON into `folder`."""
    spelled = json.dumps(hardening_json(phases), ensure_ascii=False, indent=2) + "\n"
    return write_reports(folder, {JSON_NAME: spelled, NAME: render_hardening(phases)})
