"""`manifest.json`, schema 1: what a bundle is about, and the digest of each file in it.

It holds no run id, commit, host or time, so that equal behaviour at another commit is an equal
bundle. Reading checks sizes and digests before anything inside is believed.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from testops.domain.bundle_key import BundleKey
from testops.domain.seeds import SEED_COUNT
from testops.snapshots.canonical import SAFE_INTEGER_MAX, Json, canonical, integer_json, parse
from testops.snapshots.paths import require_distinct, require_safe_path
from testops.snapshots.refusal import DAMAGED_FIX, Refusal

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
_FIELDS = (
    "schema_version",
    "suite",
    "profile",
    "sim_seed",
    "chaos_seed",
    "engine_version",
    "python",
    "masks_version",
    "files",
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_ENGINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,60}\.(?:0|[1-9][0-9]{0,8})", re.ASCII)
_PYTHON = re.compile(r"[1-9][0-9]?\.(?:0|[1-9][0-9]?)", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class FileDigest(NamedTuple):
    """What a file holds: its size in bytes and its sha256."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BundleHeader:
    """Everything in the manifest but the list of files. ValueError when a field is malformed."""

    suite: str
    profile: str
    sim_seed: int
    chaos_seed: int
    engine_version: str
    python: str
    masks_version: str

    def __post_init__(self) -> None:
        for name, pattern in _TEXT_FIELDS.items():
            if not pattern.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)!r} is malformed")
        for name in ("sim_seed", "chaos_seed"):
            if not 0 <= getattr(self, name) < SEED_COUNT:
                raise ValueError(f"{name} {getattr(self, name)!r} is not a seed (0 to 2^64-1)")

    @property
    def key(self) -> BundleKey:
        return BundleKey(self.suite, self.profile, self.engine_version, self.python)

    def to_json(self) -> dict[str, Json]:
        return {
            "suite": self.suite,
            "profile": self.profile,
            "sim_seed": integer_json(self.sim_seed),
            "chaos_seed": integer_json(self.chaos_seed),
            "engine_version": self.engine_version,
            "python": self.python,
            "masks_version": self.masks_version,
        }


_TEXT_FIELDS: Mapping[str, re.Pattern[str]] = {
    "suite": _NAME,
    "profile": _NAME,
    "engine_version": _ENGINE,
    "python": _PYTHON,
    "masks_version": _DIGEST,
}


def digest_of(content: bytes) -> FileDigest:
    """What a manifest says of a file."""
    return FileDigest(len(content), hashlib.sha256(content).hexdigest())


def write_manifest(header: BundleHeader, files: Mapping[str, bytes]) -> bytes:
    """The manifest of `files` (which do not include the manifest itself)."""
    return spell_manifest(header, {path: digest_of(content) for path, content in files.items()})


def spell_manifest(header: BundleHeader, digests: Mapping[str, FileDigest]) -> bytes:
    """The manifest of files whose digests are known."""
    listed: list[Json] = [
        {"path": path, "sha256": digests[path].sha256, "size": digests[path].size}
        for path in sorted(digests, key=str.encode)
    ]
    return canonical({"schema_version": SCHEMA_VERSION, **header.to_json(), "files": listed})


def verify_manifest(members: Mapping[str, bytes]) -> BundleHeader:
    """The header, after every member was found listed, and every listed file found unchanged."""
    if MANIFEST not in members:
        raise Refusal(_NO_MANIFEST)
    digests = {path: digest_of(content) for path, content in members.items() if path != MANIFEST}
    return verify_digests(members[MANIFEST], digests)


_NO_MANIFEST = f"it has no {MANIFEST}, so it is not a bundle"


def verify_digests(manifest: bytes | None, digests: Mapping[str, FileDigest]) -> BundleHeader:
    """The header in the bytes of a manifest that says exactly these digests of its files."""
    if manifest is None:
        raise Refusal(_NO_MANIFEST)
    document = _manifest_document(manifest)
    require_distinct([MANIFEST, *digests])
    listed = _listed_files(document["files"])
    for path in digests:
        if path not in listed:
            raise Refusal(f"the file {path!r} is not listed in {MANIFEST}")
    for path, expected in listed.items():
        _require_unchanged(path, digests.get(path), expected)
    return _header_of(document)


def _manifest_document(raw: bytes) -> dict[str, Json]:
    try:
        document = parse(raw)
    except Refusal as refusal:
        raise Refusal(f"its {MANIFEST} cannot be read: {refusal.problem}") from refusal
    if not isinstance(document, dict):
        raise Refusal(f"its {MANIFEST} is not an object")
    _require_schema(document.get("schema_version"))
    for name in _FIELDS:
        if name not in document:
            raise Refusal(f"its {MANIFEST} has no {name!r}")
    for name in document:
        if name not in _FIELDS:
            raise Refusal(f"its {MANIFEST} has the unknown field {name[:80]!r}")
    return document


def _require_schema(version: Json) -> None:
    if version is True or version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        raise Refusal(
            f"its schema_version is {str(version)[:40]}, and this program reads {SCHEMA_VERSION}",
            fix="update ryuzen-testops" if newer else DAMAGED_FIX,
        )


def _listed_files(listed: Json) -> dict[str, FileDigest]:
    if not isinstance(listed, list):
        raise Refusal(f"in its {MANIFEST}, 'files' is not a list")
    found: dict[str, FileDigest] = {}
    for index, item in enumerate(listed):
        match item:
            case {"path": str(path), "sha256": str(digest), "size": int(size), **rest} if (
                not rest and _DIGEST.fullmatch(digest) and not isinstance(size, bool) and size >= 0
            ):
                require_safe_path(path)
            case _:
                raise Refusal(f"in its {MANIFEST}, files/{index} is not a path, sha256 and size")
        if path in found or path == MANIFEST:
            raise Refusal(f"in its {MANIFEST}, {path!r} is listed twice")
        found[path] = FileDigest(size, digest)
    return found


def _require_unchanged(path: str, found: FileDigest | None, expected: FileDigest) -> None:
    if found is None:
        raise Refusal(f"the file {path!r} is listed in {MANIFEST} and missing")
    if found.size != expected.size:
        raise Refusal(
            f"the file {path!r} has {found.size} bytes, and {MANIFEST} says {expected.size}"
        )
    if found.sha256 != expected.sha256:
        raise Refusal(f"the file {path!r} does not match its sha256 in {MANIFEST}")


def _header_of(document: Mapping[str, Json]) -> BundleHeader:
    try:
        return BundleHeader(
            suite=_text(document, "suite"),
            profile=_text(document, "profile"),
            sim_seed=seed_of(document, "sim_seed"),
            chaos_seed=seed_of(document, "chaos_seed"),
            engine_version=_text(document, "engine_version"),
            python=_text(document, "python"),
            masks_version=_text(document, "masks_version"),
        )
    except ValueError as error:
        raise Refusal(f"in its {MANIFEST}, {error}") from error


def _text(document: Mapping[str, Json], name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text")  # noqa: TRY004 - one class for a malformed field
    return value


def seed_of(document: Mapping[str, Json], name: str) -> int:
    """The seed in a field: an integer, or decimal digits where a double cannot hold it."""
    match document.get(name):
        case int(value) if not isinstance(value, bool) and 0 <= value <= SAFE_INTEGER_MAX:
            return value
        case str(digits) if _is_large_seed(digits):
            return int(digits)
        case other:
            raise ValueError(f"{name} {str(other)[:40]!r} is not a seed (0 to 2^64-1)")


def _is_large_seed(digits: str) -> bool:
    return (
        digits.isascii()
        and digits.isdigit()
        and len(digits) <= 20
        and not digits.startswith("0")
        and SAFE_INTEGER_MAX < int(digits) < SEED_COUNT
    )
