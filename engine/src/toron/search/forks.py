"""Forks a running world at its turns, inside of the process that executes it.

Each branch is a copy of this process that goes on from the very same instruction, under a salt of
its own. Libraries must not notice: the copy is made by the C library and not by `os.fork`, so that
no at-fork hook runs (`random` would take the system's entropy, asyncio forget its running loop),
and the process keeps its number (`process_ids`). What a branch comes to it writes to a file in
memory that stands where its answers went before; it ends by `os._exit`, or is killed by the kernel
when it outlives its time or its parent. So a branch that dies or hangs is an answer, never a wait.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import functools
import math
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from toron.search.execute import Run
from toron.search.frames import LENGTH_BYTES, write_frame
from toron.search.watchdog import stuck_at, watch
from toron.world.disk.real import POSIX

_libc = ctypes.PyDLL(None)  # keeps the interpreter's lock across the call: there is one thread
_ATTEMPTS_MAX = 2


def reporting(answers: int, act: Callable[[], None]) -> None:
    """Do ``act``; what fails in it is a failure of Toron's and must not reach the program."""
    try:
        act()
    except Exception:  # noqa: BLE001  (reported to whoever asked, then the process ends)
        write_frame(answers, {"kind": "error", "message": traceback.format_exc(limit=20)})
        os._exit(0)


@dataclass(slots=True)
class Copies:
    """Makes copies of this process that go on with the run."""

    stuck: int
    wall_limit_s: float
    die_with_parent: Callable[[], None]
    _null: int = -1

    def prepare(self) -> None:
        """Call before the run begins: here the real world is open."""
        self._null = os.open(os.devnull, os.O_WRONLY)

    def make(self, run: Run) -> int:
        """Fork: 0 in the copy, else its number. After the last one call `watch_again`."""
        faulthandler.cancel_dump_traceback_later()  # its thread would not come along
        parent = POSIX.getpid()
        child: int = _libc.fork()
        if child < 0:
            raise OSError("the system refuses to fork the run; lower --jobs or free memory")
        if child == 0:
            self.die_with_parent()
            if POSIX.getppid() != parent:
                os._exit(0)  # it died before we asked
            POSIX.dup2(self._null, 1)
            POSIX.dup2(self._null, 2)
            self.watch_again(alarm=True)
            if asyncio.events._get_running_loop() is None and run.is_looping:
                asyncio.events._set_running_loop(run.loop)  # Python 3.11 knows it by the process
            run.baton.forked()
            run.baton.turns.clear()
        return child

    def wait(self) -> tuple[int, int]:
        """The number and the status of the next copy that ends."""
        pid, status = POSIX.waitpid(-1, 0)
        return pid, status

    def watch_again(self, *, alarm: bool) -> None:
        """Have as much time from now on as an execution may take."""
        if alarm:
            _libc.alarm(math.ceil(self.wall_limit_s))
        watch(self.stuck, self.wall_limit_s)


@dataclass(slots=True)
class _Branch:
    """One branch that is to run, or runs."""

    salt: int
    slot: int = -1
    attempts: int = 0


@dataclass(slots=True)
class Forks:
    """What to fork in one execution: at each time of ``points`` a branch for each salt."""

    points: Sequence[tuple[int, Sequence[int]]]
    jobs: int
    answers: int
    goes_on: bool
    """Whether the execution itself goes on behind the last point, and has an outcome."""
    copies: Copies
    _free: list[int] = field(default_factory=list)

    def attach(self, run: Run) -> None:
        """Fork ``run`` when it gets there. Call before it begins: here the real world is open."""
        self._free = [os.memfd_create(f"toron-branch-{number}") for number in range(self.jobs)]
        self.copies.prepare()
        turns = run.baton.turns
        last_ns = max(at_ns for at_ns, _ in self.points)
        for at_ns, salts in self.points:
            is_last = at_ns == last_ns
            act = functools.partial(self._turn, run, at_ns, salts, is_last)
            turns.at(at_ns, functools.partial(reporting, self.answers, act))

    def _turn(self, run: Run, at_ns: int, salts: Sequence[int], is_last: bool) -> None:
        edge = run.edge
        edge.refusals.active = False  # the acts of this module are not the program's
        can_fork = run.baton.is_alone
        threads = len(run.baton.threads) - 1
        message = {"kind": "turn", "at_ns": at_ns, "now_ns": run.clock.now_ns, "threads": threads}
        write_frame(self.answers, {**message, "forks": can_fork})
        if can_fork and self._fork_all(run, at_ns, salts):
            edge.refusals.active = True
            return  # in a branch
        if is_last and not self.goes_on:
            os._exit(0)
        edge.refusals.active = True

    def _fork_all(self, run: Run, at_ns: int, salts: Sequence[int]) -> bool:
        """Fork and hear out every branch; True in each branch, False here when all have ended."""
        waiting = deque(_Branch(salt) for salt in salts)
        running: dict[int, _Branch] = {}
        while waiting or running:
            while waiting and self._free:
                branch = waiting.popleft()
                branch.slot = self._free.pop()
                branch.attempts += 1
                child = self.copies.make(run)
                if child == 0:
                    POSIX.dup2(branch.slot, self.answers)
                    run.reseed(at_ns, branch.salt)
                    return True
                running[child] = branch
            pid, status = self.copies.wait()
            branch = running.pop(pid)
            if self._must_repeat(branch, status):
                waiting.append(branch)
            else:
                self._report(at_ns, branch, status)
            POSIX.ftruncate(branch.slot, 0)
            POSIX.lseek(branch.slot, 0, os.SEEK_SET)
            self._free.append(branch.slot)
        self.copies.watch_again(alarm=False)
        return False

    def _must_repeat(self, branch: _Branch, status: int) -> bool:
        """Whether the machine may have killed it: what dies twice dies by itself."""
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGALRM
        return killed and branch.attempts < _ATTEMPTS_MAX

    def _report(self, at_ns: int, branch: _Branch, status: int) -> None:
        """Hand on what a branch wrote, or how it died."""
        message: dict[str, Any] = {"kind": "branch", "at_ns": at_ns, "salt": branch.salt}
        size = POSIX.lseek(branch.slot, 0, os.SEEK_END)
        head = POSIX.pread(branch.slot, LENGTH_BYTES, 0)
        if status == 0 and size and int.from_bytes(head, "big") == size - LENGTH_BYTES:
            write_frame(self.answers, message)
            sent = 0
            while sent < size:
                sent += POSIX.sendfile(self.answers, branch.slot, sent, size - sent)
            return
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            message["stuck"] = stuck_at(self.copies.stuck)
        write_frame(self.answers, {**message, "status": status})
