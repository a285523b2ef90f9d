"""What `testops workspaces` says and does; keeping them belongs to `storage.workspaces`."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from testops import wiring
from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode
from testops.storage.workspaces import WorkspaceStore
from testops.wiring import roles

Echo = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be added."""

    folder: Path
    name: str | None
    archive: bool
    allow_commands: bool


def add(wanted: Wanted, data: Path | None, *, echo: Echo) -> ExitCode:
    """Add a workspace, or replace the one of that name."""
    name = wanted.name or _name_of(wanted.folder)
    with _opened(data) as store:
        added = (store.add_archive if wanted.archive else store.add_path)(
            name, wanted.folder, allow_commands=wanted.allow_commands, by=wiring.person()
        )
    echo(f"workspace {added.name}: {added.kind} {added.place}")
    if not added.allow_commands:
        echo("its suites may not run commands (lint, unit); to allow them:")
        echo(f"  testops workspaces allow-commands {added.name}")
    return ExitCode.HOLDS


def show(data: Path | None, *, echo: Echo) -> ExitCode:
    """One line for each workspace."""
    with _opened(data) as store:
        every = store.all()
    for one in every:
        commands = "commands" if one.allow_commands else "no commands"
        people = f"{one.approvals_required} approvals" if one.approvals_required > 1 else ""
        line = f"{one.name}\t{one.kind}\t{commands}\t{one.place}"
        echo((f"{line}\t{people}" if people else line).expandtabs(16))
    if not every:
        echo("there is none; add one: testops workspaces add FOLDER")
    return ExitCode.HOLDS


def remove(name: str, data: Path | None, *, echo: Echo) -> ExitCode:
    """Forget a workspace."""
    with _opened(data) as store:
        if not store.remove(name):
            raise _unknown(name, store)
    echo(f"workspace {name} is forgotten; its runs stay")
    return ExitCode.HOLDS


def allow(name: str, data: Path | None, *, allowed: bool, echo: Echo) -> ExitCode:
    """Allow a workspace's suites to run commands, or no longer."""
    with _opened(data) as store:
        if not store.allow_commands(name, allowed=allowed):
            raise _unknown(name, store)
    echo(f"suites of workspace {name} may {'' if allowed else 'not '}run commands")
    return ExitCode.HOLDS


def approvals(name: str, count: int, data: Path | None, *, echo: Echo) -> ExitCode:
    """Say how many different people must approve a baseline of the workspace."""
    with _opened(data) as store:
        if not store.require_approvals(name, count):
            raise _unknown(name, store)
    people = "1 person" if count == 1 else f"{count} different people"
    echo(f"a baseline of workspace {name} needs the approval of {people}")
    return ExitCode.HOLDS


@contextlib.contextmanager
def _opened(data: Path | None) -> Iterator[WorkspaceStore]:
    settings = roles.settings_for(Path.cwd(), os.environ, data=data)
    with roles.open_store(settings, may_migrate=False) as store:
        yield store.workspaces


def _unknown(name: str, store: WorkspaceStore) -> BadInput:
    known = ", ".join(one.name for one in store.all()) or "none"
    return BadInput(f"there is no workspace {name!r}", fix=f"name one of: {known}")


def _name_of(folder: Path) -> str:
    """The folder's own name, as far as a workspace may be called that."""
    plain = re.sub(r"[^a-z0-9_.-]+", "-", folder.resolve().name.lower()).strip("-._")
    if not plain:
        raise BadInput(
            "the folder has no name that a workspace can have",
            where=str(folder),
            fix="choose one with --name",
        )
    return plain[:64]
