"""Where a project's snapshot store is, and the shelf and latch that fit there."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from testops.domain.errors import BadInput
from testops.snapshots.objects.folder import FolderLatch, FolderShelf
from testops.snapshots.objects.leases import LeaseLatch
from testops.snapshots.objects.s3 import SCHEME, S3Shelf, address_of
from testops.snapshots.store.service import SnapshotStore
from testops.telemetry.clock import Clock

VARIABLE = "TESTOPS_SNAPSHOT_STORE"
STORE = ".store"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def open_store(
    snapshots: Path,
    environment: Mapping[str, str],
    *,
    clock: Clock,
    token: str,
    pause: Callable[[float], None],
    told: Callable[[str], None],
) -> SnapshotStore:
    """The store that `TESTOPS_SNAPSHOT_STORE` names, else the one in the folder `snapshots`.

    A relative path is of the folder that holds `snapshots`: one project has one store, wherever in
    it a person stands. `told` hears why something takes long.
    """
    asked = environment.get(VARIABLE, "")
    if asked.startswith(SCHEME):
        s3 = S3Shelf(address_of(asked, where=VARIABLE), environment, where=VARIABLE)
        return SnapshotStore(s3, LeaseLatch(s3, clock, token=token, pause=pause, told=told), clock)
    if _SCHEME.match(asked):
        raise BadInput(
            f"{asked[:200]!r} is no place that a store can be",
            where=VARIABLE,
            fix="give a folder, or s3://BUCKET/PREFIX",
        )
    root = snapshots.parent / asked if asked else snapshots / STORE
    return SnapshotStore(FolderShelf(root), FolderLatch(root, pause=pause, told=told), clock)


def tree_index_home(snapshots: Path) -> Path:
    """Where the index of unpacked bundles is: on this machine, whatever keeps the contents."""
    return snapshots / STORE / "trees"
