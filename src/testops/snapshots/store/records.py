"""What the store knows of a bundle besides its contents, each fact in a file of its own.

    bundles/<identity>.json               what it is; says nothing but what its content says
    holds/<identity>/<holder>.json        which project captured it, from what, when, by whom
    pins/<identity>/<time>-<token>.json   who pinned or unpinned it, and why; never rewritten

So no two processes ever change one file, and no file has to be read to be changed.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput
from testops.snapshots.canonical import integer_json
from testops.snapshots.objects.ports import Shelf

SCHEMA_VERSION = 1
Body = dict[str, Any]
Record = TypeVar("Record")
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FIX = "`testops snapshot capture --rewrite BUNDLE` writes it anew, or restore it from a copy"


@dataclass(frozen=True, slots=True)
class BundleRecord:
    """A kept bundle; `manifest` is the sha256 of its manifest, which lists all other files."""

    identity: str
    manifest: str
    key: BundleKey
    sim_seed: int
    chaos_seed: int
    file_count: int
    size: int

    def to_json(self) -> Body:
        return {
            "schema_version": SCHEMA_VERSION,
            "identity": self.identity,
            "manifest": self.manifest,
            "suite": self.key.suite,
            "profile": self.key.profile,
            "engine_version": self.key.engine_version,
            "python": self.key.python,
            "seeds": {
                "sim": integer_json(self.sim_seed),
                "chaos": integer_json(self.chaos_seed),
            },
            "file_count": self.file_count,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Hold:
    """That a project captured a bundle. `packed` is the sha256 of the file that was captured."""

    identity: str
    holder: str
    project: str
    source: str
    run_id: str | None
    packed: str | None
    who: str
    at: datetime

    def to_json(self) -> Body:
        return {
            "schema_version": SCHEMA_VERSION,
            "holder": self.holder,
            "project": self.project,
            "source": self.source,
            "run_id": self.run_id,
            "packed": self.packed,
            "who": self.who,
            "at": self.at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class PinEvent:
    """That a person pinned (`is_pin`) or unpinned a bundle."""

    identity: str
    is_pin: bool
    who: str
    why: str
    at: datetime

    def to_json(self) -> Body:
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "pin" if self.is_pin else "unpin",
            "who": self.who,
            "why": self.why,
            "at": self.at.isoformat(),
        }


class Records:
    """The records of one shelf; a file that cannot be read is BadInput that names it."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def identities(self) -> list[str]:
        """The identities of all kept bundles, sorted."""
        return [_stem(entry.name) for entry in self._shelf.entries("bundles")]

    def has(self, identity: str) -> bool:
        return self._shelf.entry(f"bundles/{identity}.json") is not None

    def bundle(self, identity: str) -> BundleRecord | None:
        name = f"bundles/{identity}.json"
        content = self._shelf.read(name)
        if content is None:
            return None
        record = self._believed(name, content, _bundle_record)
        if record.identity != identity:
            raise self._damaged(name, "is the record of another bundle")
        return record

    def keep_bundle(self, record: BundleRecord) -> None:
        self._shelf.write(f"bundles/{record.identity}.json", _spelled(record.to_json()))

    def remove_bundle(self, identity: str) -> None:
        """Remove all records of a bundle. Its own first: the others mean nothing without it."""
        self._shelf.remove(f"bundles/{identity}.json")
        for kind in ("holds", "pins"):
            for entry in self._shelf.entries(f"{kind}/{identity}"):
                self._shelf.remove(entry.name)

    def keep_hold(self, hold: Hold) -> None:
        self._shelf.write(f"holds/{hold.identity}/{hold.holder}.json", _spelled(hold.to_json()))

    def release(self, hold: Hold) -> None:
        self._shelf.remove(f"holds/{hold.identity}/{hold.holder}.json")

    def holds(self, identity: str | None = None) -> list[Hold]:
        """The holds on one bundle, or on all."""
        return self._read_all(f"holds/{identity or ''}", _hold)

    def keep_pin(self, event: PinEvent, *, token: str) -> None:
        at = event.at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self._shelf.write(f"pins/{event.identity}/{at}-{token}.json", _spelled(event.to_json()))

    def pin_events(self, identity: str | None = None) -> list[PinEvent]:
        """What was pinned and unpinned, oldest first within each bundle."""
        events = list(self._read_all(f"pins/{identity or ''}", _pin_event))
        # At one moment a pin counts as the later one: who wants it kept is asked nothing more.
        return sorted(events, key=lambda event: (event.identity, event.at, event.is_pin))

    def _read_all(self, prefix: str, read: Callable[[str, Body], Record]) -> list[Record]:
        found = []
        for entry in self._shelf.entries(prefix.rstrip("/")):
            content = self._shelf.read(entry.name)
            if content is not None:  # else it was removed while we looked
                found.append(self._believed(entry.name, content, read))
        return found

    def _believed(self, name: str, content: bytes, read: Callable[[str, Body], Record]) -> Record:
        try:
            body = json.loads(content)
            version = body["schema_version"]
            if version == SCHEMA_VERSION:
                return read(name, body)
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(name, f"cannot be read ({error!r})") from error
        raise BadInput(
            f"has the schema_version {str(version)[:40]}, and this program reads {SCHEMA_VERSION}",
            where=f"{self._shelf.shown()}/{name}",
            fix="update ryuzen-testops",
        )

    def _damaged(self, name: str, problem: str) -> BadInput:
        return BadInput(problem, where=f"{self._shelf.shown()}/{name}", fix=_FIX)


def pinned_by(events: list[PinEvent]) -> Mapping[str, list[PinEvent]]:
    """The pins that hold each bundle now; an unpin ends all that were before it."""
    held: dict[str, list[PinEvent]] = {}
    for event in events:
        held[event.identity] = [*held.get(event.identity, []), event] if event.is_pin else []
    return {identity: pins for identity, pins in held.items() if pins}


def _bundle_record(_name: str, body: Body) -> BundleRecord:
    key = BundleKey(body["suite"], body["profile"], body["engine_version"], body["python"])
    return BundleRecord(
        identity=body["identity"],
        manifest=require_digest(body["manifest"]),
        key=key,
        sim_seed=int(body["seeds"]["sim"]),
        chaos_seed=int(body["seeds"]["chaos"]),
        file_count=int(body["file_count"]),
        size=int(body["size"]),
    )


def _hold(name: str, body: Body) -> Hold:
    _, identity, file = name.split("/")
    return Hold(
        identity=require_digest(identity),
        holder=_stem(file),
        project=body["project"],
        source=body["source"],
        run_id=body["run_id"],
        packed=body["packed"],
        who=body["who"],
        at=datetime.fromisoformat(body["at"]),
    )


def _pin_event(name: str, body: Body) -> PinEvent:
    return PinEvent(
        identity=require_digest(name.split("/")[1]),
        is_pin={"pin": True, "unpin": False}[body["kind"]],
        who=body["who"],
        why=body["why"],
        at=datetime.fromisoformat(body["at"]),
    )


def require_digest(text: object) -> str:
    """`text`, which is a sha256; ValueError for anything else, which could leave its folder."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise ValueError(f"{str(text)[:80]!r} is not a sha256")
    return text


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".json")


def _spelled(body: Body) -> bytes:
    return (json.dumps(body, indent=2, ensure_ascii=False) + "\n").encode()
