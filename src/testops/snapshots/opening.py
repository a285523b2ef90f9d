"""Opens a bundle without holding it: its digests are known, each content is read when asked for.

The same refusals and the same identity as `read_bundle`, in memory that does not grow with the
bundle. An unpacked bundle whose files are remembered is not read at all; a packed one is read once
to be believed, and small ones are then held.
"""

import hashlib
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from testops.domain.errors import BadInput
from testops.snapshots import schemas
from testops.snapshots.bundle import Bundle, packed_members, read_bundle, unpacked_files
from testops.snapshots.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    BundleHeader,
    FileDigest,
    digest_of,
    spell_manifest,
    verify_digests,
)
from testops.snapshots.memory import Known, Memory, listing_of
from testops.snapshots.refusal import Refusal
from testops.snapshots.tar import Member, hash_of_tar

_HELD_BYTES_MAX = 8 * 1024 * 1024
_CHANGED_FIX = "compare again when nobody writes to it"


def open_bundle(path: Path, memory: Memory | None = None) -> Bundle:
    """The bundle at `path`, a `.tar.gz` or an unpacked folder; BadInput says why it is refused."""
    # What an older schema says is known when all of it was migrated, and that takes all of it.
    if schemas.known().newest.version != SCHEMA_VERSION:
        return read_bundle(path)
    try:
        return _open_folder(path, memory) if path.is_dir() else _open_file(path, memory)
    except Refusal as refusal:
        raise BadInput(refusal.problem, where=str(path), fix=refusal.fix) from refusal
    except OSError as error:
        raise BadInput(
            f"cannot be read ({error.strerror or error})",
            where=str(path),
            fix="name an existing bundle that you may read",
        ) from error


class Contents(Mapping[str, bytes]):
    """The files of a bundle, each read and held against its digest when it is asked for."""

    def __init__(
        self, origin: Path, digests: Mapping[str, FileDigest], read: Callable[[str], bytes]
    ) -> None:
        self._origin = origin
        self._digests = digests
        self._read = read

    # `typing.override` is of Python 3.12.
    def __getitem__(self, path: str) -> bytes:  # type: ignore[explicit-override]
        expected = self._digests[path]
        try:
            content = self._read(path)
        except (OSError, KeyError, Refusal) as error:
            raise self._changed(f"{path!r} in it cannot be read again ({error})") from error
        if digest_of(content) != expected:
            raise self._changed(f"{path!r} in it is no longer what its manifest says")
        return content

    def __contains__(self, path: object) -> bool:  # type: ignore[explicit-override]
        return path in self._digests

    def __iter__(self) -> Iterator[str]:  # type: ignore[explicit-override]
        return iter(self._digests)

    def __len__(self) -> int:  # type: ignore[explicit-override]
        return len(self._digests)

    def _changed(self, problem: str) -> BadInput:
        return BadInput(problem, where=str(self._origin), fix=_CHANGED_FIX)


def _folder_contents(origin: Path, digests: Mapping[str, FileDigest]) -> Contents:
    def read(path: str) -> bytes:
        descriptor = os.open(origin / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(digests[path].size + 1)

    return Contents(origin, digests, read)


class _Spool:
    """A packed bundle, unpacked once more into a file without a name when it is first read."""

    def __init__(self, origin: Path) -> None:
        self._origin = origin
        self._file: BinaryIO | None = None
        self._places: dict[str, tuple[int, int]] = {}

    def read(self, path: str) -> bytes:
        if self._file is None:
            self._file = self._unpacked()
        offset, size = self._places[path]
        self._file.seek(offset)
        return self._file.read(size)

    def _unpacked(self) -> BinaryIO:
        # Open until nobody has the bundle any more, who could ask for its contents.
        spool = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, spool.close)
        for member in packed_members(self._origin):
            self._places[member.path] = spool.tell(), len(member.content)
            spool.write(member.content)
        return spool


def _open_folder(path: Path, memory: Memory | None) -> Bundle:
    if memory is not None:
        found = memory.index.digests(path)
    else:
        found = {name: digest_of(content) for name, content in unpacked_files(path)}
    digests = {name: found[name] for name in sorted(found) if name != MANIFEST}
    manifest = (path / MANIFEST).read_bytes() if MANIFEST in found else None
    if manifest is not None and digest_of(manifest) != found[MANIFEST]:
        raise Refusal(f"its {MANIFEST} changed while it was read", fix=_CHANGED_FIX)
    files = _folder_contents(path, digests)
    return _bundle(path, manifest, files, digests, memory)


def _open_file(path: Path, memory: Memory | None) -> Bundle:
    digests: dict[str, FileDigest] = {}
    held: dict[str, bytes] | None = {}
    held_bytes, manifest = 0, None
    for member in packed_members(path):
        if member.path == MANIFEST:
            manifest = member.content
            continue
        digests[member.path] = digest_of(member.content)
        held_bytes += len(member.content)
        if held_bytes > _HELD_BYTES_MAX:
            held = None
        elif held is not None:
            held[member.path] = member.content
    digests = {name: digests[name] for name in sorted(digests)}
    files: Mapping[str, bytes] = Contents(path, digests, _Spool(path).read)
    if held is not None:
        files = {name: held[name] for name in digests}
    return _bundle(path, manifest, files, digests, memory)


def _bundle(
    path: Path,
    manifest: bytes | None,
    files: Mapping[str, bytes],
    digests: Mapping[str, FileDigest],
    memory: Memory | None,
) -> Bundle:
    manifest_sha256 = hashlib.sha256(manifest or b"").hexdigest()
    known = memory.known(manifest_sha256) if memory is not None else None
    if known is None or known.listing != listing_of(digests):
        header = verify_digests(manifest, digests)
        known = Known(_identity_of(header, files, digests), listing_of(digests), header)
        if memory is not None:
            memory.remember(manifest_sha256, known)
    return Bundle(
        header=known.header,
        identity=known.identity,
        files=files,
        origin=path,
        digests=digests,
        manifest_sha256=manifest_sha256,
    )


def _identity_of(
    header: BundleHeader, files: Mapping[str, bytes], digests: Mapping[str, FileDigest]
) -> str:
    manifest = spell_manifest(header, digests)
    names = sorted([MANIFEST, *digests], key=str.encode)
    return hash_of_tar(
        Member(name, manifest if name == MANIFEST else files[name]) for name in names
    )
