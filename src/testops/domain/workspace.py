"""A workspace: a project directory that runs execute, by its place or by its content."""

from dataclasses import dataclass
from enum import StrEnum


class WorkspaceKind(StrEnum):
    """Where its files are."""

    # A folder of this machine; runs see it as it is.
    PATH = "path"
    # An archive in the blob store; every runner can have it, and no run changes it.
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Workspace:
    """`place` is a folder, or the sha256 of an archive.

    Without `allow_commands`, suites of it may not choose what programs run.
    """

    name: str
    kind: WorkspaceKind
    place: str
    allow_commands: bool
    created_by: str
    created_at: str
    # How many different people must approve a baseline.
    approvals_required: int = 1
