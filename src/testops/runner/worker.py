"""A runner: takes attempts from the queue, shows that it lives, and takes over from the dead.

Four threads beside those that execute: one beats, one watches the runs in our hands (cancelled,
overdue, taken by another), one looks after others (dead executors, orphans, deadlines in the
queue), one has duties that may take long (schedules, tidying). None of them stops at an error of
the store: it may come back.
"""

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from testops.domain.errors import StoreUnavailable
from testops.domain.execution import LEASE_MS, Ending, Executor, Fenced, Lease, killed
from testops.domain.run import RunState
from testops.domain.verdict import ExitCode, Verdict
from testops.runner.budget import Budget
from testops.runner.execution import Active, AttemptExecutor, Stopped
from testops.runner.worker_ports import WorkerPorts

log = logging.getLogger("testops.runner")

Result = TypeVar("Result")

BEAT_S = 1.0
WATCH_S = 0.25
REAP_S = 1.0
DUTIES_S = 1.0
# Who could not beat for so long does not say of others that they do not.
_LATE_MS = LEASE_MS // 2
# A run that nobody executes and the queue does not know is looked at twice before it is ended.
_STRAY_LOOKS = 5


class Worker:
    """One runner. `start` returns when it takes work; `stop` when nothing of it is left."""

    def __init__(
        self,
        executor: Executor,
        ports: WorkerPorts,
        budget: Budget,
        *,
        runs_at_once: int,
        chunks_at_once: int,
    ) -> None:
        self._executor = executor
        self._ports = ports
        self._runs_at_once = runs_at_once
        self._chunks_at_once = chunks_at_once
        self._stop = threading.Event()
        self._attempts = AttemptExecutor(executor, ports, budget, self._stop)
        self._active: list[Active] = []
        self._lock = threading.Lock()
        self._never = threading.Event()
        self._beats = 0
        self._beaten_at = ports.clock.now()
        self._stray: dict[str, int] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Show a first sign of life, and begin to take work."""
        self._ports.leases.beat(self._executor)
        self._ports.queue.start(
            self._run,
            self._chunk,
            runs_at_once=self._runs_at_once,
            chunks_at_once=self._chunks_at_once,
        )
        loops = [
            ("beat", BEAT_S, self._beat),
            ("watch", WATCH_S, self._watch),
            ("reap", REAP_S, self._reap),
        ]
        if self._ports.duties:
            # Not the reaper's: a duty that takes minutes, or fails each time, must not keep the
            # work of a dead runner waiting.
            loops.append(("duties", DUTIES_S, self._do_duties))
        for name, every_s, turn in loops:
            thread = threading.Thread(
                target=self._loop, args=(every_s, turn), name=name, daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End what runs here without a result, and leave it to the others at once.

        Threads that executed stay parked: call it last, and end the process.
        """
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)
        with self._lock:
            for active in self._active:
                active.why = active.why or "shutdown"
        self._wait_until_idle()
        self._ports.queue.stop()
        # Where the store is away our lease runs out by itself.
        with contextlib.suppress(StoreUnavailable):
            self._ports.leases.leave(self._executor.executor_id)

    def _wait_until_idle(self) -> None:
        waited = threading.Event()
        for _ in range(100):
            with self._lock:
                if not self._active:
                    return
            waited.wait(0.1)
        log.warning("%d executions did not end in time", len(self._active))

    # --- executing, in threads of the queue -----------------------------------------------------

    def _run(self, run_id: str, number: int) -> None:
        while (taken := self._parking(lambda: self._attempts.take(run_id, number))) is not None:
            log.info("executing run %s attempt %d", run_id, number)
            active = Active(run_id, number, taken.fence)
            work = functools.partial(self._attempts.execute, taken, active)

            def give_up(error: Exception) -> None:
                self._ports.executions.abandon(run_id, number, _bug(error))

            if self._execute(active, work, give_up):
                break
        self._ports.ended(run_id, number)

    def _chunk(self, run_id: str, number: int, chunk_number: int) -> None:
        chunks = self._parking(lambda: self._ports.chunks.all(run_id, number))
        chunk = next((one for one in chunks if one.number == chunk_number), None)
        if chunk is None or chunk.settled:
            return
        seen = self._parking(lambda: self._ports.executions.look(run_id, number))
        if seen is None:
            return
        active = Active(run_id, number, None)
        work = functools.partial(self._attempts.execute_chunk, seen, chunk, active)

        def give_up(error: Exception) -> None:
            self._attempts.settle_failed(chunk, error)

        while not self._execute(active, work, give_up):
            pass

    def _execute(
        self, active: Active, work: Callable[[], None], give_up: Callable[[Exception], object]
    ) -> bool:
        """Do `work`; false when the store went away in the middle, and it must be taken again."""
        with self._lock:
            self._active.append(active)
            if self._stop.is_set():
                # It came while we end: nobody looks at it any more.
                active.why = "shutdown"
        try:
            work()
        except Fenced:
            log.info("run %s is in other hands", active.run_id)
        except Stopped as stopped:
            log.info("run %s: %s", active.run_id, stopped.why)
            if stopped.why == "shutdown":
                self._park(active)
        except StoreUnavailable as error:
            log.warning("run %s: waiting for the store: %s", active.run_id, error)
            return self._stop.wait(BEAT_S) and self._park(active)
        except Exception as error:
            log.exception("run %s failed by a bug of ours", active.run_id)
            # An error that left this thread would end it for the queue, and for nobody else: so it
            # ends in the store, as soon as the store answers.
            failure = error
            self._parking(lambda: give_up(failure))
        finally:
            self._drop(active)
        return True

    def _park(self, active: Active) -> bool:
        """Keep the thread: if it returned, the queue would hold the attempt for done."""
        self._drop(active)
        return self._never.wait()

    def _drop(self, active: Active) -> None:
        with self._lock:
            if active in self._active:
                self._active.remove(active)

    def _parking(self, read: Callable[[], Result]) -> Result:
        """`read`, as soon as the store answers; a thread that must end before that is kept."""
        while True:
            try:
                return read()
            except StoreUnavailable as error:
                log.warning("waiting for the store: %s", error)
                if self._stop.wait(0.5):
                    self._never.wait()
            except Stopped:
                self._never.wait()

    # --- looking after it -----------------------------------------------------------------------

    def _loop(self, every_s: float, turn: Callable[[], None]) -> None:
        while not self._stop.wait(every_s):
            try:
                turn()
            except StoreUnavailable as error:
                self._beats = 0
                log.warning("%s: waiting for the store: %s", turn.__name__, error)
            except Exception:
                log.exception("%s failed; it is tried again", turn.__name__)

    def _beat(self) -> None:
        self._hold_back_when_late()
        self._ports.leases.beat(self._executor)
        self._beats += 1
        self._hold_back_when_late()
        self._beaten_at = self._ports.clock.now()

    def _hold_back_when_late(self) -> None:
        """Count beats anew after an outage of the store, a machine that slept, or a long lock.

        Then everybody looks dead: who has just come back must not take the work of those who are
        about to. By the wall clock, because the other one stands still while a machine sleeps.
        """
        silent = self._ports.clock.now() - self._beaten_at
        if silent / timedelta(milliseconds=1) > _LATE_MS:
            self._beats = 0

    def _watch(self) -> None:
        with self._lock:
            active = list(self._active)
        if not active:
            return
        seen = {one.run_id: one for one in self._ports.executions.watch([a.run_id for a in active])}
        for one in active:
            found = seen.get(one.run_id)
            if found is None or found.state is not RunState.RUNNING:
                one.why = one.why or "fenced"
            elif one.fence is not None and found.fence != one.fence:
                one.why = "fenced"
            elif found.cancel_requested_by is not None:
                one.by, one.why = found.cancel_requested_by, one.why or "cancelled"
            elif found.overdue:
                one.why = one.why or "deadline"

    def _do_duties(self) -> None:
        for duty in self._ports.duties:
            try:
                duty()
            except StoreUnavailable:
                raise
            except Exception:
                # The others are done all the same.
                log.exception("a duty failed; it is tried again")

    def _reap(self) -> None:
        self._ports.executions.expire_queued()
        if self._beats * BEAT_S * 1000 <= LEASE_MS:
            return
        leases = self._ports.leases.all()
        if not self._may_judge(leases):
            return
        for lease in leases:
            if not lease.alive and lease.executor.executor_id != self._executor.executor_id:
                self._bury(lease.executor)
        if adopted := self._ports.queue.adopt_orphans():
            log.warning("took up %d attempts that no thread of ours executed", adopted)
        self._end_strays()

    def _may_judge(self, leases: Sequence[Lease]) -> bool:
        """Whether we have been heard of ourselves: else the others may be as well as we are."""
        me = self._executor.executor_id
        own = (one.silent_ms for one in leases if one.executor.executor_id == me)
        return next(own, LEASE_MS) <= _LATE_MS

    def _bury(self, dead: Executor) -> None:
        if dead.kind == "foreground":
            for run_id, number, _, holder in self._ports.executions.open_runs():
                if holder == dead.executor_id:
                    self._ports.executions.abandon(run_id, number, killed())
        elif taken := self._ports.queue.recover([dead.executor_id]):
            log.warning("took over %d attempts of the dead runner %s", taken, dead.executor_id)
        self._ports.leases.forget(dead.executor_id)

    def _end_strays(self) -> None:
        """End open attempts that the queue does not hold: nobody else ever would."""
        held_elsewhere = {
            lease.executor.executor_id
            for lease in self._ports.leases.all()
            if lease.executor.kind == "foreground"
        }
        open_now = {
            f"{run_id}-{number}": (run_id, number)
            for run_id, number, _, holder in self._ports.executions.open_runs()
            if holder not in held_elsewhere
        }
        ended = set(self._ports.queue.ended(sorted(open_now))) if open_now else set()
        self._stray = {name: self._stray.get(name, 0) + 1 for name in sorted(ended)}
        for name, looks in self._stray.items():
            if looks >= _STRAY_LOOKS:
                run_id, number = open_now[name]
                log.error("run %s attempt %d was lost by the queue", run_id, number)
                self._ports.executions.abandon(run_id, number, _lost())


def _bug(error: Exception) -> Ending:
    said = f"internal error: {type(error).__name__}: {error}"
    return Ending(RunState.ERRORED, Verdict.INCONCLUSIVE, ExitCode.INTERNAL, said)


def _lost() -> Ending:
    said = "the queue lost it; ask for the same run again"
    return Ending(RunState.ERRORED, Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE, said)
