"""Which bundle in a project's snapshots a run has left, by what a person calls the run."""

import re
from pathlib import Path

from testops.domain.errors import BadInput
from testops.domain.run import RUN_ID_LENGTH

_NAME = re.compile(rf"run-([0-9a-f]{{{RUN_ID_LENGTH}}})\.tar\.gz")


def run_id_in(path: Path) -> str | None:
    """The run that a bundle's file name is about, where it is about one."""
    named = _NAME.fullmatch(path.name)
    return named[1] if named else None


def run_bundle_called(source: str, snapshots: Path) -> Path | None:
    """The bundle of the run with the id `source`, or the beginning of one, or its file's name.

    None where no run here is called that; BadInput where several are.
    """
    prefix = source.removeprefix("run-").removesuffix(".tar.gz")
    # Else it could hold a pattern, or a path.
    found = sorted(snapshots.glob(f"run-{prefix}*.tar.gz")) if prefix.isalnum() else []
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise BadInput(f"{source!r} is several runs ({names})", fix="give more of the run id")
    return found[0] if found else None
