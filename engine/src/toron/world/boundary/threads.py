"""Threads of the program, and what they wait for, under the baton of the run.

Threads stay real (see `core.baton`); what is replaced is how they start, the primitive lock that
everything in `threading` and `queue` is built on, and how they end. So `Condition`, `Event`,
`Queue`, `Timer`, `ThreadPoolExecutor`, and every library's own, are Python's unmodified code. While
no run goes on (at import time) a lock works as long as nobody has to wait for it.
"""

from __future__ import annotations

import _thread
import concurrent.futures.thread as pools
import gc
import logging
import os
import queue
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

from toron.core.baton import Baton, SimThread
from toron.core.clock import Clock
from toron.core.loop import Shared
from toron.core.process import CURRENT, Process
from toron.core.values import brief
from toron.errors import EscapeError
from toron.world.boundary.aliases import Stand, replace
from toron.world.disk.proc import CORES

_IDENT_FIRST = 1_000
_REAL_LOCK = type(_thread.allocate_lock())
_REAL_RLOCK = type(_thread.RLock())
_real_ident = _thread.get_ident
_Pool = pools.ThreadPoolExecutor


class _Active:
    """The run whose threads are started and whose locks are waited for."""

    baton: Baton | None = None
    clock: Clock | None = None


def current_baton(call: str) -> Baton:
    """The baton of the run; EscapeError at import time, when there is nobody to hand it to."""
    if _Active.baton is None:
        raise EscapeError(f"{call} before the run began (at import time?); do it in the kernel")
    return _Active.baton


def wait_until(ready: Callable[[], bool], seconds: float | None, why: str) -> bool:
    """Let the calling thread wait until ``ready()``; False when ``seconds`` passed before."""
    baton = current_baton(why)
    assert _Active.clock is not None
    deadline_ns = None if seconds is None else _Active.clock.after(seconds)
    return baton.wait(ready, deadline_ns, why)


class SimLock:
    """``threading.Lock``: not fair, as the system's is not; the seed picks who gets it."""

    __slots__ = ("__weakref__", "_holder", "_is_locked")

    def __init__(self) -> None:
        self._is_locked = False
        self._holder: SimThread | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; False when it was not free (in time)."""
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout < 0 and timeout != -1:
            raise ValueError("timeout value must be a non-negative number")
        if timeout > threading.TIMEOUT_MAX:
            raise OverflowError("timeout value is too large")
        baton = _Active.baton
        if self._is_locked and not self._is_abandoned():
            if not blocking:
                if baton is not None:
                    baton.yield_point()
                return False
            baton = current_baton("waiting for a lock")
            assert _Active.clock is not None
            deadline_ns = None if timeout == -1 else _Active.clock.after(timeout)
            if not baton.wait(self._is_free, deadline_ns, f"a lock held by {self._held_by()}"):
                return False
        self._is_locked = True
        self._holder = None if baton is None else baton.current
        return True

    def _is_free(self) -> bool:
        return not self._is_locked or self._is_abandoned()

    def _is_abandoned(self) -> bool:
        """Its holder lost power: what a module shares between hosts is not locked for ever."""
        return self._holder is not None and self._holder.is_dead

    def _held_by(self) -> str:
        return "nobody known" if self._holder is None else self._holder.label

    def release(self) -> None:
        """Give it back; another thread may take it at once."""
        if not self._is_locked:
            raise RuntimeError("release unlocked lock")
        self._is_locked = False
        self._holder = None
        if _Active.baton is not None:
            _Active.baton.yield_point()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._is_locked

    def _at_fork_reinit(self) -> None:
        self._is_locked, self._holder = False, None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    acquire_lock, release_lock, locked_lock = acquire, release, locked

    def __repr__(self) -> str:
        return f"<{'locked' if self._is_locked else 'unlocked'} lock>"


class SimThreadHandle:
    """What CPython 3.13 joins a thread by."""

    def __init__(self) -> None:
        self.ident = 0
        self._thread: SimThread | None = None
        self._done = False

    def begin(self, thread: SimThread) -> None:
        """Stand for ``thread`` from now on; it may have ended already."""
        self._thread, self.ident = thread, ident_of(thread)
        if thread.ended:
            self._set_done()
        else:
            thread.at_end.append(self._set_done)

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self._done

    def _set_done(self) -> None:
        self._done = True

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        baton = current_baton("Thread.join")
        assert _Active.clock is not None
        deadline_ns = None if timeout is None or timeout < 0 else _Active.clock.after(timeout)
        label = "a thread" if self._thread is None else self._thread.label
        baton.wait(self.is_done, deadline_ns, f"the end of {label}")


def ident_of(thread: SimThread) -> int:
    """What ``threading.get_ident`` says in ``thread``; the real one differs from run to run."""
    return _IDENT_FIRST + thread.number


def install() -> None:
    """Replace threads and locks. Call before the program is imported."""
    replace(_thread, "allocate_lock", SimLock)
    replace(_thread, "allocate", SimLock)
    replace(_thread, "RLock", threading._PyRLock)  # type: ignore[attr-defined]
    if hasattr(_thread, "lock"):
        replace(_thread, "lock", SimLock)
    replace(_thread, "LockType", SimLock)
    threading._CRLock = None  # type: ignore[attr-defined]
    replace(queue, "SimpleQueue", queue._PySimpleQueue)  # type: ignore[attr-defined]
    replace(_thread, "get_ident", Stand(_thread.get_ident, _get_ident))
    replace(_thread, "get_native_id", Stand(_thread.get_native_id, _get_ident))
    replace(_thread, "start_new_thread", Stand(_thread.start_new_thread, _start_new))
    replace(_thread, "start_new", Stand(_thread.start_new, _start_new))
    if hasattr(_thread, "start_joinable_thread"):
        joinable = Stand(_thread.start_joinable_thread, _start_joinable)
        replace(_thread, "start_joinable_thread", joinable)
        replace(_thread, "_ThreadHandle", SimThreadHandle)
    else:
        original: Any = getattr(_thread, "_set_sentinel", None)
        replace(_thread, "_set_sentinel", Stand(original, _set_sentinel))
    _install_pools()
    _install_cores()
    _rebuild_locks()


def begin(baton: Baton, clock: Clock) -> None:
    """Threads and locks belong to this run from now on."""
    _Active.baton, _Active.clock = baton, clock
    main = threading.main_thread()
    known = threading._active  # type: ignore[attr-defined]
    known.pop(main._ident, None)  # type: ignore[attr-defined]
    main._ident = main._native_id = ident_of(baton.main)  # type: ignore[attr-defined]
    known[main._ident] = main  # type: ignore[attr-defined]


def hear_of_failures(shared: Shared) -> None:
    """Remember exceptions that end a thread, unless the program has a hook of its own."""
    default = threading.excepthook

    def hook(report: Any) -> None:
        error, clock = report.exc_value, shared.clock
        label = shared.baton.current.label
        shared.trace.add("unhandled", f"{label} {brief(error)}")
        if error is not None:
            shared.failed_threads.append((label, error, clock.now_ns))
        default(report)

    threading.excepthook = hook


def end() -> None:
    """The run is over: nothing waits any more."""
    _Active.baton = None


def _get_ident() -> int:
    baton = _Active.baton
    return _real_ident() if baton is None else ident_of(baton.current)


def _start(function: Callable[..., object], args: Any, kwargs: Any) -> SimThread:
    owner = getattr(function, "__self__", None)
    target = getattr(owner, "_target", None) or function
    label = str(getattr(target, "__qualname__", type(target).__qualname__))
    process = None if _is_of_pool(owner, target) else CURRENT.get(None)
    baton = current_baton(f"starting the thread of {label}")
    return baton.start(lambda: function(*args, **kwargs), label, process)


def _is_of_pool(owner: object, target: object) -> bool:
    """Whether a thread serves whoever gives it work: each job then says on which host it runs."""
    return target is pools._worker or type(owner).__module__.startswith("anyio.")


def _start_new(function: Any, args: Any, kwargs: Any = None, /) -> int:
    return ident_of(_start(function, args, kwargs or {}))


def _start_joinable(function: Any, handle: Any = None, daemon: bool = True) -> Any:
    handle = SimThreadHandle() if handle is None else handle
    handle.begin(_start(function, (), {}))
    return handle


def _set_sentinel() -> SimLock:
    """The lock that CPython before 3.13 releases when the calling thread ends."""
    lock = SimLock()
    current_baton("Thread").current.at_end.append(lambda: lock.release() if lock.locked() else None)
    return lock


def _install_pools() -> None:
    """A job runs on the host that submitted it, whichever thread of a shared pool takes it."""
    item: Any = pools._WorkItem
    make, run = item.__init__, item.run

    def init(self: Any, *arguments: Any) -> None:
        make(self, *arguments)
        self.toron_process = CURRENT.get(None)

    def run_there(self: Any) -> None:
        process: Process | None = self.toron_process
        if process is not None and not process.alive:
            return
        token = CURRENT.set(process) if process is not None else None
        try:
            run(self)
        finally:
            if token is not None:
                CURRENT.reset(token)

    item.__init__, item.run = init, run_there


def _install_cores() -> None:
    replace(os, "cpu_count", Stand(os.cpu_count, lambda: CORES))
    for name in ("process_cpu_count",):
        if hasattr(os, name):
            replace(os, name, Stand(getattr(os, name), lambda: CORES))
    replace(os, "sched_getaffinity", Stand(os.sched_getaffinity, lambda _pid: set(range(CORES))))
    replace(os, "getloadavg", Stand(os.getloadavg, lambda: (0.0, 0.0, 0.0)))


def _rebuild_locks() -> None:
    """Replace the locks that were made before this edge: in modules, and in the objects below."""
    known: dict[int, Any] = {}
    for name, module in list(sys.modules.items()):
        if type(module) is types.ModuleType and not name.startswith(("toron.", "importlib")):
            for alias, value in list(vars(module).items()):
                if _is_free_lock(value):
                    setattr(module, alias, _stand_in(value, known))
    kinds = (threading.Condition, queue.Queue, logging.Handler, _Pool)
    for thing in gc.get_objects():
        if issubclass(type(thing), kinds):  # `isinstance` asks proxies, and some refuse to answer
            _rebuild(thing, known)


def _rebuild(thing: Any, known: dict[int, Any]) -> None:
    if isinstance(thing, threading.Condition):
        lock: Any = thing._lock  # type: ignore[attr-defined]
        if _is_free_lock(lock):
            thing.__init__(_stand_in(lock, known))  # type: ignore[misc]
    elif isinstance(thing, queue.Queue):
        thing.mutex = _stand_in(thing.mutex, known)
    elif isinstance(thing, logging.Handler):
        thing.lock = _stand_in(thing.lock, known)
    elif isinstance(thing, _Pool):
        pool: Any = thing
        pool._shutdown_lock = _stand_in(pool._shutdown_lock, known)
        pool._work_queue = queue.SimpleQueue()


def _is_free_lock(value: object) -> bool:
    # By its type: a proxy in a module (werkzeug's) raises when `isinstance` asks for its class.
    if issubclass(type(value), _REAL_LOCK):
        lock: Any = value
        return not lock.locked()
    return issubclass(type(value), _REAL_RLOCK)


def _stand_in(lock: Any, known: dict[int, Any]) -> Any:
    if not _is_free_lock(lock):
        return lock
    if id(lock) not in known:
        is_plain = isinstance(lock, _REAL_LOCK)
        # The old one is kept with the new, so that its identity stays its own.
        known[id(lock)] = (SimLock() if is_plain else threading._PyRLock(), lock)  # type: ignore[attr-defined]
    return known[id(lock)][0]
