"""Finds the record of a run that a person names: an id, its beginning, or nothing for the newest.

Writing records belongs to `records`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.runner.projects import Project

RECORD_BYTES_MAX = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recorded:
    """One attempt as it stands on the disk."""

    run: Mapping[str, Any]
    path: Path


def find_recorded(project: Project, asked: str | None, attempt: int | None = None) -> Recorded:
    """The attempt (the newest if None) of the run `asked`; without one the run begun last."""
    folders = _folders(project, asked)
    found = [path for folder in folders for path in folder.glob("attempt-*.json")]
    if attempt is not None:
        found = [path for path in found if path.name == f"attempt-{attempt}.json"]
    # One at a time: a project may have many, and each may be large.
    records = (record for path in found if (record := _read(path)) is not None)
    newest = max(records, key=_newest, default=None)
    if newest is None:
        which = "" if attempt is None else f" attempt {attempt}"
        raise BadInput(
            f"there is no record of run {asked or ''}{which} (looked in {_runs(project)})",
            where="RUN",
            fix="run one first: testops run",
        )
    return newest


def _newest(record: Recorded) -> tuple[str, int, str]:
    # The text of a time of ours in UTC sorts as the time does.
    return (
        str(record.run.get("started_at") or ""),
        int(record.run.get("attempt") or 0),
        str(record.path),
    )


def _runs(project: Project) -> Path:
    return project.snapshots / "runs"


def _folders(project: Project, asked: str | None) -> list[Path]:
    return _known(_runs(project)) if asked is None else [run_folder(project, asked)]


def _known(runs: Path) -> list[Path]:
    return sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []


def run_folder(project: Project, asked: str, *, where: str = "RUN") -> Path:
    """Where the attempts of the run `asked` are recorded; its name is the id of the run."""
    runs = _runs(project)
    known = _known(runs)
    prefix = asked.removeprefix("run-").removesuffix(".tar.gz")
    found = [path for path in known if prefix and path.name.startswith(prefix)]
    if len(found) > 1 and runs / prefix not in found:
        names = ", ".join(path.name for path in found[:5])
        raise BadInput(
            f"{asked!r} is several runs ({names})", where=where, fix="give more of the id"
        )
    if not found:
        raise BadInput(
            f"there is no run {asked!r} (looked in {runs})",
            where=where,
            fix="give an id that `testops run` printed here, or its beginning",
        )
    return runs / prefix if runs / prefix in found else found[0]


def _read(path: Path) -> Recorded | None:
    try:
        if path.stat().st_size > RECORD_BYTES_MAX:
            return None
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    is_whole = isinstance(record, dict) and isinstance(record.get("run_id"), str)
    return Recorded(record, path) if is_whole else None
