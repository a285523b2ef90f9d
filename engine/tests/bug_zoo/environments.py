"""Finds an interpreter and makes a folder with the pinned versions of one side of a bug.

A folder, not a virtual environment: pure libraries need no interpreter of their own, and
`pip install --target` is several times cheaper. What cannot be had is a sentence for `not run`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from catalogue import Bug, Side

ROOT = Path(__file__).resolve().parents[3]
ENGINE = ROOT / "engine" / "src"
ASK = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


class NotRun(Exception):
    """Why one side of a bug cannot be executed on this machine."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one side of a bug is executed."""

    python: str
    version: str
    folder: Path | None
    """Its libraries; None: it needs none but Python's own."""

    def environment(self) -> dict[str, str]:
        """The variables with which a process finds Toron and the libraries."""
        folders = [ENGINE] if self.folder is None else [ENGINE, self.folder]
        kept = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
        return {**kept, "PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONNOUSERSITE": "1"}


def place_for(bug: Bug, side: Side, name: str, *, root: Path = ROOT) -> Place:
    """The place for one side, made on first use; NotRun when there is none."""
    python, version = interpreter(side.pythons)
    if not side.pins:
        return Place(python, version, None)
    minor = version.rpartition(".")[0]
    folder = root / f".venv-zoo-{bug.id}-{name}-{minor}"
    command = [ROOT / "tools" / "make_zoo_environment.sh", folder, python, *side.pins]
    done = subprocess.run([*map(str, command)], cwd=ROOT, check=False, capture_output=True)
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise NotRun(f"{' '.join(side.pins)} could not be installed: {told[-1]}")
    return Place(python, version, folder / "site-packages")


def interpreter(wanted: tuple[str, ...]) -> tuple[str, str]:
    """A base interpreter of one of the versions, with its full version, in order of preference."""
    present = [(told, python) for python in _candidates() if (told := _version(python))]
    for version in wanted:
        for told, python in present:
            if told == version or told.startswith(version + "."):
                return python, told
    raise NotRun(f"no CPython {' or '.join(wanted)} on this machine")


def _candidates() -> list[str]:
    """The interpreter of this process first: never that of a virtual environment."""
    mine = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    found = [str(mine)] if mine.is_file() else []
    versions = Path.home() / ".pyenv" / "versions"
    found += sorted(str(path) for path in versions.glob("3.1[1-3].*/bin/python3"))
    named = [shutil.which(f"python3.{number}") for number in (11, 12, 13)]
    return [*found, *filter(None, named)]


_versions: dict[str, str] = {}


def _version(python: str) -> str:
    """Its version, or nothing for one that does not start (a shim without a version behind it)."""
    if python not in _versions:
        done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, check=False)
        _versions[python] = done.stdout.strip()
    return _versions[python]
