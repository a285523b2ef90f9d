"""The baselines of a server on the disk of a runner, as a stage reads them.

What is compared with: a baseline that the run names, whatever is approved; else what the server has
approved for the key of the bundle; else the project's own folder. A server that has approved
something for the suite and profile, but under another engine or Python, speaks where the project
has nothing for them: the comparison then says what is missing.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput
from testops.domain.execution import Taken
from testops.domain.snapshot import KeptBundle
from testops.domain.stage import StageName
from testops.domain.suite import Suite
from testops.runner.files import make_folder
from testops.runner.sandbox import remove_tree
from testops.runner.worker_ports import Place
from testops.snapshots import baseline_path
from testops.snapshots.approve import record_path
from testops.storage.blobs import BlobStore
from testops.storage.database import Database
from testops.storage.snapshot_rows import baseline_of, bundle_of, current_baseline
from testops.storage.snapshot_tables import baseline, bundle


class BaselinePlaces:
    """Puts the baselines of a run below the folder `data`."""

    def __init__(self, database: Database, blobs: BlobStore, data: Path) -> None:
        self._database = database
        self._blobs = blobs
        self._data = data

    def baselines(self, taken: Taken, place: Place, identity: str) -> Path | None:
        """`runner.worker_ports.Places.baselines`."""
        chosen = self._chosen(taken, place, identity)
        if not chosen:
            return None
        run = taken.run
        # Not in the output of the run: there, a stage before could leave something.
        folder = self._data / "runs" / run.run_id / f"{run.attempt}.golden"
        if folder.exists():
            remove_tree(folder)
        for kept in chosen:
            target = baseline_path(folder, kept.bundle.key)
            make_folder(target.parent)
            try:
                self._blobs.fetch(kept.bundle.sha256, target)
            except FileNotFoundError as error:
                raise BadInput(
                    f"the content of the baseline {kept.identity} is not kept any more",
                    where=f"workspace {kept.workspace}",
                    fix="approve another run as the baseline",
                ) from error
            except OSError as error:
                # Damaged: no other baseline is as good, and another try finds the same.
                raise BadInput(
                    f"the baseline {kept.identity} cannot be read: {error}",
                    where=f"workspace {kept.workspace}",
                    fix="approve another run as the baseline",
                ) from error
            # What a person, or whoever named it in the run, has chosen: the database knows who.
            record_path(target).write_text(json.dumps({"identity": kept.identity}))
        return folder

    def _chosen(self, taken: Taken, place: Place, identity: str) -> Sequence[KeptBundle]:
        workspace, named = taken.run.workspace, taken.run.question.get("baseline")
        with self._database.read() as connection:
            if named is not None:
                kept = _bundle(connection, workspace, named)
                if kept is None:
                    raise BadInput(
                        f"the bundle {named} is not kept any more",
                        where="baseline",
                        fix="name another, or none",
                    )
                return [kept]
            own = _bundle(connection, workspace, identity)
            if own is None:
                return []
            key = own.bundle.key
            exact = current_baseline(connection, workspace, key)
            if exact is not None:
                return _every(connection, workspace, [exact.identity])
            if _project_has(taken, place, key):
                return []
            return _every(connection, workspace, _approved(connection, workspace, key))


def _bundle(connection: sa.Connection, workspace: str, identity: str) -> KeptBundle | None:
    wanted = sa.select(bundle).where(bundle.c.workspace == workspace, bundle.c.identity == identity)
    row = connection.execute(wanted).first()
    return None if row is None else bundle_of(connection, row)


def _every(
    connection: sa.Connection, workspace: str, identities: Sequence[str]
) -> Sequence[KeptBundle]:
    found = []
    for identity in identities:
        kept = _bundle(connection, workspace, identity)
        if kept is None:
            # Retention never removes one. Without it, nobody knows what was approved.
            raise BadInput(
                f"the baseline {identity} is approved and not kept", where=f"workspace {workspace}"
            )
        found.append(kept)
    return found


def _approved(connection: sa.Connection, workspace: str, key: BundleKey) -> Sequence[str]:
    """What is in force for the suite and profile, whatever the engine and the Python."""
    rows = sa.select(baseline).where(
        baseline.c.workspace == workspace,
        baseline.c.suite == key.suite,
        baseline.c.profile == key.profile,
    )
    newest: dict[BundleKey, tuple[int, str]] = {}
    for row in connection.execute(rows):
        one = baseline_of(row)
        newest[one.key] = max(newest.get(one.key, (0, "")), (one.number, one.identity))
    return [identity for _, identity in newest.values()]


def _project_has(taken: Taken, place: Place, key: BundleKey) -> bool:
    stage = Suite.model_validate(taken.run.question["suite"]).stages.named()
    golden = getattr(stage[StageName.SNAPSHOT_COMPARE], "golden", "snapshots/golden")
    return (place.root / golden / key.suite / key.profile).is_dir()
