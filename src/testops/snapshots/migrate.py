"""Writes stored bundles, and the records of baselines, in the newest schema.

A migration changes how behaviour is spelled and never what it is. What would be written is read
back first, and replaces nothing unless it says what the stored bundle is read as. The record goes
before its bundle and names both identities, so that a kill between the two leaves a baseline that
is still the approved one, and the next migration ends what this one began.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testops.domain.errors import BadInput
from testops.snapshots.approve import former_identities, read_record, readable, record_path
from testops.snapshots.atomic import replace_file, replace_folder
from testops.snapshots.bundle import (
    SUFFIX,
    Bundle,
    bundles_below,
    members_of,
    read_bundle,
    write_bundle,
)
from testops.snapshots.canonical import Json
from testops.snapshots.executions import read_executions
from testops.snapshots.schemas import known
from testops.snapshots.tar import write_tar

_DEPTH_MAX = 8


@dataclass(frozen=True, slots=True)
class Migration:
    """One bundle: what it is, and what it becomes or has become."""

    path: Path
    former_schema: int
    schema: int
    former_identity: str
    identity: str

    @property
    def is_needed(self) -> bool:
        return self.former_schema != self.schema

    def to_json(self) -> dict[str, Json]:
        return {
            "path": str(self.path),
            "former_schema": self.former_schema,
            "schema": self.schema,
            "former_identity": self.former_identity,
            "identity": self.identity,
        }


def migrate(path: Path, *, dry_run: bool = False) -> list[Migration]:
    """Every bundle at `path` (one, an unpacked one, or a folder) in the newest schema.

    BadInput for a bundle that is damaged or newer than this program, before any is touched.
    """
    if not path.exists():
        raise BadInput("there is no such bundle or folder", where=str(path), fix="correct the path")
    places = bundles_below(path, depth_max=_DEPTH_MAX)
    # Writing replaces a link, and what it points to may be somebody else's.
    planned = [_planned(place) for place in places if place == path or not place.is_symlink()]
    needed = [(bundle, one, _record_of(one)) for bundle, one in planned if one.is_needed]
    for bundle, migration, record in [] if dry_run else needed:
        _require_readable(bundle, migration)
        if record is not None:
            replace_file(record[0], readable(record[1]))
        else:
            _note(migration)
        _write(bundle, migration.path)
    return [migration for _, migration in planned]


def _planned(place: Path) -> tuple[Bundle, Migration]:
    bundle = read_bundle(place)
    newest = known().newest.version
    identity = bundle.identity
    if bundle.schema_version != newest:
        identity = identity_of(members_of(bundle.header, bundle.files))
    return bundle, Migration(place, bundle.schema_version, newest, bundle.identity, identity)


def identity_of(members: Mapping[str, bytes]) -> str:
    """The identity of the bundle that has these members."""
    return hashlib.sha256(write_tar(members)).hexdigest()


def _require_readable(bundle: Bundle, migration: Migration) -> None:
    """What would be written says what is read of the stored bundle, every execution of it."""
    with tempfile.TemporaryDirectory(prefix="testops-migrate-") as folder:
        trial = Path(folder) / f"trial{SUFFIX}"
        written = write_bundle(trial, bundle.header, bundle.files)
        assert written == migration.identity, (written, migration.identity)
        again = read_bundle(trial)
        assert (again.header, again.files) == (bundle.header, bundle.files), migration.path
        read_executions(again)


def _write(bundle: Bundle, place: Path) -> None:
    if place.is_dir():
        replace_folder(place, members_of(bundle.header, bundle.files))
    else:
        write_bundle(place, bundle.header, bundle.files)


def _record_of(migration: Migration) -> tuple[Path, Json] | None:
    """The approval beside a bundle, as it is after the migration; None where there is none."""
    path = record_path(migration.path)
    if migration.path.is_dir() or not path.exists():
        return None
    record = read_record(path)
    if "identity" not in record:
        return None  # some other file of that name
    if record["identity"] == migration.identity:
        return path, dict(record)  # killed after the record, before the bundle
    former = record.get("migrated_from", [])
    if record["identity"] != migration.former_identity or not isinstance(former, list):
        raise BadInput(
            "is not the record of the bundle beside it, so nothing was migrated",
            where=str(path),
            fix="approve the bundle again, or restore both files from version control",
        )
    rest = {name: value for name, value in record.items() if name != "history"}
    migrated: dict[str, Json] = {
        **rest,
        "identity": migration.identity,
        "migrated_from": [*former, _former(migration)],
    }
    # Last, as in every record: it is the part that grows.
    return path, migrated | ({"history": record["history"]} if "history" in record else {})


def _former(migration: Migration) -> dict[str, Json]:
    return {"identity": migration.former_identity, "schema_version": migration.former_schema}


def note_path(bundle: Path) -> Path:
    """Where the former identities of a bundle are kept that nobody approved."""
    return bundle.with_name(f".{bundle.name.removesuffix(SUFFIX)}.migrated.json")


def _note(migration: Migration) -> None:
    """Keep what links a migrated bundle to the record of its run, which names the identity."""
    path = note_path(migration.path)
    former = read_record(path).get("migrated_from", []) if path.exists() else []
    entries = former if isinstance(former, list) else []
    entry = _former(migration)
    kept: list[Json] = [*(item for item in entries if item != entry), entry]
    replace_file(path, readable({"identity": migration.identity, "migrated_from": kept}))


def identities_of(bundle: Bundle) -> list[str]:
    """Every identity that this bundle has had, the present one first."""
    found = [bundle.identity]
    for path in (record_path(bundle.origin), note_path(bundle.origin)):
        # A file of that name may be anything; a damaged approval is reported by every comparison.
        with contextlib.suppress(BadInput):
            record = read_record(path)
            if record.get("identity") == bundle.identity:
                found += former_identities(record)
    return found
