"""Which bundles a project still speaks of: its baselines with their history, reviews and runs.

A file that cannot be read is refused and never skipped: what it refers to is unknown, and a bundle
that is removed for that would be gone.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from testops.domain.errors import BadInput
from testops.snapshots.bundle import SUFFIX, bundles_below, read_bundle

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_RECORD_BYTES_MAX = 64 * 1024 * 1024
_FIX = "restore it, or remove it if nothing of it is wanted"
_RECORDS = (
    ("golden", "**/*.json", "baseline record"),
    ("reviews", "**/*.json", "review"),
    ("runs", "*/attempt-*.json", "run record"),
)

References = dict[str, list[str]]


def record_references(snapshots: Path) -> References:
    """Each identity that a record under `snapshots` names, and the records that do.

    Anything that looks like one counts: a field that is new to us may be one, and to keep a bundle
    too long is no harm.
    """
    found: References = {}
    for folder, pattern, kind in _RECORDS:
        for path in sorted((snapshots / folder).glob(pattern)):
            # Their own names in a folder are unpacked bundles' files, not records.
            if not path.is_file() or _is_in_a_bundle(path, snapshots / folder):
                continue
            for identity in _digests_in(_read(path)):
                _note(found, identity, f"{kind} {path.relative_to(snapshots).as_posix()}")
    return found


def bundle_references(snapshots: Path) -> References:
    """The identity of each bundle that lies under `snapshots`, and where."""
    found: References = {}
    for path in bundles_below(snapshots) if snapshots.is_dir() else ():
        if path != snapshots:
            name = path.relative_to(snapshots).as_posix()
            kind = "bundle file" if name.endswith(SUFFIX) else "unpacked bundle"
            _note(found, read_bundle(path).identity, f"{kind} {name}")
    return found


def _note(found: References, identity: str, why: str) -> None:
    reasons = found.setdefault(identity, [])
    if why not in reasons:
        reasons.append(why)


def _is_in_a_bundle(path: Path, folder: Path) -> bool:
    return any(
        (parent / "manifest.json").is_file()
        for parent in path.parents
        if parent.is_relative_to(folder)
    )


def _read(path: Path) -> object:
    try:
        if path.stat().st_size > _RECORD_BYTES_MAX:
            raise BadInput("is too large for a record", where=str(path), fix=_FIX)
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(
            f"cannot be read, so what it refers to is unknown ({error})",
            where=str(path),
            fix=_FIX,
        ) from error


def _digests_in(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                yield from _DIGEST.findall(text)
            case list(items):
                waiting += items
            case dict(fields):
                waiting += [*fields, *fields.values()]
            case _:
                pass
