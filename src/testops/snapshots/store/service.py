"""Takes bundles into the store, and gives them back byte for byte.

What may be removed belongs to `collecting`, whether all is still as it was to `checking`. A bundle
is kept once its record is written, which is the last thing to happen: killed before that, there are
only contents that nothing refers to yet.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.review import decided
from testops.snapshots.bundle import SUFFIX, Bundle, read_stored, unpack_stored, write_stored
from testops.snapshots.canonical import parse
from testops.snapshots.manifest import MANIFEST
from testops.snapshots.objects.contents import DamagedObject, Kept, Objects
from testops.snapshots.objects.ports import Hold as LatchHold
from testops.snapshots.objects.ports import Latch, Shelf
from testops.snapshots.paths import require_safe_path
from testops.snapshots.refusal import Refusal
from testops.snapshots.store.records import (
    BundleRecord,
    Hold,
    PinEvent,
    Records,
    pinned_by,
    require_digest,
)
from testops.snapshots.tar import write_tar
from testops.telemetry.clock import Clock

PREFIX_LENGTH_MIN = 4
_IDENTITY = re.compile(r"[0-9a-f]{4,64}", re.ASCII)
_AT_ONCE = 256  # contents between two looks at the latch


@dataclass(frozen=True, slots=True)
class Holder:
    """The project that captures: an id that no other has, and how people know it."""

    id: str
    project: str


@dataclass(frozen=True, slots=True)
class Captured:
    """One bundle that the store has now, and what that took."""

    record: BundleRecord
    source: str
    is_new: bool
    bytes_new: int
    bytes_shared: int
    files_new: int
    files_shared: int

    def to_json(self) -> dict[str, Any]:
        return {
            **self.record.to_json(),
            "source": self.source,
            "is_new": self.is_new,
            "bytes_new": self.bytes_new,
            "bytes_shared": self.bytes_shared,
            "files_new": self.files_new,
            "files_shared": self.files_shared,
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """A kept bundle with everything that is known of it."""

    record: BundleRecord
    holds: tuple[Hold, ...]
    pins: tuple[PinEvent, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            **self.record.to_json(),
            "holds": [hold.to_json() for hold in self.holds],
            "pins": [pin.to_json() for pin in self.pins],
        }


@dataclass(frozen=True, slots=True)
class Materialised:
    """Where a bundle stands again. `is_same_file`: None when no packed file was captured."""

    record: BundleRecord
    path: Path
    is_same_file: bool | None


class SnapshotStore:
    """The bundles on one shelf."""

    def __init__(self, shelf: Shelf, latch: Latch, clock: Clock) -> None:
        self.shelf = shelf
        self.latch = latch
        self.clock = clock
        self.objects = Objects(shelf)
        self.records = Records(shelf)

    def capture(
        self,
        source: Path,
        *,
        holder: Holder,
        who: str,
        run_id: str | None = None,
        rewrite: bool = False,
    ) -> Captured:
        """Keep the bundle at `source`; `rewrite` also writes again what the store has."""
        bundle, members = read_stored(source)
        with self.latch.shared() as hold:
            is_new = not self.records.has(bundle.identity)
            # What is to be mended is not read: it may be what is damaged.
            former = None if rewrite else self._own_hold(bundle.identity, holder)
            kept = self._put_all(list(members.values()), hold, rewrite=rewrite)
            record = _record_of(bundle, members)
            self.records.keep_hold(
                Hold(
                    identity=bundle.identity,
                    holder=holder.id,
                    project=holder.project,
                    source=str(source),
                    # An unpacked bundle says neither; an earlier capture may have known.
                    run_id=run_id or (former.run_id if former else None),
                    packed=_digest_of_file(source) or (former.packed if former else None),
                    who=who,
                    at=self.clock.now(),
                )
            )
            hold.require()
            if is_new or rewrite:
                self.records.keep_bundle(record)
        return _captured(record, source, kept, is_new=is_new)

    def _put_all(self, contents: Sequence[bytes], hold: LatchHold, *, rewrite: bool) -> list[Kept]:
        # Equal files of one bundle are put once: two threads would both find them new.
        distinct = list(dict.fromkeys(contents))
        kept: list[Kept] = []
        with ThreadPoolExecutor(max_workers=self.shelf.parallel) as pool:
            for start in range(0, len(distinct), _AT_ONCE):
                hold.require()
                some = distinct[start : start + _AT_ONCE]
                kept += pool.map(lambda content: self.objects.put(content, rewrite=rewrite), some)
        return kept

    def _own_hold(self, identity: str, holder: Holder) -> Hold | None:
        holds = self.records.holds(identity)
        return next((hold for hold in holds if hold.holder == holder.id), None)

    def list(self) -> list[Shown]:
        """Every kept bundle, sorted by identity."""
        holds: dict[str, list[Hold]] = {}
        for hold in self.records.holds():
            holds.setdefault(hold.identity, []).append(hold)
        pins = pinned_by(self.records.pin_events())
        found = ((one, self.records.bundle(one)) for one in self.records.identities())
        return [
            Shown(record, tuple(holds.get(identity, ())), tuple(pins.get(identity, ())))
            for identity, record in found
            if record is not None
        ]

    def show(self, asked: str) -> Shown:
        """The bundle whose identity is or begins with `asked`."""
        record = self._record_called(asked)
        pins = pinned_by(self.records.pin_events(record.identity))
        return Shown(
            record,
            tuple(self.records.holds(record.identity)),
            tuple(pins.get(record.identity, ())),
        )

    def pin(self, asked: str, *, who: str, why: str, token: str) -> BundleRecord:
        """Keep a bundle until it is unpinned, whatever refers to it."""
        return self._pin(asked, who=who, why=why, token=token, is_pin=True)

    def unpin(self, asked: str, *, who: str, why: str, token: str) -> BundleRecord:
        """End every pin of a bundle; BadInput when there is none."""
        return self._pin(asked, who=who, why=why, token=token, is_pin=False)

    def _pin(self, asked: str, *, who: str, why: str, token: str, is_pin: bool) -> BundleRecord:
        at = self.clock.now()
        said = decided(who, why, at)
        with self.latch.shared() as hold:
            shown = self.show(asked)
            identity = shown.record.identity
            if not is_pin and not shown.pins:
                raise BadInput("is not pinned", where=identity, fix="there is nothing to do")
            hold.require()
            event = PinEvent(
                identity, is_pin=is_pin, who=said.who, why=said.why, at=self.clock.now()
            )
            self.records.keep_pin(event, token=token)
        return shown.record

    def files(self, record: BundleRecord) -> dict[str, bytes]:
        """Every file of a kept bundle, the manifest too; DamagedObject names what is not there."""
        manifest = self.objects.get(record.manifest)
        listed = digests_in(manifest)
        with ThreadPoolExecutor(max_workers=self.shelf.parallel) as pool:
            distinct = list(dict.fromkeys(listed.values()))
            contents = dict(zip(distinct, pool.map(self.objects.get, distinct), strict=True))
        return {**{path: contents[sha256] for path, sha256 in listed.items()}, MANIFEST: manifest}

    def materialise(self, asked: str, target: Path) -> Materialised:
        """Make `target` the bundle: a file where it ends in `.tar.gz`, else an unpacked folder."""
        shown = self.show(asked)
        members = self._believed_files(shown.record)
        if not target.name.endswith(SUFFIX):
            unpack_stored(members, target)
            return Materialised(shown.record, target, None)
        write_stored(target, members)
        captured = {hold.packed for hold in shown.holds if hold.packed is not None}
        is_same = _digest_of_file(target) in captured if captured else None
        return Materialised(shown.record, target, is_same)

    def _believed_files(self, record: BundleRecord) -> dict[str, bytes]:
        try:
            members = self.files(record)
            found = hashlib.sha256(write_tar(members)).hexdigest()
            if found == record.identity:
                return members
            problem = f"its files are those of bundle {found}"
        except (DamagedObject, Refusal) as error:
            problem = str(error)
        raise BadInput(
            f"cannot be given back: {problem}",
            where=f"bundle {record.identity} in {self.shelf.shown()}",
            fix="run `testops snapshot verify`, which says what to do",
        )

    def _record_called(self, asked: str) -> BundleRecord:
        asked = asked.lower()
        if not _IDENTITY.fullmatch(asked):
            raise BadInput(
                f"{asked[:80]!r} is not the identity of a bundle",
                where="IDENTITY",
                fix=f"give {PREFIX_LENGTH_MIN} or more of its hex digits "
                "(`testops snapshot list` shows them)",
            )
        found = [one for one in self.records.identities() if one.startswith(asked)]
        if len(found) > 1:
            raise BadInput(
                f"{asked!r} is the beginning of {len(found)} bundles ({found[0]}, {found[1]})",
                where="IDENTITY",
                fix="give more digits",
            )
        record = self.records.bundle(found[0]) if found else None
        if record is None:
            raise BadInput(
                f"{self.shelf.shown()} keeps no bundle {asked}",
                where="IDENTITY",
                fix="`testops snapshot list` shows what it keeps, "
                "`testops snapshot capture BUNDLE` adds one",
            )
        return record


def digests_in(manifest: bytes) -> Mapping[str, str]:
    """Path and sha256 of each file that a manifest lists; Refusal when it is none.

    Of any schema version: what a garbage collector does not understand it must not remove.
    """
    document = parse(manifest)
    try:
        if not isinstance(document, dict) or not isinstance(document["files"], list):
            raise TypeError("it lists no files")
        found = {}
        for item in document["files"]:
            if not isinstance(item, dict):
                raise TypeError("a file in it is no object")
            path = str(item["path"])
            require_safe_path(path)
            found[path] = require_digest(item["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(f"its {MANIFEST} is malformed ({error})") from error
    return found


def _record_of(bundle: Bundle, members: Mapping[str, bytes]) -> BundleRecord:
    return BundleRecord(
        identity=bundle.identity,
        manifest=hashlib.sha256(members[MANIFEST]).hexdigest(),
        key=bundle.header.key,
        sim_seed=bundle.header.sim_seed,
        chaos_seed=bundle.header.chaos_seed,
        file_count=len(members),
        size=sum(map(len, members.values())),
    )


def _captured(
    record: BundleRecord, source: Path, kept: Sequence[Kept], *, is_new: bool
) -> Captured:
    new = [one for one in kept if one.is_new]
    bytes_new = sum(one.size for one in new)
    return Captured(
        record=record,
        source=str(source),
        is_new=is_new,
        bytes_new=bytes_new,
        bytes_shared=record.size - bytes_new,
        files_new=len(new),
        files_shared=record.file_count - len(new),
    )


def _digest_of_file(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
