"""Files that are either the old or the new one, never half of either."""

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from testops.domain.errors import OutputNotWritable


def make_folder(folder: Path) -> Path:
    """`folder`, made where it was missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(folder, error) from error
    return folder


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`: a reader, or a power cut, finds all of it or what was before."""
    _require_replaceable(path)
    temporary = write_aside(path, content)
    try:
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise not_writable(path, error) from error


def _require_replaceable(path: Path) -> None:
    """Refuse to replace a device, a pipe or /dev/stdout by a file: root would do it to all."""
    try:
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind) and Path("/dev") not in path.absolute().parents:
            kind = path.stat().st_mode
    except OSError:
        return  # Nothing is there, or nothing that can be looked at: writing will tell.
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise OutputNotWritable(
            "is a device, a pipe or a socket, which would be replaced",
            where=str(path),
            fix="name a file",
        )


def write_new(path: Path, content: bytes) -> bool:
    """Put `content` at `path` unless something is there already; whether it was put."""
    temporary = write_aside(path, content)
    try:
        # A link, unlike a rename, fails when the name is taken, also by another process just now.
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    except OSError as error:
        raise not_writable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return True


def write_aside(path: Path, content: bytes) -> Path:
    """`content` on the disk, synced, under a temporary name in the folder of `path`."""
    return write_parts_aside(path, [content])


def write_parts_aside(path: Path, parts: Iterable[bytes]) -> Path:
    """`write_aside` of what never is in memory as a whole; what `parts` raises goes on upwards."""
    make_folder(path.parent)
    try:
        descriptor, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    except OSError as error:
        raise not_writable(path, error) from error
    temporary = Path(name)
    try:
        with _closed(path, os.fdopen(descriptor, "wb")) as file:
            for part in parts:
                _write(path, file, part)
            _sync(path, file)
        # mkstemp keeps others out, which is right for secrets and wrong for reports.
        temporary.chmod(0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


@contextmanager
def _closed(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Close `file` at the end; closing writes what a full disk has not taken, and fails again."""
    try:
        yield file
    finally:
        try:
            file.close()
        except OSError as error:
            raise not_writable(path, error) from error


def _write(path: Path, file: IO[bytes], part: bytes) -> None:
    try:
        file.write(part)
    except OSError as error:
        raise not_writable(path, error) from error


def _sync(path: Path, file: IO[bytes]) -> None:
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise not_writable(path, error) from error


def not_writable(path: Path, error: OSError) -> OutputNotWritable:
    """The error that says where, and what the system answered."""
    return OutputNotWritable(f"cannot be written: {error.strerror or error}", where=str(path))
