"""The snapshot store of a project: where it is, who holds what in it, and what must stay."""

import hashlib
import platform
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from testops import wiring
from testops.runner.files import write_new
from testops.runner.projects import Project, project_around
from testops.snapshots.bundle import bundles_below
from testops.snapshots.migrate import Migration
from testops.snapshots.store import checking, collecting
from testops.snapshots.store.migrating import migrate_store
from testops.snapshots.store.opening import VARIABLE, open_store, tree_index_home
from testops.snapshots.store.references import bundle_references, record_references
from testops.snapshots.store.service import (
    Captured,
    Holder,
    Materialised,
    Shown,
    SnapshotStore,
)
from testops.snapshots.tree_index import TreeIndex
from testops.telemetry.clock import SystemClock
from testops.telemetry.events import Tell
from testops.wiring.person import person
from testops.wiring.run_bundles import run_id_in
from testops.wiring.snapshots import bundle_called

GRACE_HOURS = 24.0


@dataclass(frozen=True, slots=True)
class ProjectStore:
    """The store as one project sees it."""

    project: Project
    folder: Path
    store: SnapshotStore
    environment: Mapping[str, str]

    @property
    def holder(self) -> Holder:
        # Asked only where something is held: the first time it is written into the project.
        return _holder(self.project, self.environment)

    def capture(self, source: str, *, who: str | None, rewrite: bool) -> list[Captured]:
        """Keep a run's bundle, a bundle, an unpacked one, or every bundle of a folder."""
        place = bundle_called(source, self.project, self.folder)
        name, holder = who or person(), self.holder
        return [
            self.store.capture(
                path, holder=holder, who=name, run_id=run_id_in(path), rewrite=rewrite
            )
            for path in bundles_below(place)
        ]

    def list(self) -> list[Shown]:
        return self.store.list()

    def show(self, identity: str) -> Shown:
        return self.store.show(identity)

    def pin(self, identity: str, *, who: str | None, why: str) -> str:
        token = f"{wiring.draw_seed():016x}"
        record = self.store.pin(identity, who=who or person(), why=why, token=token)
        return record.identity

    def unpin(self, identity: str, *, who: str | None, why: str) -> str:
        token = f"{wiring.draw_seed():016x}"
        record = self.store.unpin(identity, who=who or person(), why=why, token=token)
        return record.identity

    def materialise(self, identity: str, target: Path) -> Materialised:
        return self.store.materialise(identity, self.folder / target)

    def verify(self, paths: Sequence[Path]) -> checking.Checked:
        """The whole store, or the bundles at `paths`."""
        if not paths:
            return checking.check_store(self.store)
        index = TreeIndex(tree_index_home(self.project.snapshots))
        return checking.check_folders([self.folder / path for path in paths], index)

    def migrate(self, *, dry_run: bool) -> Sequence[Migration]:
        """What this project keeps, in the newest schema too."""
        return migrate_store(
            self.store,
            self.holder,
            who=person(),
            token=lambda: f"{wiring.draw_seed():016x}",
            dry_run=dry_run,
        )

    def collect(
        self, *, grace: timedelta, lapse: timedelta | None, dry_run: bool
    ) -> collecting.Collected:
        """Remove what nothing refers to, and the indexes of folders that are gone."""
        snapshots = self.project.snapshots
        done = collecting.collect(
            self.store,
            collecting.Wanted(
                self.holder, SystemClock().now(), grace, lapse=lapse, dry_run=dry_run
            ),
            records=lambda: record_references(snapshots),
            bundles=lambda: bundle_references(snapshots),
        )
        if not dry_run:
            TreeIndex(tree_index_home(snapshots)).forget_missing()
        return done


def project_store(folder: Path, environment: Mapping[str, str], *, told: Tell) -> ProjectStore:
    """The store of the project around `folder`; `told` hears why something takes long."""
    project = project_around(folder)
    store = open_store(
        project.snapshots,
        environment,
        clock=SystemClock(),
        token=f"{wiring.draw_seed():016x}",
        pause=_pause,
        told=told,
    )
    return ProjectStore(project, folder, store, environment)


def _holder(project: Project, environment: Mapping[str, str]) -> Holder:
    """Who this project is in the store.

    The project's own store moves with it. In a store of several, neither a copied folder nor a
    container with the same name and paths may let go of what another one holds, hence all three.
    """
    root = project.root.resolve()
    if not environment.get(VARIABLE):
        return Holder("project", str(root))
    place = project.snapshots / ".holder"
    if not place.is_file():
        write_new(place, f"{wiring.draw_seed():016x}\n".encode())
    own = f"{place.read_text().strip()}\n{platform.node()}\n{root}"
    return Holder(
        hashlib.sha256(own.encode()).hexdigest()[:32], f"{root} on {platform.node() or 'a machine'}"
    )


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
