"""The workspaces: which there are, and where their files are on this machine.

An archive is unpacked once for each data folder. That copy is only read, by planning; an attempt
works in a copy of its own, which nothing shares and which goes when the attempt has ended.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from testops.domain.errors import BadInput
from testops.domain.run import Build
from testops.domain.workspace import Workspace, WorkspaceKind
from testops.runner.archives import copy_tree, pack, unpack
from testops.runner.builds import ARCHIVES_MARK
from testops.runner.files import make_folder
from testops.runner.sandbox import remove_tree
from testops.storage.blobs import BlobStore
from testops.storage.database import Database
from testops.storage.snapshot_tables import baseline, review
from testops.storage.tables import attempt, run, workspace
from testops.storage.waivers import withdraw_of_workspace


class Named(Protocol):
    """A workspace, as far as others know it."""

    @property
    def name(self) -> str: ...


_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
_OPEN_STATES = ("queued", "running")
APPROVALS_MAX = 20


class WorkspaceStore:
    """The workspaces of a database, and their files below the folder `data`."""

    def __init__(self, database: Database, blobs: BlobStore, data: Path) -> None:
        self._database = database
        self._blobs = blobs
        self._data = data

    def get(self, name: str) -> Workspace | None:
        wanted = sa.select(workspace).where(workspace.c.name == name)
        with self._database.read() as connection:
            row = connection.execute(wanted).first()
        return None if row is None else _workspace(row)

    def all(self) -> Sequence[Workspace]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(workspace).order_by(workspace.c.name))
            return [_workspace(row) for row in rows]

    def add_path(self, name: str, folder: Path, *, allow_commands: bool, by: str) -> Workspace:
        """Register the folder itself: its runs see it as it is at that moment."""
        if not folder.is_dir():
            raise BadInput("is not a folder", where=str(folder), fix="name a project folder")
        return self._add(name, WorkspaceKind.PATH, str(folder.resolve()), allow_commands, by)

    def add_archive(self, name: str, folder: Path, *, allow_commands: bool, by: str) -> Workspace:
        """Register the content of the folder as it is now, for every runner of this database."""
        make_folder(self._data)
        packed = self._data / f".pack-{name}.tar.gz"
        _require_name(name)
        try:
            pack(folder, packed)
            sha256 = self._blobs.put(packed)
        finally:
            packed.unlink(missing_ok=True)
        return self._add(name, WorkspaceKind.ARCHIVE, sha256, allow_commands, by)

    def add_archive_file(
        self, name: str, archive: Path, *, allow_commands: bool, by: str
    ) -> Workspace:
        """Register an archive that somebody packed; `BadInput` when it is not one of ours."""
        _require_name(name)
        sha256 = self._blobs.put(archive)
        self._shared(sha256)
        return self._add(name, WorkspaceKind.ARCHIVE, sha256, allow_commands, by)

    def _add(
        self, name: str, kind: WorkspaceKind, place: str, allow_commands: bool, by: str
    ) -> Workspace:
        _require_name(name)
        with self._database.write() as connection:
            known = sa.select(workspace).where(workspace.c.name == name)
            row = connection.execute(known).first()
            if row is not None and _workspace(row).kind is not kind:
                raise BadInput(
                    f"there is a workspace {name} of the kind {row.kind}",
                    where="--name",
                    fix=f"choose another name, or: testops workspaces remove {name}",
                )
            if row is not None and row.place != place:
                # A run that waits was planned for what was there then.
                _require_idle(connection, name)
            values = {
                "kind": kind.value,
                "place": place,
                "allow_commands": allow_commands,
                "created_by": by,
                "created_at": self._database.moment(connection).text,
            }
            if row is None:
                connection.execute(workspace.insert().values(name=name, **values))
            else:
                connection.execute(
                    workspace.update().where(workspace.c.name == name).values(**values)
                )
            required = 1 if row is None else row.approvals_required
        return Workspace(name, kind, place, allow_commands, by, str(values["created_at"]), required)

    def remove(self, name: str) -> bool:
        """Forget a workspace; its runs and their results stay. Refused while one is open."""
        with self._database.write() as connection:
            _require_idle(connection, name)
            gone = connection.execute(workspace.delete().where(workspace.c.name == name))
            withdraw_of_workspace(connection, name, self._database.moment(connection).text)
            # What was approved is of the project that goes. Another one of that name must not be
            # judged by it, nor show its reviews; who approved what stays in the audit log.
            for of_project in (review, baseline):
                connection.execute(of_project.delete().where(of_project.c.workspace == name))
            return gone.rowcount > 0

    def allow_commands(self, name: str, *, allowed: bool) -> bool:
        """Whether there is such a workspace; its suites may choose commands from now on, or not."""
        change = workspace.update().where(workspace.c.name == name)
        with self._database.write() as connection:
            return connection.execute(change.values(allow_commands=allowed)).rowcount > 0

    def require_approvals(self, name: str, count: int) -> bool:
        """Whether there is such a workspace; so many people must approve its baselines from now."""
        if not 1 <= count <= APPROVALS_MAX:
            raise BadInput(
                f"{count} people cannot approve", where=name, fix=f"give 1 to {APPROVALS_MAX}"
            )
        change = workspace.update().where(workspace.c.name == name)
        with self._database.write() as connection:
            return connection.execute(change.values(approvals_required=count)).rowcount > 0

    # --- files ----------------------------------------------------------------------------------

    def root_of(self, named: Named) -> Path:
        """The folder of its files, only to be read; an archive is unpacked where it was not yet."""
        one = named if isinstance(named, Workspace) else self.get(named.name)
        if one is None:
            raise BadInput(f"there is no workspace {named.name}", where="workspace")
        return Path(one.place) if one.kind is WorkspaceKind.PATH else self._shared(one.place)

    def root_for(self, one: Workspace, run_id: str, attempt: int) -> Path:
        """The folder in which an attempt works: the place itself, or a copy of an archive."""
        if one.kind is WorkspaceKind.PATH:
            return Path(one.place)
        target = self._copy(run_id, attempt)
        if not target.is_dir():
            copy_tree(self._shared(one.place), target)
        return target

    def sweep_copies(self) -> None:
        """Remove the copies of attempts that have ended, wherever that was found out."""
        copies = sorted((self._data / "copies").glob("[0-9a-f]*-[0-9]*"))
        if not copies:
            return
        open_attempts = sa.select(attempt.c.run_id, attempt.c.attempt).where(
            attempt.c.state.in_(_OPEN_STATES)
        )
        with self._database.read() as connection:
            needed = {self._copy(*row) for row in connection.execute(open_attempts)}
        for copy in copies:
            if copy not in needed:
                remove_tree(copy)

    def _copy(self, run_id: str, attempt: int) -> Path:
        return self._data / "copies" / f"{run_id}-{attempt}"

    def _shared(self, sha256: str) -> Path:
        folder = self._data / "workspaces" / sha256
        if folder.is_dir():
            return folder
        archive = make_folder(folder.parent) / f"{sha256}.tar.gz"
        (folder.parent / ARCHIVES_MARK).touch()
        try:
            self._blobs.fetch(sha256, archive)
        except FileNotFoundError as error:
            raise BadInput(
                f"the archive {sha256} is not kept any more",
                where="workspace",
                fix="send the project again, and ask again",
            ) from error
        try:
            unpack(archive, folder)
        finally:
            archive.unlink(missing_ok=True)
        return folder


def as_planned(one: Workspace, build: Build) -> Workspace:
    """The workspace with the content that a run of `build` was planned for.

    Between planning and creating a run nothing holds the archive: it may have been replaced, and
    a result must not be of another content than its question.
    """
    if one.kind is not WorkspaceKind.ARCHIVE or build.stated or build.dirty is None:
        return one
    return replace(one, place=build.dirty)


def _require_idle(connection: sa.Connection, name: str) -> None:
    is_open = sa.select(run.c.run_id).where(run.c.workspace == name, run.c.state.in_(_OPEN_STATES))
    if (busy := connection.execute(is_open.limit(1)).scalar()) is not None:
        raise BadInput(
            f"run {busy} of workspace {name} has not ended",
            where=name,
            fix="cancel it, or wait for it",
        )


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} cannot be the name of a workspace",
            where="--name",
            fix="use a-z, 0-9, '.', '_' and '-', at most 64",
        )


def _workspace(row: sa.Row[tuple[object, ...]]) -> Workspace:
    return Workspace(
        row.name,
        WorkspaceKind(row.kind),
        row.place,
        row.allow_commands,
        row.created_by,
        row.created_at,
        row.approvals_required,
    )
