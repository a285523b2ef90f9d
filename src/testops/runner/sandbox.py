"""The walls around one stage: what this machine can enforce, and a process started inside it.

The walls themselves are put up by `warden`, which runs inside them. What cannot be had here is left
out and said: `Sandbox.enforced` is shown by `testops doctor`.
"""

import contextlib
import fcntl
import functools
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from testops.domain.errors import InternalError
from testops.runner import warden
from testops.runner.stage_jobs import Limits, Network

log = logging.getLogger("testops.runner")

GRACE_S = 2.0
# On top of the grace, for the warden to find nothing left and to say so.
_WARDEN_S = 5.0
_TICK_S = 0.1
_OPEN_FILES_MAX = 16_384
_TRY_TIMEOUT_S = 20
_REFUSED_READ_MAX = 1_000_000
_LAST_WORDS_MAX = 64_000
REFUSED_SHOWN_MAX = 50
REFUSING_FOLDER = Path(__file__).parent / "refusing"
_PREFIX = "testops-stage-"
_LOCK = ".lock"
# What of the caller's environment a stage sees. No key, no address of a database: what a suite runs
# is not trusted with what the server knows.
_KEPT = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "SHELL",
        "TERM",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
    }
)

_WORDS = {
    "processes": "process namespace, with shared memory of its own",
    "network": "network namespace (loopback only)",
    "user": "user namespace",
}


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What this machine lets a stage be held by; `problems` says why not more."""

    namespaces: tuple[str, ...]
    problems: tuple[str, ...] = ()

    @property
    def enforced(self) -> tuple[str, ...]:
        """Every wall, in words."""
        own = [_WORDS[name] for name in self.namespaces]
        if "network" not in self.namespaces:
            own.append("loopback only by audit hook (Python programs)")
        if sys.platform == "linux":
            own += ["ends with its runner", "memory and processes of the whole stage"]
        if "processes" in self.namespaces:
            own.append("the server's data out of sight")
        return (*own, "file size", "open files", "no core files", "environment", "private TMPDIR")

    def for_network(self, network: Network) -> tuple[str, ...]:
        """The namespaces of a stage under this policy."""
        if network == "loopback-only":
            return self.namespaces
        kept = tuple(name for name in self.namespaces if name != "network")
        # A user namespace alone holds nothing.
        return () if kept == ("user",) else kept


@functools.cache
def sandbox() -> Sandbox:
    """What this machine can enforce; found by trying, once in each process."""
    if sys.platform != "linux":
        return Sandbox((), ("only Linux has namespaces",))
    rights = () if os.geteuid() == 0 else ("user",)
    problems: list[str] = []
    for names in (("processes", "network"), ("processes",), ("network",)):
        # root may be denied what a user namespace of its own would allow.
        for wanted in dict.fromkeys(((*rights, *names), ("user", *names))):
            if not (problem := _why_not(wanted)):
                return Sandbox(wanted, tuple(problems))
            problems.append(f"no {' and '.join(wanted)} namespace: {problem}")
    log.warning("stages are held without namespaces: %s", "; ".join(problems))
    return Sandbox((), tuple(problems))


def _why_not(namespaces: Sequence[str]) -> str:
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb") as answers:
        try:
            spec = _spec(namespaces, Limits(), writable)
            done = subprocess.run(
                [*_WARDEN, json.dumps(spec), sys.executable, "-I", "-S", "-c", "pass"],
                pass_fds=(writable,),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TRY_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        finally:
            os.close(writable)
        reports = [json.loads(line) for line in answers.read().splitlines()]
    for report in reports:
        if "sandbox" in report:
            return str(report["sandbox"])
    if reports and reports[-1].get("ended") == "exit" and reports[-1]["code"] == 0:
        return ""
    return f"a first program ended with {done.returncode}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended, as its warden saw it; `how` is `lost` when the warden did not say."""

    how: str
    code: int | None = None
    peak_mb: int = 0
    peak_processes: int = 0
    problem: str = ""


@dataclass
class Held:
    """A program inside its walls, and what it and its tools wrote."""

    process: subprocess.Popen[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    scratch: Path
    _status: int
    _reports: bytearray = field(default_factory=bytearray)

    def end(self) -> Ended:
        """End whatever is left of it; then nothing is."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=GRACE_S + _WARDEN_S)
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        return self._ended()

    def _ended(self) -> Ended:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._status, 1 << 16):
                self._reports += chunk
        reports = [json.loads(line) for line in self._reports.splitlines()]
        for report in reports:
            if "sandbox" in report:
                return Ended("sandbox", problem=report["sandbox"])
        if not reports or "ended" not in reports[-1]:
            return Ended("lost", code=self.process.returncode)
        last = reports[-1]
        return Ended(last["ended"], last["code"], last["peak_mb"], last["peak_processes"])

    @property
    def last_words(self) -> str:
        """The last line that it wrote, for a message."""
        for file in (self.stderr, self.stdout):
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_WORDS_MAX))
            text = file.read().decode("utf-8", "replace")
            if lines := [line for line in text.splitlines() if line.strip()]:
                return lines[-1].strip()[:300]
        return "it wrote nothing"

    def refused(self) -> tuple[tuple[str, ...], int]:
        """The first outside connections that were refused, and how many there were."""
        try:
            with (self.scratch / "refused").open("rb") as file:
                raw = file.read(_REFUSED_READ_MAX)
        except OSError:
            return (), 0
        lines = raw.decode("utf-8", "replace").splitlines()
        return tuple(lines[:REFUSED_SHOWN_MAX]), len(lines)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be started, and how it is to be held."""

    argv: Sequence[str]
    folder: Path
    limits: Limits
    network: Network
    stdin: IO[bytes]
    # Descriptors that it is to have.
    passed: Sequence[int] = ()
    # Folders that it must not see, but for what of `kept` lies in them.
    hidden: Sequence[Path] = ()
    kept: Sequence[Path] = ()
    # Folders that it may read, and not change; they stay in sight as well.
    read_only: Sequence[Path] = ()
    # Whether every Python program in it is told of the refusals; a kernel's worker must not be.
    counted: bool = True


_WARDEN = (sys.executable, "-I", "-S", warden.__file__)


def _spec(namespaces: Sequence[str], limits: Limits, status: int) -> dict[str, Any]:
    return {
        "parent": os.getpid(),
        "status": status,
        "namespaces": list(namespaces),
        "memory_mb": limits.memory_mb,
        "processes": limits.processes,
        "file_mb": limits.file_mb,
        "open_files": _OPEN_FILES_MAX,
        "grace_s": GRACE_S,
        "tick_s": _TICK_S,
        "folder": "/",
        "hidden": [],
        "kept": [],
        "read_only": [],
    }


@contextlib.contextmanager
def held(wanted: Wanted, walls: Sandbox | None = None) -> Iterator[Held]:
    """Start a program inside its walls; at the end of the block nothing of it is left."""
    namespaces = (walls or sandbox()).for_network(wanted.network)
    with (
        _scratch() as scratch,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        readable, writable = os.pipe()
        spec = _spec(namespaces, wanted.limits, writable) | _places(wanted, scratch)
        try:
            process = subprocess.Popen(
                [*_WARDEN, json.dumps(spec), *wanted.argv],
                cwd=wanted.folder,
                env=environment_of(os.environ, scratch, wanted),
                stdin=wanted.stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(*wanted.passed, writable),
                start_new_session=True,
            )
        except OSError as error:
            os.close(readable)
            raise InternalError(f"a stage could not be started: {error}") from error
        finally:
            os.close(writable)
        os.set_blocking(readable, False)
        one = Held(process, stdout, stderr, scratch, readable)
        try:
            yield one
        finally:
            one.end()
            os.close(readable)


def _places(wanted: Wanted, scratch: Path) -> dict[str, Any]:
    # Whatever the stage needs must stay in sight, also where it lies in what is hidden.
    own = (Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2])
    kept = (wanted.folder, scratch, *wanted.kept, *wanted.read_only, *own)
    return {
        "folder": str(wanted.folder.resolve()),
        "hidden": [str(path.resolve()) for path in wanted.hidden if path.is_dir()],
        "kept": [str(path.resolve()) for path in kept if path.is_dir()],
        "read_only": [str(path.resolve()) for path in wanted.read_only],
    }


def environment_of(own: Mapping[str, str], scratch: Path, wanted: Wanted) -> dict[str, str]:
    """What a stage sees: the allowed part of `own`, and places of its own for what tools leave."""
    kept = {k: v for k, v in own.items() if k in _KEPT or k.startswith("LC_")}
    refusing = {}
    if wanted.network == "loopback-only":
        refusing["TESTOPS_REFUSED"] = str(scratch / "refused")
        if wanted.counted:
            folders = (str(REFUSING_FOLDER), kept.get("PYTHONPATH", ""))
            refusing["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if folder)
    return {
        **kept,
        **refusing,
        "TMPDIR": str(scratch / "tmp"),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(scratch / "cache" / "hypothesis"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for one stage. A killed runner cannot remove its own, so the next one does."""
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    # Locked before it has the name that `_sweep` looks for. The lock dies with this process.
    with (folder / ".new").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / ".new").rename(folder / _LOCK)
        try:
            for name in ("tmp", "cache"):
                (folder / name).mkdir()
            # A stage of root's may start programs as others, a database for its tests, say.
            for path in (folder, folder / "tmp"):
                path.chmod(0o711)
            yield folder
        finally:
            remove_tree(folder)


def _sweep(place: Path) -> None:
    for path in place.glob(f"{_PREFIX}*/{_LOCK}"):
        # Another user's, or one that another sweep removes just now, is none of ours.
        with contextlib.suppress(FileNotFoundError, PermissionError), path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            remove_tree(path.parent)


def remove_tree(folder: Path) -> None:
    """Remove `folder`, also where a program took away the right to."""
    for place, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(place, name)
            if not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.chmod(stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        log.warning("%s could not be removed whole", folder)
