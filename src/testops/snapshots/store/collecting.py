"""Removes what nobody refers to any more, and never anything else.

Marks, then sweeps, alone in the store. A bundle stays while it is pinned, while another project
holds it, while this one speaks of it, and until it is older than the grace period; a content stays
while a kept bundle lists it, and until it is that old. When one kept bundle cannot say what it
lists, no content is removed at all.

Killed at any moment, it leaves whole bundles and contents of none: records go before contents.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from testops.domain.errors import BadInput
from testops.snapshots.objects.contents import Content, DamagedObject
from testops.snapshots.objects.ports import Hold as LatchHold
from testops.snapshots.refusal import Refusal
from testops.snapshots.store.records import Hold
from testops.snapshots.store.references import References
from testops.snapshots.store.service import Holder, Shown, SnapshotStore, digests_in

_AT_ONCE = 256  # removals between two looks at the latch


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to collect. `now` is an argument, like all time; `grace` protects what is young.

    With `lapse`, what another project captured that long ago is not held by it any more.
    """

    holder: Holder
    now: datetime
    grace: timedelta
    lapse: timedelta | None = None
    dry_run: bool = False

    @property
    def oldest_kept(self) -> datetime:
        return self.now - self.grace

    def is_own(self, hold: Hold) -> bool:
        return hold.holder == self.holder.id

    def has_lapsed(self, hold: Hold) -> bool:
        is_old = self.lapse is not None and hold.at < self.now - max(self.lapse, self.grace)
        return is_old and not self.is_own(hold)


@dataclass(frozen=True, slots=True)
class KeptBundle:
    """A bundle that stays, and every reason."""

    identity: str
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"identity": self.identity, "reasons": list(self.reasons)}


@dataclass(slots=True)
class Collected:
    """What was removed, or with `dry_run` would be."""

    dry_run: bool
    kept: list[KeptBundle] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    objects_removed: int = 0
    objects_kept: int = 0
    bytes_freed: int = 0
    bytes_kept: int = 0
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run,
            "bundles_removed": self.removed,
            "bundles_kept": [bundle.to_json() for bundle in self.kept],
            "holds_released": self.released,
            "objects_removed": self.objects_removed,
            "objects_kept": self.objects_kept,
            "bytes_freed": self.bytes_freed,
            "bytes_kept": self.bytes_kept,
            "problem": self.problem,
        }


def collect(
    store: SnapshotStore,
    wanted: Wanted,
    *,
    records: Callable[[], References],
    bundles: Callable[[], References],
) -> Collected:
    """One pass over the store. `records` and `bundles` tell what the project refers to.

    They are asked inside the latch, so that what was captured and approved just before is known.
    `bundles` reads whole bundles, and is asked only when the records leave something to remove.
    """
    latch = store.latch.shared() if wanted.dry_run else store.latch.exclusive()
    with latch as hold:
        done = Collected(wanted.dry_run)
        going = _mark(store, wanted, done, records, bundles)
        for shown in going:
            hold.require()
            if not wanted.dry_run:
                store.records.remove_bundle(shown.record.identity)
            done.removed.append(shown.record.identity)
        _sweep(store, wanted, done, hold)
        if not wanted.dry_run:
            done.bytes_freed += store.shelf.tidy()
    return done


def _mark(
    store: SnapshotStore,
    wanted: Wanted,
    done: Collected,
    records: Callable[[], References],
    bundles: Callable[[], References],
) -> list[Shown]:
    """The bundles that go; in `done` those that stay, and why."""
    references = records()
    shown = store.list()
    if any(not _reasons(one, references, wanted) for one in shown):
        for identity, reasons in bundles().items():
            references.setdefault(identity, []).extend(reasons)
    going = []
    for one in shown:
        identity = one.record.identity
        for hold in one.holds:
            is_let_go = wanted.is_own(hold) and identity not in references
            if (is_let_go and hold.at < wanted.oldest_kept) or wanted.has_lapsed(hold):
                done.released.append(identity)
                if not wanted.dry_run:
                    store.records.release(hold)
        if reasons := _reasons(one, references, wanted):
            done.kept.append(KeptBundle(identity, tuple(reasons)))
        else:
            going.append(one)
    return going


def _reasons(shown: Shown, references: References, wanted: Wanted) -> list[str]:
    reasons = [f"pinned by {pin.who}: {pin.why}" for pin in shown.pins]
    reasons += references.get(shown.record.identity, [])
    for hold in shown.holds:
        if not wanted.is_own(hold) and not wanted.has_lapsed(hold):
            reasons.append(f"held by {hold.project}")
        elif hold.at >= wanted.oldest_kept:
            reasons.append(f"captured at {hold.at.isoformat(timespec='seconds')}, within the grace")
    return reasons


def _sweep(store: SnapshotStore, wanted: Wanted, done: Collected, hold: LatchHold) -> None:
    gone = set(done.removed)
    try:
        live = _live(store, gone)
    except (DamagedObject, Refusal, BadInput) as error:
        done.problem = (
            f"no content was removed, because a kept bundle does not say what it lists: {error}; "
            "`testops snapshot verify` says what to do"
        )
        return
    removable = []
    for content in store.objects.list():
        if content.sha256 in live or content.stored_at >= wanted.oldest_kept:
            done.objects_kept += 1
            done.bytes_kept += content.size
        else:
            removable.append(content)
    for some in _batches(removable):
        hold.require()
        if not wanted.dry_run:
            store.objects.remove([content.sha256 for content in some])
        done.objects_removed += len(some)
        done.bytes_freed += sum(content.size for content in some)


def _live(store: SnapshotStore, gone: set[str]) -> set[str]:
    live: set[str] = set()
    for identity in store.records.identities():
        record = None if identity in gone else store.records.bundle(identity)
        if record is not None:
            live.add(record.manifest)
            live.update(digests_in(store.objects.get(record.manifest)).values())
    return live


def _batches(contents: Sequence[Content]) -> Iterator[Sequence[Content]]:
    return (contents[start : start + _AT_ONCE] for start in range(0, len(contents), _AT_ONCE))
