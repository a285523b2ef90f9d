"""Reads and writes `waivers.yaml` of a project. What a waiver does is said by `warroom.waivers`."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import yaml

from testops.domain.errors import BadInput
from testops.domain.waiver import Refused, Waiver, WaiverEntry, WaiverFile, waiver_of
from testops.runner.documents import read_document
from testops.runner.files import write_atomically
from testops.runner.projects import Project
from testops.runner.suites import validate

NAME = "waivers.yaml"
_HEAD = "# Gates that may fail for a while: who answers for each, why, and until when.\n"


def waivers_path(project: Project) -> Path:
    """Where they are."""
    return project.root / NAME


def load_waivers(project: Project, now: datetime) -> Sequence[Waiver]:
    """The waivers of the project; `BadInput` names the one that nobody may grant."""
    path = waivers_path(project)
    if not path.exists():
        return ()
    document = read_document(path, shown=NAME)
    found = []
    for number, entry in enumerate(validate(WaiverFile, document).waivers):
        try:
            found.append(waiver_of(entry, now))
        except Refused as error:
            pointer = f"/waivers/{number}/{error.field}"
            raise BadInput(
                str(error),
                where=f"{document.place(('waivers', number, error.field))}: {pointer}",
                fix="correct it, or remove the waiver",
                pointer=pointer,
            ) from error
    return found


def entries(project: Project) -> list[WaiverEntry]:
    """The waivers as they are written."""
    path = waivers_path(project)
    if not path.exists():
        return []
    return list(validate(WaiverFile, read_document(path, shown=NAME)).waivers)


def save(project: Project, kept: Sequence[WaiverEntry]) -> Path:
    """Write the file anew with `kept`; what comments it had is lost."""
    path = waivers_path(project)
    body = {"schema": 1, "waivers": [one.model_dump(exclude_none=True) for one in kept]}
    text = _HEAD + yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
    write_atomically(path, text.encode())
    return path
