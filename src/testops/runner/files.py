"""Files that are either the old or the new one, never half of either."""

import os
import tempfile
from pathlib import Path

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
    temporary = write_aside(path, content)
    try:
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise not_writable(path, error) from error


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
    make_folder(path.parent)
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp keeps others out, which is right for secrets and wrong for reports.
        temporary.chmod(0o644)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise not_writable(path, error) from error
    return temporary


def not_writable(path: Path, error: OSError) -> OutputNotWritable:
    """The error that says where, and what the system answered."""
    return OutputNotWritable(f"cannot be written: {error.strerror or error}", where=str(path))
