"""`reports/run.html`: one run on one page that needs nothing else and says why first.

Its size is bounded whatever the run: lists are cut with a count of what is left out and where that
stands, texts with their length.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testops.reports.files import write_reports
from testops.reports.page import render
from testops.reports.run_model import Beside, run_report

NAME = "run.html"


def render_run(run: Mapping[str, Any], beside: Beside) -> str:
    """The page of `run`, which is its JSON."""
    return render("run.html", {"report": run_report(run, beside)})


def write_run(run: Mapping[str, Any], beside: Beside, folder: Path) -> Path:
    """Write the page into `folder`; `OutputNotWritable` when that cannot be."""
    return write_reports(folder, {NAME: render_run(run, beside)})[0]
