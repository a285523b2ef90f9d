"""Kept bundles in the newest schema, each beside its original.

The original is never touched: what still refers to it finds it byte for byte, and when nothing does
`collecting` removes it. So a migration can be killed anywhere, and ends when it is asked for again.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from testops.domain.errors import BadInput
from testops.snapshots.bundle import SUFFIX, members_of, write_bundle
from testops.snapshots.migrate import Migration, identity_of
from testops.snapshots.objects.contents import DamagedObject
from testops.snapshots.refusal import Refusal
from testops.snapshots.schemas import Understood, known
from testops.snapshots.store.records import PinEvent
from testops.snapshots.store.service import Holder, Shown, SnapshotStore


def migrate_store(
    store: SnapshotStore, holder: Holder, *, who: str, token: Callable[[], str], dry_run: bool
) -> list[Migration]:
    """Every bundle that `holder` keeps, in the newest schema too; its pins are carried over.

    An original that was migrated before is not told again.
    BadInput names a bundle that is damaged or of a schema that is not known.
    """
    done = []
    for shown in store.list():
        hold = next((one for one in shown.holds if one.holder == holder.id), None)
        if hold is None:
            continue  # another project's: it migrates what it holds itself
        found = _understood(store, shown)
        migration = _planned(shown, found)
        is_original = migration.is_needed and store.records.has(migration.identity)
        if not is_original:
            done.append(migration)
        if dry_run or not migration.is_needed:
            continue
        if not is_original:
            _capture(store, holder, found, migration, who=who, run_id=hold.run_id)
        # Also of what was captured before: killed in between, it may not have them yet.
        _carry_pins(store, shown, migration.identity, token)
    return done


def _capture(
    store: SnapshotStore,
    holder: Holder,
    found: Understood,
    migration: Migration,
    *,
    who: str,
    run_id: str | None,
) -> None:
    with tempfile.TemporaryDirectory(prefix="testops-migrate-") as folder:
        # The name is what the store will say of where it came from.
        trial = Path(folder) / f"migrated-from-{migration.former_identity}{SUFFIX}"
        written = write_bundle(trial, found.header, found.files)
        assert written == migration.identity, (written, migration.identity)
        store.capture(trial, holder=holder, who=who, run_id=run_id)


def _understood(store: SnapshotStore, shown: Shown) -> Understood:
    where = f"bundle {shown.record.identity} in {store.shelf.shown()}"
    try:
        return known().understood(store.files(shown.record))
    except DamagedObject as error:
        fix = "run `testops snapshot verify`, which says what to do"
        raise BadInput(str(error), where=where, fix=fix) from error
    except Refusal as refusal:
        raise BadInput(refusal.problem, where=where, fix=refusal.fix) from refusal


def _planned(shown: Shown, found: Understood) -> Migration:
    newest, former = known().newest.version, shown.record.identity
    identity = former
    if found.version != newest:
        identity = identity_of(members_of(found.header, found.files))
    return Migration(Path(former), found.version, newest, former, identity)


def _carry_pins(
    store: SnapshotStore, shown: Shown, identity: str, token: Callable[[], str]
) -> None:
    said = {(pin.who, pin.why) for pin in store.show(identity).pins}
    for pin in shown.pins:
        why = _why(pin, shown.record.identity)
        if (pin.who, why) not in said:
            store.pin(identity, who=pin.who, why=why, token=token())


def _why(pin: PinEvent, former: str) -> str:
    return f"{pin.why} (pinned as {former[:16]}, before its migration)"
