"""Removes the bundles that nobody refers to: no run is left of them, and nobody holds them.

Held is what somebody captured or pinned, what is or was a baseline, and both sides of a review that
is open. The contents go after the rows, and only once they are old enough (`retention`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from testops.domain.snapshot import FreedBundles
from testops.storage.database import Database
from testops.storage.snapshot_rows import OPEN, in_workspaces
from testops.storage.snapshot_tables import baseline, bundle, bundle_run, review

# Removes contents that nothing refers to any more: of these digests, what went and its bytes.
RemoveContents = Callable[[Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Gone:
    """A bundle that was removed, or would be."""

    workspace: str
    identity: str
    sha256: str
    size: int


def unheld() -> sa.ColumnElement[bool]:
    """What a bundle must be to go."""
    own_workspace = review.c.workspace == bundle.c.workspace
    sides = sa.or_(review.c.target == bundle.c.identity, review.c.base == bundle.c.identity)
    return sa.and_(
        bundle.c.captured.is_(None),
        bundle.c.pinned.is_(None),
        ~sa.exists().where(
            bundle_run.c.workspace == bundle.c.workspace,
            bundle_run.c.identity == bundle.c.identity,
        ),
        ~sa.exists().where(
            baseline.c.workspace == bundle.c.workspace, baseline.c.identity == bundle.c.identity
        ),
        ~sa.exists().where(own_workspace, sides, review.c.state.in_(OPEN)),
    )


_COLUMNS = (bundle.c.workspace, bundle.c.identity, bundle.c.sha256, bundle.c.size)


def forgettable(connection: sa.Connection, workspaces: frozenset[str] | None) -> Sequence[Gone]:
    """The bundles that would go."""
    wanted = (
        sa.select(*_COLUMNS)
        .where(unheld(), *in_workspaces(bundle.c.workspace, workspaces))
        .order_by(bundle.c.workspace, bundle.c.identity)
    )
    return [Gone(*row) for row in connection.execute(wanted)]


def forget_bundles(
    connection: sa.Connection, database: Database, workspaces: frozenset[str] | None
) -> Sequence[Gone]:
    """Remove the rows of what nobody holds, within the caller's transaction; what went."""
    if not database.is_sqlite:
        # Whoever registers or approves one now waits, or is seen. In the order in which they write.
        tables = "bundle, bundle_run, review, baseline"
        connection.execute(sa.text(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))
    gone = (
        sa.delete(bundle)
        .where(unheld(), *in_workspaces(bundle.c.workspace, workspaces))
        .returning(*_COLUMNS)
    )
    return sorted((Gone(*row) for row in connection.execute(gone)), key=lambda one: one.identity)


class BundleCollector:
    """Collections that somebody asks for; `remove_contents` is retention's."""

    def __init__(self, database: Database, remove_contents: RemoveContents) -> None:
        self._database = database
        self._remove_contents = remove_contents

    def collect(self, workspaces: frozenset[str] | None, *, dry_run: bool) -> FreedBundles:
        """Remove what nobody holds in those workspaces (None: in all), or say what would go."""
        if dry_run:
            with self._database.read() as connection:
                gone = forgettable(connection, workspaces)
            return FreedBundles(*_said(gone), bytes_waiting=0, dry_run=True)
        with self._database.write() as connection:
            gone = forget_bundles(connection, self._database, workspaces)
        identities, total = _said(gone)
        freed = self._remove_contents([one.sha256 for one in gone])
        return FreedBundles(identities, freed, bytes_waiting=max(0, total - freed), dry_run=False)


def _said(gone: Sequence[Gone]) -> tuple[Sequence[str], int]:
    # One content may be the bundle of two workspaces: it takes its place once.
    sizes = {one.sha256: one.size for one in gone}
    return [one.identity for one in gone], sum(sizes.values())
