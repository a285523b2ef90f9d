"""A bundle on disk: what one run's behaviour was, in one file that is equal when behaviour is.

Its identity is the sha256 of the uncompressed tar. For an unpacked bundle, and for one that another
program packed again, it is the hash of the tar that this module would write: the same content has
one identity, whatever carried it, and nothing about a member but its path and content counts.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from testops.domain.errors import BadInput
from testops.snapshots.atomic import replace_file, replace_folder
from testops.snapshots.gzip_layer import compress, decompress
from testops.snapshots.limits import LIMITS, Limits, size_text
from testops.snapshots.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    BundleHeader,
    FileDigest,
    digest_of,
)
from testops.snapshots.paths import require_distinct, require_safe_path
from testops.snapshots.refusal import FOREIGN_FIX, Refusal
from testops.snapshots.schemas import known
from testops.snapshots.tar import ByteStream, Member, read_members, require_room, write_tar

SUFFIX = ".tar.gz"
_FOLDER_DEPTH_MAX = 8


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read and believed: every digest held. `files` leaves the manifest out.

    `files` are as the newest schema has them; `identity` is of what is stored, in `schema_version`.
    They may be read when they are asked for, and are then held against `digests` again.
    """

    header: BundleHeader
    identity: str
    files: Mapping[str, bytes]
    origin: Path
    digests: Mapping[str, FileDigest]
    # Of the stored bytes of the manifest, which say everything else.
    manifest_sha256: str
    schema_version: int = SCHEMA_VERSION


def write_bundle(target: Path, header: BundleHeader, files: Mapping[str, bytes]) -> str:
    """The identity of the bundle that `target` holds afterwards, whole or not at all.

    Raises OutputNotWritable (disk full, no permission), or BadInput for a bundle beyond the limits
    that a reader keeps.
    """
    try:
        return write_stored(target, members_of(header, files))
    except Refusal as refusal:
        raise _too_much(refusal, target) from refusal


def write_stored(target: Path, members: Mapping[str, bytes]) -> str:
    """Like `write_bundle`, for members that are those of a bundle already, in whichever schema."""
    try:
        tar = write_tar(members)
        packed = compress(tar)
        _require_readable(tar_bytes=len(tar), packed_bytes=len(packed), limits=LIMITS)
    except Refusal as refusal:
        raise _too_much(refusal, target) from refusal
    replace_file(target, packed)
    return hashlib.sha256(tar).hexdigest()


def _too_much(refusal: Refusal, target: Path) -> BadInput:
    return BadInput(
        refusal.problem, where=str(target), fix="record less, or fewer seeds in one bundle"
    )


def read_bundle(path: Path) -> Bundle:
    """The bundle at `path`, a `.tar.gz` or an unpacked folder; BadInput says why it is refused."""
    bundle, _ = read_stored(path)
    return bundle


def read_stored(path: Path) -> tuple[Bundle, Mapping[str, bytes]]:
    """Like `read_bundle`, and all members as they are stored, in whichever schema."""
    try:
        if path.is_dir():
            members = dict(unpacked_files(path))
        else:
            members = {member.path: member.content for member in packed_members(path)}
        found = known().understood(members)
    except Refusal as refusal:
        raise BadInput(refusal.problem, where=str(path), fix=refusal.fix) from refusal
    except OSError as error:
        raise BadInput(
            f"cannot be read ({error.strerror or error})",
            where=str(path),
            fix="name an existing bundle that you may read",
        ) from error
    bundle = Bundle(
        header=found.header,
        identity=hashlib.sha256(write_tar(found.stored)).hexdigest(),
        files=found.files,
        origin=path,
        digests={name: digest_of(content) for name, content in found.files.items()},
        manifest_sha256=hashlib.sha256(members[MANIFEST]).hexdigest(),
        schema_version=found.version,
    )
    return bundle, found.stored


def unpack_bundle(source: Path, folder: Path) -> None:
    """Make `folder` the unpacked bundle at `source`, replacing the one that was there.

    Safe to kill at any moment; the next call repairs. Refuses to replace a folder that holds
    anything else than an unpacked bundle.
    """
    bundle = read_bundle(source)
    unpack_stored(members_of(bundle.header, bundle.files), folder)


def unpack_stored(members: Mapping[str, bytes], folder: Path) -> None:
    """Like `unpack_bundle`, for members that are those of a bundle already."""
    _require_ours(folder)
    replace_folder(folder, members)


def is_unpacked(path: Path) -> bool:
    """Whether a folder is itself a bundle, and not a folder of bundles."""
    return (path / MANIFEST).is_file()


def bundles_below(path: Path, *, depth_max: int | None = None) -> Iterator[Path]:
    """The places of all bundles at `path`: itself, or those in the folder that it is, sorted.

    Links to folders are not followed, so that the search ends; `depth_max` ends it sooner.
    """
    if not path.is_dir() or is_unpacked(path):
        yield path
        return
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            if entry.name.endswith(SUFFIX):
                yield entry
        elif not entry.is_symlink() and (depth_max != 0 or is_unpacked(entry)):
            yield from bundles_below(entry, depth_max=None if depth_max is None else depth_max - 1)


def members_of(header: BundleHeader, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Everything that the newest schema puts into a bundle of `files`; Refusal when it cannot."""
    members = {**files, MANIFEST: known().newest.manifest(header, files)}
    if MANIFEST in files:
        raise Refusal(f"a file named {MANIFEST} cannot be put into a bundle")
    require_distinct(members)
    for path, content in members.items():
        require_safe_path(path)
        require_room(path, len(content), member_count=len(members), limits=LIMITS)
    return members


def _require_readable(*, tar_bytes: int, packed_bytes: int, limits: Limits) -> None:
    if tar_bytes > limits.tar_bytes_max or packed_bytes > limits.file_bytes_max:
        raise Refusal(f"the bundle would have {size_text(tar_bytes)}, too much to read back")
    if limits.is_bomb(packed_bytes=packed_bytes, unpacked_bytes=tar_bytes):
        raise Refusal(f"the bundle would unpack to more than {limits.ratio_max} times its size")


def packed_members(path: Path) -> Iterator[Member]:
    """The plain files in a `.tar.gz`, one at a time; believed only when this has come to its end.

    Refusal for what is no bundle by its layers; the manifest is not looked at.
    """
    status = path.stat()  # before opening: to open a named pipe would wait for its other end
    if not stat.S_ISREG(status.st_mode):
        raise Refusal("it is neither a file nor a folder", fix="name a bundle")
    if status.st_size > LIMITS.file_bytes_max:
        raise Refusal(f"it has {size_text(status.st_size)}, which no bundle has")
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            raise Refusal("it is not a gzip file", fix=f"name a bundle (NAME{SUFFIX})")
        file.seek(0)
        stream = ByteStream(decompress(file))
        yield from read_members(stream, limits=LIMITS, require_path=require_safe_path)


def unpacked_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files of an unpacked bundle, one at a time; Refusal for what no bundle holds."""
    total = 0
    for count, (path, entry) in enumerate(_walk(folder), start=1):
        require_safe_path(path)
        size = entry.stat(follow_symlinks=False).st_size
        require_room(path, size, member_count=count, limits=LIMITS)
        total += size
        if total > LIMITS.tar_bytes_max:
            raise Refusal(f"it holds more than {size_text(LIMITS.tar_bytes_max)}")
        yield path, Path(entry.path).read_bytes()


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    if prefix.count("/") > _FOLDER_DEPTH_MAX:
        raise Refusal(f"its folders are nested deeper than {_FOLDER_DEPTH_MAX}", fix=FOREIGN_FIX)
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), prefix=f"{path}/")
        elif entry.is_file(follow_symlinks=False):
            yield path, entry
        else:
            raise Refusal(f"{path!r} in it is a link or a device, not a file", fix=FOREIGN_FIX)


def _require_ours(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BadInput("is not a folder", where=str(folder), fix="remove it, then run again")
    if not folder.is_dir():
        return
    foreign = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.name not in (MANIFEST, "kernels", "traces")
    )
    if foreign:
        raise BadInput(
            f"holds {foreign[0]!r}, which no bundle has, so it is not replaced",
            where=str(folder),
            fix="move that away, or name another folder",
        )
