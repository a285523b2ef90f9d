"""Starts one program inside bounds and ends everything that it started: `warden.py SPEC PROGRAM…`.

Standard library only and nothing of ours: it runs as `python -I -S` before any environment counts.
Its first line on the status descriptor says what it could enforce, its last how the program ended.

With a process namespace the warden is its first process, so the kernel ends every other one with
it, also those that left their session or were orphaned on purpose. Without, it adopts orphans and
looks for its descendants until there is none; a program that kills the warden first escapes that,
which is why the namespace is preferred. Limits on memory and processes are of the whole tree, which
no rlimit is: they are measured a few times a second, and rlimits far above them catch what is
faster than that.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys
import time

# What `typing` says is true for a type checker; importing it would cost a start-up of every stage.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWNS = 0x00020000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_NAMESPACES = {
    "user": _CLONE_NEWUSER,
    "processes": _CLONE_NEWPID | _CLONE_NEWNS | _CLONE_NEWIPC,
    "network": _CLONE_NEWNET,
}
_MS_REC_PRIVATE = 0x4000 | 0x40000
_MS_BIND, _MS_REC = 0x1000, 0x4000
_MS_RDONLY, _MS_REMOUNT, _MS_RELATIME = 0x1, 0x20, 1 << 21
_MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
_LINUX = sys.platform == "linux"
_PAGE = resource.getpagesize()
_MIB = 1 << 20
SANDBOX_FAILED = 125


def main(arguments: list[str]) -> int:
    """Hold the program of `arguments[1:]` within `arguments[0]`; the exit code says little."""
    spec, program = json.loads(arguments[0]), arguments[1:]
    os.set_inheritable(spec["status"], False)
    # Blocked from the start, so that none is lost however early it comes.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        _enter(spec)
        first = os.fork() if "processes" in spec["namespaces"] else 0
        if first:
            return _mind(first)
        _settle(spec)
    except OSError as error:
        _say(spec, {"sandbox": error.strerror or str(error)})
        return SANDBOX_FAILED
    _say(spec, {"held": True})
    return Warden(spec, program, mask).run()


def _say(spec: dict[str, Any], body: dict[str, Any]) -> None:
    os.write(spec["status"], json.dumps(body).encode() + b"\n")


# --- the walls ----------------------------------------------------------------------------------


def _call(name: str, *arguments: object) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _enter(spec: dict[str, Any]) -> None:
    """Unshare what was asked for; the process namespace begins with the next fork."""
    names = spec["namespaces"]
    flags = 0
    for name in names:
        if name not in _NAMESPACES:
            raise OSError(0, f"{name} is no namespace")
        flags |= _NAMESPACES[name]
    user, group = os.geteuid(), os.getegid()
    if flags:
        _call("unshare", flags)
    if "user" in names:
        # Itself and nobody else: files keep their owner, and no other user is needed.
        _put("/proc/self/setgroups", "deny")
        _put("/proc/self/uid_map", f"{user} {user} 1")
        _put("/proc/self/gid_map", f"{group} {group} 1")
    _leash(spec["parent"], names)
    if "network" in names:
        _raise_loopback()


def _leash(parent: int, names: list[str]) -> None:
    if not _LINUX:
        return
    # Without a namespace the warden must outlive its parent for as long as tidying takes.
    number = signal.SIGKILL if "processes" in names else signal.SIGTERM
    _call("prctl", _PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        raise OSError(0, "its parent ended before it began")


def _settle(spec: dict[str, Any]) -> None:
    if "processes" in spec["namespaces"]:
        _call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        _call("mount", b"none", b"/", None, _MS_REC_PRIVATE, None)
        _call("mount", b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV_NOEXEC, None)
        if os.path.isdir("/dev/shm"):  # noqa: PTH112, S108 - a mount of its own, made here
            # Files there are memory that no process shows; they end with the stage as well.
            size = f"mode=1777,size={spec['memory_mb']}m".encode()
            _call("mount", b"none", b"/dev/shm", b"tmpfs", _MS_NOSUID_NODEV_NOEXEC, size)
        for folder in spec["hidden"]:
            _hide(folder, spec["kept"])
        for folder in spec["read_only"]:
            _freeze(folder)
        # Through what may have been mounted over it just now.
        os.chdir(spec["folder"])
    elif _LINUX:
        _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _hide(folder: str, kept: list[str]) -> None:
    """Put nothing over `folder`, and what of it the stage needs back in its place."""
    inside = [path for path in kept if path.startswith(folder.rstrip("/") + "/")]
    held = [(path, os.open(path, os.O_PATH | os.O_DIRECTORY)) for path in inside]
    _call("mount", b"none", folder.encode(), b"tmpfs", _MS_NOSUID_NODEV_NOEXEC, b"mode=755")
    for path, descriptor in held:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103 - as for `_put`
        own = f"/proc/self/fd/{descriptor}".encode()
        _call("mount", own, path.encode(), None, _MS_BIND | _MS_REC, None)
        os.close(descriptor)


def _freeze(folder: str) -> None:
    """Let nobody in here change what is in `folder`."""
    _call("mount", folder.encode(), folder.encode(), None, _MS_BIND | _MS_REC, None)
    # What the mount refuses already must be said again: in a user namespace nobody may lift it.
    own = os.statvfs(folder).f_flag & (_MS_NOSUID_NODEV_NOEXEC | 0x400 | 0x800)
    relative = _MS_RELATIME if os.statvfs(folder).f_flag & 0x1000 else 0
    flags = _MS_BIND | _MS_REMOUNT | _MS_RDONLY | own | relative
    _call("mount", b"none", folder.encode(), None, flags, None)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH22x", b"lo", 0)
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, request)
        flags = struct.unpack("16sH22x", answer)[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _put(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - pathlib costs a start-up of every stage 10 ms
        file.write(text)


def _mind(first: int) -> int:
    """Outside the namespace: pass a request to stop on, and end with the first process inside."""
    while True:
        got = signal.sigwaitinfo(_SIGNALS).si_signo
        if got != signal.SIGCHLD:
            os.kill(first, signal.SIGTERM)
            continue
        ended, status = os.waitpid(first, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) & 0xFF


# --- inside -------------------------------------------------------------------------------------


class Warden:
    """Runs the program, measures it, and leaves nothing behind."""

    def __init__(self, spec: dict[str, Any], program: list[str], mask: set[Any]) -> None:
        self._spec = spec
        self._program = program
        self._mask = mask
        self._own = os.getpid()
        self._alone = "processes" in spec["namespaces"]
        self._main = 0
        self._code: int | None = None
        self._peak_mb = 0
        self._peak_processes = 0

    def run(self) -> int:
        self._main = os.fork()
        if self._main == 0:
            self._become()
        ended = self._watch()
        self._end_the_rest()
        report = {
            "ended": ended,
            "code": self._code,
            "peak_mb": self._peak_mb,
            "peak_processes": self._peak_processes,
        }
        _say(self._spec, report)
        return 0

    def _become(self) -> None:
        try:
            os.setsid()
            if _LINUX:
                _call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
                _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                # When memory runs out, the stage goes before anything that serves people.
                _put("/proc/self/oom_score_adj", "1000")
            self._limit()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            os.execvp(self._program[0], self._program)  # noqa: S606 - no shell is wanted
        except OSError as error:
            sys.stderr.write(f"{self._program[0]}: {error.strerror or error}\n")
        finally:
            os._exit(127)

    def _limit(self) -> None:
        spec = self._spec
        _lower(resource.RLIMIT_CORE, 0)
        _lower(resource.RLIMIT_FSIZE, spec["file_mb"] * _MIB)
        _lower(resource.RLIMIT_NOFILE, spec["open_files"])
        # Addresses are not memory: some programs reserve far more than they ever touch.
        _lower(resource.RLIMIT_AS, 4 * spec["memory_mb"] * _MIB + (16 << 30))
        if "user" in spec["namespaces"] and _LINUX:
            # Counted for each user namespace. Elsewhere it counts what else the user runs, too.
            _lower(resource.RLIMIT_NPROC, 8 * spec["processes"] + 64)

    def _watch(self) -> str:
        """Wait for the program's end, a request to stop, or a limit that it exceeds."""
        while True:
            got = signal.sigtimedwait(_SIGNALS, self._spec["tick_s"])
            if self._reap():
                return "exit"
            if got is not None and got.si_signo != signal.SIGCHLD:
                self._ask_to_end()
                return "stopped"
            if exceeded := self._measure():
                return exceeded

    def _reap(self) -> bool:
        """Take what ended; whether the program is among it."""
        with contextlib.suppress(ChildProcessError):
            while True:
                ended, status = os.waitpid(-1, os.WNOHANG)
                if ended == 0:
                    break
                if ended == self._main:
                    self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def _ask_to_end(self) -> None:
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + self._spec["grace_s"]
        while (left_s := deadline - time.monotonic()) > 0:
            signal.sigtimedwait(_SIGNALS, min(left_s, 0.05))
            if self._reap() and not self._others():
                return

    def _end_the_rest(self) -> None:
        while self._others():
            self._signal_all(signal.SIGKILL)
            signal.sigtimedwait(_SIGNALS, 0.01)
            self._reap()

    def _signal_all(self, number: int) -> None:
        if self._alone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, number)
            return
        for pid in self._others():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _others(self) -> list[int]:
        """Every process that the program is or started, zombies left out."""
        if not _LINUX:
            return [] if self._code is not None else [self._main]
        parents = {}
        for name in os.listdir("/proc"):  # noqa: PTH208 - as above
            if name.isdigit() and (found := _parent_of(name)):
                parents[int(name)] = found
        if self._alone:
            return [pid for pid in parents if pid != self._own]
        own = {self._own}
        # A child's number may be below its parent's, so until nothing is added.
        while more := {pid for pid, parent in parents.items() if parent in own} - own:
            own |= more
        return sorted(own - {self._own})

    def _measure(self) -> str:
        """The name of the limit that is exceeded, or nothing."""
        pids = self._others()
        self._peak_processes = max(self._peak_processes, len(pids))
        if len(pids) > self._spec["processes"]:
            return "processes"
        limit_mb = self._spec["memory_mb"]
        used_mb = sum(map(_resident_mb, pids))
        if used_mb > limit_mb:
            # Pages that forked processes share were counted for each of them.
            used_mb = sum(map(_proportional_mb, pids))
        self._peak_mb = max(self._peak_mb, int(used_mb))
        return "memory" if used_mb > limit_mb else ""


def _lower(kind: int, value: int) -> None:
    soft, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    own = bound if soft == resource.RLIM_INFINITY else min(soft, bound)
    resource.setrlimit(kind, (own, bound))


def _parent_of(pid: str) -> int:
    """The parent of a process that is no zombie; 0 for one that is, or is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return 0
    # The program itself has the warden as parent, never 0.
    return 0 if state in (b"Z", b"X") else int(parent)


def _resident_mb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - as above
            return int(file.read().split()[1]) * _PAGE / _MIB
    except (OSError, IndexError):
        return 0.0


def _proportional_mb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123 - as above
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) / 1024
    except (OSError, IndexError):
        return _resident_mb(pid)
    return 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
