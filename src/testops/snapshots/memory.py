"""What is remembered of bundles between two questions: digests of files, identity, validity.

A cache and never evidence: without it everything is read again, with the same answer. What it knows
of a bundle it knows by the sha256 of its manifest, which names the digest of every file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.errors import OutputNotWritable
from testops.snapshots.atomic import replace_file
from testops.snapshots.manifest import BundleHeader, FileDigest, seed_of
from testops.snapshots.tree_index import TreeIndex

_FORMAT = "testops-known-bundles-1"
_FILE = "known.json"
_FILE_BYTES_MAX = 4 * 1024 * 1024
_KNOWN_MAX = 500


@dataclass(frozen=True, slots=True)
class Known:
    """What was found about a bundle when it was read.

    `listing` is the digest of what its manifest lists; a folder with that very listing needs no
    second look at the manifest. `is_valid`: every file of it is of an execution, and holds one.
    """

    identity: str
    listing: str
    header: BundleHeader
    is_valid: bool = False


def listing_of(digests: Mapping[str, FileDigest]) -> str:
    """One digest for all of them, whatever their order."""
    lines = [f"{path}\0{found.size}\0{found.sha256}\n" for path, found in digests.items()]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


class Memory:
    """Kept in the folder `home`, beside the index of unpacked bundles."""

    def __init__(self, home: Path) -> None:
        self._place = home / _FILE
        self.index = TreeIndex(home)

    def known(self, manifest_sha256: str) -> Known | None:
        """What is known of the bundle with this manifest."""
        return self._read().get(manifest_sha256)

    def remember(self, manifest_sha256: str, known: Known) -> None:
        """Keep it; two at once may forget one of the two, and a folder that is full keeps none."""
        kept = self._read()
        if kept.get(manifest_sha256) == known:
            return
        kept.pop(manifest_sha256, None)
        kept[manifest_sha256] = known
        newest = list(kept.items())[-_KNOWN_MAX:]
        body = {"format": _FORMAT, "bundles": [[key, _row(one)] for key, one in newest]}
        try:
            replace_file(self._place, json.dumps(body).encode())
        except OutputNotWritable:
            return  # the next question reads again

    def _read(self) -> dict[str, Known]:
        """Everything that is kept, the newest last; nothing when it is damaged."""
        try:
            with self._place.open("rb") as file:
                body = json.loads(file.read(_FILE_BYTES_MAX))
            if body["format"] != _FORMAT:
                return {}
            return {str(key): _known(row) for key, row in body["bundles"]}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def _row(known: Known) -> dict[str, Any]:
    return {
        "identity": known.identity,
        "listing": known.listing,
        "is_valid": known.is_valid,
        **known.header.to_json(),
    }


def _known(row: Mapping[str, Any]) -> Known:
    header = BundleHeader(
        suite=row["suite"],
        profile=row["profile"],
        sim_seed=seed_of(row, "sim_seed"),
        chaos_seed=seed_of(row, "chaos_seed"),
        engine_version=row["engine_version"],
        python=row["python"],
        masks_version=row["masks_version"],
    )
    return Known(str(row["identity"]), str(row["listing"]), header, row["is_valid"] is True)
