"""What lies beside a run in a folder of reports, and belongs to that very attempt.

A report of an earlier run looks like one of this run, and believing it would be evidence of
something else: a file counts only where a stage of the run names it, and it was written while the
run went on; a comparison also names the bundle that it is about.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from testops.reports.page_text import moment_of
from testops.reports.run_model import Beside, Left

FILE_BYTES_MAX = 16 * 1024 * 1024
# File systems keep times coarsely (two seconds at the worst).
_COARSE = timedelta(seconds=2)
COMPARISON = "reports/snapshot_diff.json"
DETERMINISM = "reports/determinism.json"
HARDENING = "reports/hardening.json"
PERFORMANCE = "reports/performance.json"


def beside_run(
    run: Mapping[str, Any],
    root: Path,
    *,
    record: str,
    versions: Mapping[str, str] | None = None,
    link: bool = False,
) -> Beside:
    """What the run left under `root`; `link`: the page will lie in `root/reports`."""
    named = dict.fromkeys(
        str(path) for stage in run.get("stages") or () for path in stage.get("artifacts", ())
    )
    own = [path for path in named if _is_of(run, root / path)]
    return Beside(
        comparison=of_the_run(run, _json(root / COMPARISON) if COMPARISON in own else None),
        determinism=_json(root / DETERMINISM) if DETERMINISM in own else None,
        hardening=_json(root / HARDENING) if HARDENING in own else None,
        performance=_json(root / PERFORMANCE) if PERFORMANCE in own else None,
        versions=versions or {},
        artifacts=[_left(root, path, here=path in own, link=link) for path in named],
        record=record,
    )


def of_the_run(
    run: Mapping[str, Any], comparison: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """`comparison` where it is about the bundle of `run`, else None."""
    if comparison is None or not run.get("bundle_identity"):
        return None
    target = comparison.get("target") or {}
    is_own = isinstance(target, Mapping) and target.get("identity") == run["bundle_identity"]
    return comparison if is_own else None


def _is_of(run: Mapping[str, Any], path: Path) -> bool:
    """Whether the file was written while the run went on, and is still as it was then."""
    began = moment_of(run.get("started_at"))
    ended = moment_of(run.get("finished_at"))
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return False
    if began is None or written < began - _COARSE:
        return False
    return ended is None or written <= ended + _COARSE


def _json(path: Path) -> Mapping[str, Any] | None:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _left(root: Path, path: str, *, here: bool, link: bool) -> Left:
    if not here:
        return Left(path)
    in_reports = path.startswith("reports/")
    # A page must lead nowhere but beside itself, whatever a stage calls its file.
    safe = all(character.isalnum() or character in "._-/" for character in path)
    href = f"../{path}" if not in_reports else path.removeprefix("reports/")
    usable = link and safe and ".." not in path and not path.startswith("/")
    return Left(path, (root / path).stat().st_size, href=href if usable else "")
