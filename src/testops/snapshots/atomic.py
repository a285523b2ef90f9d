"""Files and folders that are replaced whole or not at all, also under kill -9 and a full disk.

A file: written beside its target under a name of ours, synced, renamed, and the folder synced. The
writer holds a lock on its temporary file, and a lock dies with its process: so the next writer can
tell the remains of a killed one from the work of a live one, without asking for process ids.

A folder: staged beside, then two renames. Killed between them, the folder is missing and its former
content stands beside it; `repair_folder`, which each replacement begins with, puts it back.
"""

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from testops.domain.errors import OutputNotWritable

TEMPORARY = ".testops-tmp"


def replace_file(target: Path, content: bytes) -> None:
    """`target` holds `content` afterwards, or is untouched; OutputNotWritable says why."""
    with _reported(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_files(target.parent)
        temporary, descriptor = _create_locked(target)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)


def remove_stale_files(folder: Path) -> None:
    """Remove the temporary files of writers that are no more; those of live ones stay."""
    for path in sorted(folder.glob(f".*{TEMPORARY}")):
        # A file that another writer renames or removes in this very moment is none of ours.
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        # Its writer may have renamed it since it was opened, and another one made a new file under
        # the same name. Once it is locked here, nobody else renames or removes this one.
        if _try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), path.lstat()):
            path.unlink()
    finally:
        os.close(descriptor)


def _create_locked(target: Path) -> tuple[Path, int]:
    for attempt in range(1000):
        path = target.with_name(f".{target.name[:150]}.{os.getpid()}-{attempt}{TEMPORARY}")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        # Between open and lock another writer may have taken the file for a stale one.
        if _try_lock(descriptor) and os.fstat(descriptor).st_nlink == 1:
            return path, descriptor
        os.close(descriptor)
    raise OSError(errno.EEXIST, "no free name for a temporary file")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """`folder` holds exactly `files` afterwards, or what it held before.

    The files are not synced one by one: what is unpacked is a copy of a bundle, and its digests
    catch what a power cut tore.
    """
    with _reported(folder), folder_lock(folder):
        repair_folder(folder)
        staged, former = _staged(folder), _former(folder)
        try:
            for path, content in files.items():
                place = staged / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        if folder.exists():
            folder.rename(former)
        staged.rename(folder)
        sync_folder(folder.parent)
        shutil.rmtree(former, ignore_errors=True)


def repair_folder(folder: Path) -> None:
    """Finish or undo what a killed `replace_folder` left; nothing to do is the usual case."""
    if not folder.exists() and _former(folder).is_dir():
        _former(folder).rename(folder)
    for leftover in (_staged(folder), _former(folder)):
        if leftover.exists():
            shutil.rmtree(leftover)


def _staged(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.new{TEMPORARY}")


def _former(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old{TEMPORARY}")


@contextmanager
def folder_lock(folder: Path, *, patience: int | None = None) -> Iterator[None]:
    """Nobody else changes `folder` meanwhile; the lock dies with its process.

    `patience`: give up after so many tries, 50 ms apart, with OutputNotWritable. None: wait.
    """
    # The lock file stays: removing it would let two writers lock two different files.
    lock = folder.with_name(f".{folder.name}.testops-lock")
    with _reported(lock):
        folder.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        if patience is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        elif not _acquired(descriptor, patience):
            raise OutputNotWritable(
                "another command holds it", where=str(lock), fix="end that one, then try again"
            )
        yield
    finally:
        os.close(descriptor)


def _acquired(descriptor: int, patience: int) -> bool:
    for _ in range(patience):
        if _try_lock(descriptor):
            return True
        threading.Event().wait(0.05)
    return False


@contextmanager
def _reported(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputNotWritable(
            f"cannot be written ({error.strerror or error})", where=str(target)
        ) from error


def sync_folder(folder: Path) -> None:
    """Which names `folder` has survives a power cut from here on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no fsync for folders; the rename itself has happened.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
