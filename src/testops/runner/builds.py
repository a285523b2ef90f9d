"""Says what exactly was qualified: the commit, and a hash of everything that differs from it."""

import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path

from testops.domain.run import Build

# What runs leave behind is not what was qualified.
_OUTPUT_FOLDERS = frozenset({"snapshots", "reports"})
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "dist", "build"})
_SOURCE_SUFFIXES = frozenset({".py", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".txt"})
_FILES_MAX = 20_000
_GIT_TIMEOUT_S = 30


# Beside folders that are named by the digest of the archive that they were unpacked from. Without
# it, git would find whatever repository lies around them.
ARCHIVES_MARK = ".testops-archives"


def build_of(root: Path) -> Build:
    """The build in `root`; outside git there is no commit, only the hash of its source files."""
    if (root.parent / ARCHIVES_MARK).is_file():
        return Build(commit=None, dirty=root.name)
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changed = _git(root, "diff", "--name-only", "-z", "--relative", "--no-renames", "HEAD")
    added = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    if commit is None or changed is None or added is None:
        return Build(commit=None, dirty=_hash_of(root, _source_files(root)))
    names = {name for listing in (changed, added) for name in listing.split("\0") if name}
    own = sorted(name for name in names if name.split("/")[0] not in _OUTPUT_FOLDERS)
    return Build(commit=commit.strip(), dirty=_hash_of(root, own) if own else None)


class SharedBuilds:
    """Reads a build once for all who ask while it is being waited for.

    An answer was always begun after its asker came: a build that is already being read may have
    passed by the file that the asker just saved. So at most two readings of a folder are wanted at
    any time, the one at work and the one after it.
    """

    def __init__(self, read: Callable[[Path], Build] = build_of) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._next: dict[Path, Future[Build]] = {}
        self._turns: dict[Path, threading.Lock] = {}

    def build_of(self, root: Path) -> Build:
        """The build in `root`, as it is now; errors go to all who wait for it."""
        with self._lock:
            flight = self._next.get(root)
            leads = flight is None
            if flight is None:
                flight = self._next[root] = Future()
            turn = self._turns.setdefault(root, threading.Lock())
        if leads:
            with turn:
                self._lead(root, flight)
        return flight.result()

    def _lead(self, root: Path, flight: Future[Build]) -> None:
        with self._lock:
            # From here on nobody may join: who comes now must wait for the next one.
            del self._next[root]
        try:
            flight.set_result(self._read(root))
        except BaseException as error:
            flight.set_exception(error)
            raise


def _git(root: Path, *arguments: str) -> str | None:
    # Variables such as GIT_DIR, set inside a hook, would point at another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607 - git is found as the user finds it
            env=environment,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None


def _hash_of(root: Path, names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = root / name
        content = path.read_bytes() if path.is_file() else b""
        kind = "file" if path.is_file() else "gone"
        digest.update(f"{name}\0{kind}\0{hashlib.sha256(content).hexdigest()}\0".encode())
    return digest.hexdigest()


def _source_files(root: Path) -> Iterator[str]:
    seen = 0
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if _is_source_folder(here / name, root))
        for name in sorted(files):
            if Path(name).suffix in _SOURCE_SUFFIXES and seen < _FILES_MAX:
                seen += 1
                yield (here / name).relative_to(root).as_posix()


def _is_source_folder(folder: Path, root: Path) -> bool:
    if folder.name.startswith(".") or folder.name in _SKIPPED_FOLDERS:
        return False
    if folder.parent == root and folder.name in _OUTPUT_FOLDERS:
        return False
    return not (folder / "pyvenv.cfg").exists()
