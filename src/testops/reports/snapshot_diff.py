"""`reports/snapshot_diff.txt`, `.json` and `.html`: one comparison, for three readers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testops.reports.files import write_reports
from testops.reports.ports import ComparisonLike
from testops.reports.snapshot_html import render_html
from testops.reports.snapshot_text import render_text


def write_snapshot_diff(
    comparison: ComparisonLike | Mapping[str, Any], reports_dir: Path
) -> list[Path]:
    """Write the three reports and return their paths; OutputNotWritable names one that failed."""
    plain = comparison if isinstance(comparison, Mapping) else comparison.to_json()
    spelled = json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False)
    return write_reports(
        reports_dir,
        {
            "snapshot_diff.txt": render_text(plain),
            "snapshot_diff.json": spelled + "\n",
            "snapshot_diff.html": render_html(plain),
        },
    )
