"""A shelf that is a folder of this machine, shared by its processes, and the latch beside it."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from testops.domain.errors import BadInput, OutputNotWritable, StoreUnavailable
from testops.snapshots.atomic import TEMPORARY, remove_stale_files, replace_file, sync_folder
from testops.snapshots.objects.ports import Entry, Hold

LATCH = ".latch"
_WAIT_S = 600.0
_POLL_S = 0.05
_TOLD_AFTER_S = 1.0
_FIX = "make it readable, or name another store in TESTOPS_SNAPSHOT_STORE"


class FolderShelf:
    """Names are paths below `root`, which the first write makes."""

    parallel = 8  # a file system writes the journal once for all who wait for it

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, name: str, content: bytes) -> None:
        place = self._place(name)
        if not place.parent.is_dir():
            _make_folder(place.parent)
        replace_file(place, content)

    def read(self, name: str) -> bytes | None:
        with self._reported(name):
            try:
                return self._place(name).read_bytes()
            except FileNotFoundError:
                return None

    def entry(self, name: str) -> Entry | None:
        with self._reported(name):
            try:
                return _entry(name, self._place(name).stat())
            except FileNotFoundError:
                return None

    def entries(self, prefix: str) -> Iterator[Entry]:
        with self._reported(prefix):
            yield from sorted(self._below(prefix), key=lambda entry: entry.name)

    def _below(self, prefix: str) -> Iterator[Entry]:
        for place, folders, names in os.walk(self._place(prefix), onerror=_raise_but_missing):
            folders.sort()
            for name in names:
                if name.startswith("."):
                    continue
                path = Path(place) / name
                # A name that goes while we look was being removed.
                with contextlib.suppress(FileNotFoundError):
                    yield _entry(path.relative_to(self._root).as_posix(), path.stat())

    def remove(self, name: str) -> None:
        try:
            self._place(name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputNotWritable(
                f"cannot be removed ({error.strerror or error})", where=str(self._place(name))
            ) from error

    def remove_all(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(max_workers=self.parallel) as pool:
            list(pool.map(self.remove, names))

    def tidy(self) -> int:
        with self._reported(""):
            before = self._temporary_bytes()
            for place, _, _ in os.walk(self._root):
                remove_stale_files(Path(place))
            return before - self._temporary_bytes()

    def _temporary_bytes(self) -> int:
        total = 0
        for path in self._root.rglob(f".*{TEMPORARY}"):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def shown(self) -> str:
        return str(self._root)

    def _place(self, name: str) -> Path:
        return self._root / name

    @contextlib.contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BadInput(
                f"cannot be read ({error.strerror or error})",
                where=str(self._place(name)),
                fix=_FIX,
            ) from error


def _make_folder(folder: Path) -> None:
    """Make `folder` so that a power cut does not take it away again with all that is in it."""
    missing = [place for place in (folder, *folder.parents) if not place.is_dir()]
    try:
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            sync_folder(place.parent)
    except OSError as error:
        raise OutputNotWritable(
            f"cannot be made ({error.strerror or error})", where=str(folder)
        ) from error


def _entry(name: str, status: os.stat_result) -> Entry:
    return Entry(name, status.st_size, datetime.fromtimestamp(status.st_mtime, tz=UTC))


def _raise_but_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


class _Flocked:
    """A lock of the kernel ends with its process and never before."""

    def require(self) -> None:
        return


class FolderLatch:
    """A lock of the kernel on a file in `root`: kill -9 lets go of it."""

    def __init__(
        self, root: Path, *, pause: Callable[[float], None], told: Callable[[str], None]
    ) -> None:
        self._root = root
        self._pause = pause
        self._told = told

    def shared(self) -> contextlib.AbstractContextManager[Hold]:
        return self._held(fcntl.LOCK_SH)

    def exclusive(self) -> contextlib.AbstractContextManager[Hold]:
        return self._held(fcntl.LOCK_EX)

    @contextlib.contextmanager
    def _held(self, kind: int) -> Iterator[Hold]:
        path = self._root / LATCH
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputNotWritable(
                f"cannot be opened ({error.strerror or error})", where=str(path)
            ) from error
        try:
            self._wait_for(descriptor, kind)
            yield _Flocked()
        finally:
            os.close(descriptor)

    def _wait_for(self, descriptor: int, kind: int) -> None:
        for turn in range(int(_WAIT_S / _POLL_S)):
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if turn * _POLL_S == _TOLD_AFTER_S:
                    self._told(f"another process works in {self._root}; waiting for it")
                self._pause(_POLL_S)
            else:
                return
        raise StoreUnavailable(
            f"the snapshot store {self._root} has been held by another process for "
            f"{_WAIT_S:g} s; end that one, then run again"
        )
