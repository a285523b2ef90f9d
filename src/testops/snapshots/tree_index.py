"""Digests of the files of a folder; a file is read once for each change of it, not once a question.

Kept for each folder in a file of the index: path, size, times, inode and sha256 of each of its
files. A file is believed unread when all of size, mtime, ctime and inode are what they were when it
was read, and when it was older than that reading. The last condition is git's "racy" problem: two
writes within one tick of the clock leave equal times, so what was written in the tick in which it
was read is read again. "Now" is the time that the file system gives to a file of ours, because
that clock stamps the others.

The index is a cache and never evidence: damaged or missing it is made again, not writable it is
left out, and `recheck` reads every file and names the edits that kept all four facts. What a bundle
is, and whether its manifest holds, belongs to `bundle`.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from testops.domain.errors import BadInput, OutputNotWritable
from testops.snapshots.atomic import replace_file
from testops.snapshots.limits import LIMITS, Limits, size_text
from testops.snapshots.manifest import FileDigest
from testops.snapshots.paths import require_safe_path
from testops.snapshots.refusal import FOREIGN_FIX, Refusal
from testops.snapshots.tar import require_room

_FORMAT = "testops-tree-index-1"
_SUFFIX = ".tree"
_CLOCK = "clock"
_DEPTH_MAX = 8
_INDEX_BYTES_MAX = 64 * 1024 * 1024
_READ_AT_ONCE = 1024 * 1024
_SECOND_NS = 1_000_000_000
# A kernel's clock for files ticks every 1 to 10 ms. File systems that keep whole seconds (or, FAT,
# even ones) are known by a ctime without a fraction.
_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2 * _SECOND_NS

Stamp = tuple[int, int, int, int]  # size, mtime in ns, ctime in ns, inode


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a folder by path (sorted by bytes), and what it took to know their digests."""

    files: Mapping[str, FileDigest]
    files_read: int
    files_believed: int
    # Why the next question will read the files again; empty when the index was kept.
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Edited:
    """A file that changed while its size, times and inode stayed what they were."""

    path: str
    expected: str
    found: str


class _Known(NamedTuple):
    stamp: Stamp
    sha256: str


class TreeIndex:
    """The index of any number of folders, kept in the folder `home`."""

    def __init__(self, home: Path, *, limits: Limits = LIMITS) -> None:
        self._home = home
        self._limits = limits

    def digests(self, folder: Path) -> Mapping[str, FileDigest]:
        """Size and sha256 of every file under `folder`; BadInput says why it cannot be read."""
        return self.tree(folder).files

    def tree(self, folder: Path) -> Tree:
        """`digests`, and how much of it was read."""
        tree, _ = self._look(folder, believe=True)
        return tree

    def recheck(self, folder: Path) -> tuple[Tree, list[Edited]]:
        """Every file read again, and each one that is not what the index believed it to be."""
        return self._look(folder, believe=False)

    def forget_missing(self) -> int:
        """Remove what is kept of folders that are no more; how many that were."""
        removed = 0
        for place in sorted(self._home.glob(f"*{_SUFFIX}")) if self._home.is_dir() else []:
            header = _header_of(_bytes_at(place))
            if header is None or not Path(str(header.get("folder"))).is_dir():
                place.unlink(missing_ok=True)
                removed += 1
        return removed

    def _look(self, folder: Path, *, believe: bool) -> tuple[Tree, list[Edited]]:
        try:
            return self._read(folder.resolve(strict=True), believe=believe)
        except Refusal as refusal:
            raise BadInput(refusal.problem, where=str(folder), fix=refusal.fix) from refusal
        except OSError as error:
            raise BadInput(
                f"cannot be read ({error.strerror or error})",
                where=str(folder),
                fix="name a folder that you may read and that nobody writes to",
            ) from error

    def _read(self, folder: Path, *, believe: bool) -> tuple[Tree, list[Edited]]:
        now_ns = self._filesystem_now_ns()
        place = self._place(folder)
        known = _known_at(place, folder)
        files: dict[str, FileDigest] = {}
        kept: dict[str, _Known] = {}
        edited: list[Edited] = []
        files_read = total = 0
        for path, entry in _walk(folder, known):
            before = _stamp(entry.stat(follow_symlinks=False))
            total += before[0]
            self._require_room(path, before[0], count=len(files) + 1, total=total)
            former = known.get(path)
            if former is not None and former.stamp == before and believe:
                files[path] = FileDigest(before[0], former.sha256)
                kept[path] = former
                continue
            found, after = _hashed(entry.path)
            files[path] = found
            files_read += 1
            if former is not None and former.stamp == before and former.sha256 != found.sha256:
                edited.append(Edited(path, expected=former.sha256, found=found.sha256))
            if before == after and now_ns is not None and _is_settled(after, now_ns):
                kept[path] = _Known(after, found.sha256)
        # Without a clock nothing was kept, and writing says why.
        is_kept = kept == known and now_ns is not None
        problem = "" if is_kept else self._keep(place, folder, kept)
        ordered = {path: files[path] for path in sorted(files)}
        return Tree(ordered, files_read, len(files) - files_read, problem), edited

    def _require_room(self, path: str, size: int, *, count: int, total: int) -> None:
        require_room(path, size, member_count=count, limits=self._limits)
        if total > self._limits.tar_bytes_max:
            raise Refusal(f"it holds more than {size_text(self._limits.tar_bytes_max)}")

    def _place(self, folder: Path) -> Path:
        return self._home / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}{_SUFFIX}"

    def _filesystem_now_ns(self) -> int | None:
        """The time by the clock that stamps files; None where no file of ours can be written."""
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._home / _CLOCK, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.utime(descriptor)
                return os.fstat(descriptor).st_mtime_ns
            finally:
                os.close(descriptor)
        except OSError:
            return None

    def _keep(self, place: Path, folder: Path, kept: Mapping[str, _Known]) -> str:
        rows = [[path, *known.stamp, known.sha256] for path, known in kept.items()]
        body = json.dumps(rows, separators=(",", ":")).encode()
        header = {
            "format": _FORMAT,
            "folder": str(folder),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        try:
            replace_file(place, json.dumps(header).encode() + b"\n" + body)
        except OutputNotWritable as error:
            return f"what was read is not remembered: {error}"
        return ""


def _walk(folder: Path, known: Mapping[str, _Known]) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    waiting = [("", str(folder))]
    while waiting:
        prefix, place = waiting.pop()
        if prefix.count("/") > _DEPTH_MAX:
            raise Refusal(f"its folders are nested deeper than {_DEPTH_MAX}", fix=FOREIGN_FIX)
        with os.scandir(place) as listing:
            for entry in listing:
                path = prefix + entry.name
                if entry.is_file(follow_symlinks=False):
                    if path not in known:  # a known one was found safe before
                        require_safe_path(path)
                    yield path, entry
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{path}/", entry.path))
                else:
                    raise Refusal(
                        f"{path!r} in it is a link or a device, not a file", fix=FOREIGN_FIX
                    )


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _is_settled(stamp: Stamp, now_ns: int) -> bool:
    """Whether a later write must leave other times than these."""
    _, mtime_ns, ctime_ns, _ = stamp
    tick_ns = _TICK_NS if ctime_ns % _SECOND_NS else _COARSE_TICK_NS
    return max(mtime_ns, ctime_ns) < now_ns - tick_ns


def _hashed(path: str) -> tuple[FileDigest, Stamp]:
    """The digest of what was read, and the stamp of the file after that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refusal(f"{path} became something else while it was read")
        digest, size = hashlib.sha256(), 0
        while part := os.read(descriptor, _READ_AT_ONCE):
            digest.update(part)
            size += len(part)
        return FileDigest(size, digest.hexdigest()), _stamp(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _known_at(place: Path, folder: Path) -> dict[str, _Known]:
    """What is remembered of `folder`; nothing when it is damaged, or of another folder."""
    raw = _bytes_at(place)
    header = _header_of(raw)
    if header is None or header.get("folder") != str(folder):
        return {}
    body = raw[raw.index(b"\n") + 1 :]
    if hashlib.sha256(body).hexdigest() != header.get("sha256"):
        return {}
    # The digest held, so this is what `_keep` wrote.
    return {
        path: _Known((size, mtime_ns, ctime_ns, inode), sha256)
        for path, size, mtime_ns, ctime_ns, inode, sha256 in json.loads(body)
    }


def _header_of(raw: bytes) -> dict[str, object] | None:
    try:
        header = json.loads(raw.partition(b"\n")[0])
    except ValueError:
        return None
    is_ours = isinstance(header, dict) and header.get("format") == _FORMAT
    return header if is_ours else None


def _bytes_at(place: Path) -> bytes:
    try:
        with place.open("rb") as file:
            return file.read(_INDEX_BYTES_MAX)
    except OSError:
        return b""
