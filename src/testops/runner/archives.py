"""A project directory as one file that is equal when its content is, and a folder again.

What belongs to it is what git would commit: tracked files as they are now, and new ones that are
not ignored. Only plain files travel; nothing in an archive can be placed outside its folder.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testops.domain.errors import BadInput
from testops.runner.files import make_folder, not_writable, write_atomically
from testops.snapshots.gzip_layer import compress, decompress
from testops.snapshots.limits import MIB, Limits, size_text
from testops.snapshots.refusal import FOREIGN_FIX, Refusal
from testops.snapshots.tar import ByteStream, Member, read_members, tar_parts

LIMITS = Limits(
    file_bytes_max=256 * MIB,
    tar_bytes_max=512 * MIB,
    member_bytes_max=64 * MIB,
    member_count_max=50_000,
)
PATH_BYTES_MAX = 500
DEPTH_MAX = 40
_GIT_TIMEOUT_S = 60
_FICLONE = 0x40049409
_PACK_FIX = "pack a project folder with `testops workspaces add --archive`"


@dataclass(frozen=True, slots=True)
class Archive:
    """A packed project; `sha256` is of the file, which is equal when the content is."""

    sha256: str
    path: Path
    files: int


def pack(root: Path, target: Path) -> Archive:
    """Pack the project in `root` into the file `target`."""
    members = [_member(root, name) for name in _names(root)]
    parts = tar_parts(members)
    if (size := sum(map(len, parts))) > LIMITS.tar_bytes_max:
        raise BadInput(
            f"it has {size_text(size)}, more than the {size_text(LIMITS.tar_bytes_max)} of one",
            where=str(root),
            fix="ignore what a run does not need (.gitignore)",
        )
    packed = compress(b"".join(parts))
    write_atomically(target, packed)
    return Archive(hashlib.sha256(packed).hexdigest(), target, len(members))


def _names(root: Path) -> list[str]:
    # Variables such as GIT_DIR, set inside a hook, would point at another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *listing],  # noqa: S607 - git is found as the user finds it
            env=environment,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"git cannot list its files: {error}", where=str(root)) from error
    if done.returncode != 0:
        raise BadInput(
            "is not in a git repository, so nobody knows what belongs to it",
            where=str(root),
            fix="git init there, or add it as a path",
        )
    found = [name for name in os.fsdecode(done.stdout).split("\0") if name]
    # A tracked file that was removed and not yet committed is not there, as for a run in place.
    return [name for name in found if os.path.lexists(root / name)]


def _member(root: Path, name: str) -> Member:
    path = root / name
    try:
        require_path(name)
    except Refusal as refusal:
        raise BadInput(refusal.problem, where=str(path), fix="rename it") from refusal
    # A link is followed: what it leads to is what the project reads there.
    real = path.resolve()
    if not real.is_relative_to(root.resolve()) or not real.is_file():
        what = "a link that leads out of the project" if path.is_symlink() else "not a plain file"
        raise BadInput(
            f"is {what}", where=str(path), fix="replace it by a file, or ignore it (.gitignore)"
        )
    if (size := real.stat().st_size) > LIMITS.member_bytes_max:
        raise BadInput(
            f"has {size_text(size)}, more than the {size_text(LIMITS.member_bytes_max)} of a file",
            where=str(path),
            fix="ignore it (.gitignore)",
        )
    return Member(name, real.read_bytes(), bool(real.stat().st_mode & 0o100))


def require_path(path: str) -> None:
    """Refuse a name that could leave its folder, or reach into a repository."""
    segments = path.split("/")
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise Refusal(f"the member {path[:120]!r} is not UTF-8", fix=FOREIGN_FIX) from None
    if not path or len(encoded) > PATH_BYTES_MAX or len(segments) > DEPTH_MAX:
        problem = "has a name that is too long"
    elif not all(segments) or any(segment in (".", "..") for segment in segments):
        problem = "has a path that leads elsewhere"
    elif any(ord(character) < 32 or character in "\\\x7f" for character in path):
        problem = "has a path with a backslash or a control character"
    elif any(segment.lower() == ".git" for segment in segments):
        problem = "would be a part of a repository"
    elif any(len(segment.encode()) > 255 for segment in segments):
        problem = "has a name that is too long"
    else:
        return
    raise Refusal(f"the member {path[:120]!r} {problem}", fix=FOREIGN_FIX)


def unpack(archive: Path, folder: Path, *, limits: Limits = LIMITS) -> None:
    """Make `folder` the content of `archive`, whole or not at all; it must not exist yet.

    `BadInput` says why an archive is refused. Where two unpack the same at once, one of them wins
    and both have it.
    """
    make_folder(folder.parent)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", dir=folder.parent))
    try:
        with archive.open("rb") as file:
            stream = ByteStream(decompress(file, limits=limits))
            for member in read_members(stream, limits=limits, require_path=require_path):
                _place(staged, member)
        # mkdtemp keeps others out; a project is as readable as any other folder.
        staged.chmod(0o755)
        _settle(staged, folder)
    except Refusal as refusal:
        fix = _PACK_FIX if refusal.fix == FOREIGN_FIX else refusal.fix
        raise BadInput(refusal.problem, where=archive.name, fix=fix) from refusal
    except OSError as error:
        raise not_writable(folder, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _place(staged: Path, member: Member) -> None:
    path = staged / member.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Every folder was made here and nothing is a link, so the path leads where it says.
        with path.open("xb") as file:
            file.write(member.content)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise Refusal(
            f"the member {member.path[:120]!r} is a file and a folder at once", fix=FOREIGN_FIX
        ) from None
    path.chmod(0o755 if member.executable else 0o644)


def _settle(staged: Path, folder: Path) -> None:
    try:
        staged.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def copy_tree(source: Path, target: Path) -> None:
    """A copy of the folder `source` that shares no file with it; blocks only where they can be."""
    make_folder(target.parent)
    staged = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", dir=target.parent))
    try:
        for path in _files_of(source):
            place = staged / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            _clone(path, place)
            shutil.copymode(path, place)
        staged.chmod(0o755)
        _settle(staged, target)
    except OSError as error:
        raise not_writable(target, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _files_of(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield Path(place, name)


def _clone(source: Path, target: Path) -> None:
    with source.open("rb") as given, target.open("xb") as made:
        if sys.platform == "linux":
            import fcntl

            try:
                fcntl.ioctl(made, _FICLONE, given.fileno())
            except OSError:
                # Most file systems cannot share blocks.
                shutil.copyfileobj(given, made, 1 << 20)
        else:
            shutil.copyfileobj(given, made, 1 << 20)
