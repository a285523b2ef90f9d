"""Whether everything that is kept still is what it was: every content hashed, every bundle rebuilt.

Each damage is named exactly, with who is hit by it and what to do. Nothing is repaired here.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.snapshots.bundle import bundles_below, read_bundle
from testops.snapshots.manifest import MANIFEST
from testops.snapshots.objects.contents import DamagedObject
from testops.snapshots.refusal import Refusal
from testops.snapshots.schemas import known
from testops.snapshots.store.records import BundleRecord, Hold
from testops.snapshots.store.service import SnapshotStore, digests_in
from testops.snapshots.tar import write_tar
from testops.snapshots.tree_index import TreeIndex

_MEND_UNREFERENCED = "no bundle needs it: `testops snapshot gc` removes it in time"


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not what it was: what it is, what is wrong with it, and what to do."""

    what: str
    problem: str
    fix: str

    def text(self) -> str:
        return f"{self.what}: {self.problem}; {self.fix}"

    def to_json(self) -> dict[str, Any]:
        return {"what": self.what, "problem": self.problem, "fix": self.fix}


@dataclass(slots=True)
class Checked:
    """What was looked at, and every damage."""

    where: str
    bundles: int = 0
    objects: int = 0
    bytes_read: int = 0
    unreferenced_objects: int = 0
    unreferenced_bytes: int = 0
    damages: list[Damage] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "where": self.where,
            "bundles": self.bundles,
            "objects": self.objects,
            "bytes_read": self.bytes_read,
            "unreferenced_objects": self.unreferenced_objects,
            "unreferenced_bytes": self.unreferenced_bytes,
            "damages": [damage.to_json() for damage in self.damages],
        }


def check_store(store: SnapshotStore) -> Checked:
    """Read everything that the store keeps; captures go on meanwhile, a collection waits."""
    check = _StoreCheck(store)
    with store.latch.shared() as hold:
        for identity in store.records.identities():
            hold.require()
            check.bundle(identity)
        for content in store.objects.list():
            hold.require()
            check.content(content.sha256, content.size)
        check.pins()
    return check.checked


class _StoreCheck:
    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._seen: set[str] = set()
        self.checked = Checked(store.shelf.shown())

    def bundle(self, identity: str) -> None:
        self.checked.bundles += 1
        try:
            record = self._store.records.bundle(identity)
            fix = self._again(identity)
        except BadInput as error:
            self._damaged(error.where, error.problem, error.fix)
            return
        if record is None:
            return
        try:
            manifest = self._get(record.manifest)
            listed = digests_in(manifest)
        except (DamagedObject, Refusal) as error:
            self._damaged(f"bundle {identity}", f"its {MANIFEST} is damaged: {error}", fix)
            return
        members = {MANIFEST: manifest}
        damages = 0
        for path, sha256 in listed.items():
            try:
                members[path] = self._get(sha256)
            except DamagedObject as error:
                damages += 1
                what = f"object {sha256}, which is {path} of bundle {identity}"
                self._damaged(what, error.problem, fix)
        if not damages:
            self._rebuild(record, members, fix)

    def _rebuild(self, record: BundleRecord, members: dict[str, bytes], fix: str) -> None:
        what = f"bundle {record.identity}"
        try:
            header = known().understood(members).header
        except Refusal as refusal:
            self._damaged(what, refusal.problem, fix)
            return
        found = hashlib.sha256(write_tar(members)).hexdigest()
        size = sum(map(len, members.values()))
        if found != record.identity:
            self._damaged(what, f"its files are those of bundle {found}", fix)
        elif header.key != record.key or (len(members), size) != (record.file_count, record.size):
            self._damaged(what, "its record says something else than its files", fix)

    def content(self, sha256: str, size: int) -> None:
        self.checked.objects += 1
        if sha256 in self._seen:
            return
        self.checked.unreferenced_objects += 1
        self.checked.unreferenced_bytes += size
        try:
            self._get(sha256)
        except DamagedObject as error:
            self._damaged(f"object {sha256}", error.problem, _MEND_UNREFERENCED)

    def pins(self) -> None:
        try:
            events = self._store.records.pin_events()
        except BadInput as error:
            self._damaged(error.where, error.problem, error.fix)
            return
        kept = set(self._store.records.identities())
        for identity in sorted({event.identity for event in events} - kept):
            self._damaged(
                f"bundle {identity}",
                "was pinned and is not kept",
                "capture it again from where it is, or from a copy of the store",
            )

    def _get(self, sha256: str) -> bytes:
        self._seen.add(sha256)
        content = self._store.objects.get(sha256)
        self.checked.bytes_read += len(content)
        return content

    def _again(self, identity: str) -> str:
        sources = [_source(hold) for hold in self._store.records.holds(identity)]
        known = f" (it came from {' and '.join(sources)})" if sources else ""
        return (
            f"write it again from a good copy: `testops snapshot capture --rewrite BUNDLE`{known}"
        )

    def _damaged(self, what: str, problem: str, fix: str) -> None:
        self.checked.damages.append(Damage(what, problem, fix))


def _source(hold: Hold) -> str:
    return f"{hold.source} of {hold.project}"


def check_folders(paths: Sequence[Path], index: TreeIndex) -> Checked:
    """Read every bundle at `paths`, unpacked ones against what the index believed of them too."""
    checked = Checked(", ".join(map(str, paths)))
    for place in _places(paths):
        checked.bundles += 1
        if place.is_dir():
            _check_tree(place, index, checked)
        try:
            bundle = read_bundle(place)
        except BadInput as error:
            checked.damages.append(Damage(error.where, error.problem, error.fix))
        else:
            checked.objects += len(bundle.files) + 1
            checked.bytes_read += sum(map(len, bundle.files.values()))
    return checked


def _check_tree(place: Path, index: TreeIndex, checked: Checked) -> None:
    try:
        _, edited = index.recheck(place)
    except BadInput as error:
        checked.damages.append(Damage(error.where, error.problem, error.fix))
        return
    for one in edited:
        checked.damages.append(
            Damage(
                str(place / one.path),
                f"was edited and kept its size and times: it was {one.expected}, "
                f"and is {one.found}",
                "what was compared since then believed the former content; the index is correct "
                "again, so compare once more",
            )
        )


def _places(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise BadInput("there is no such bundle or folder", where=str(path), fix="name another")
        found = list(bundles_below(path))
        if not found:
            raise BadInput("holds no bundle", where=str(path), fix="name a folder of bundles")
        yield from found
