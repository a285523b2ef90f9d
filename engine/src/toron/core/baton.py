"""Threads under a baton: of all threads of a run exactly one executes, and the seed picks which.

They are real threads, because a library's code runs on them unmodified, but each one sleeps on a
gate of its own until it is handed the baton. It hands it on where a thread may have to wait: at a
lock, a queue, a sleep, a join, a blocking socket, and, for an event loop, at its selector. So a run
with threads is as repeatable as one without. Between two such points a thread is not preempted:
races inside plain Python code are out of reach, races at synchronisation are not.

The baton is also what moves time. A thread that has to wait says what for and until when; if none
can go on, the world's agenda and the earliest deadline decide where the clock jumps to, and if
there is neither, the run is deadlocked.
"""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from toron.core.agenda import Agenda
from toron.core.choices import ChoiceSource
from toron.core.clock import SECOND_NS, STEP_NS, Clock
from toron.core.process import CURRENT, Process
from toron.core.trace import Trace
from toron.core.turns import Turns
from toron.errors import Deadlock, LimitReached, Livelock, StopRun

THREADS_MAX = 2_000
STEPS_WITHOUT_WAITING_MAX = 500_000
# The real ones, before the edge replaces them.
_allocate_gate, _start_real_thread = _thread.allocate_lock, _thread.start_new_thread
_real_ident = _thread.get_ident
# How the end of a real thread is heard of: CPython 3.13 joins it, before that a lock is released
# when the last thing of the thread has been destroyed.
_start_joinable: Any = getattr(_thread, "start_joinable_thread", None)
_set_sentinel: Any = getattr(_thread, "_set_sentinel", None)
_NOTHING_LEFT = "nothing is ready, no timer is set and nothing is on the wire"


class Ready(Protocol):
    """Says whether a waiting thread could go on now."""

    def __call__(self) -> bool:
        """Cheap, and without any effect: it is asked again and again."""
        ...


def always() -> bool:
    """Ready at once."""
    return True


def never() -> bool:
    """Ready only by its deadline."""
    return False


class SimThread:
    """One thread of the run; number 0 is the one that runs the kernel's event loop."""

    __slots__ = (
        "at_end",
        "deadline_ns",
        "ended",
        "gate",
        "gone",
        "label",
        "native",
        "number",
        "process",
        "ready",
        "why",
    )

    def __init__(self, number: int, label: str, process: Process | None) -> None:
        self.number = number
        self.label = label
        self.process = process
        """The process on whose behalf it waits now: the idle thread of a pool works for nobody, and
        outlives the host that it last worked for; nor does the main thread die with a host."""
        self.gate = _allocate_gate()
        self.gate.acquire()
        self.native = 0
        self.gone: Callable[[], object] = _nothing
        """Waits, outside of the run, until nothing of the real thread is left."""
        self.ready: Ready = always
        self.deadline_ns: int | None = None
        self.why = ""
        self.ended = False
        self.at_end: list[Callable[[], None]] = []

    @property
    def is_dead(self) -> bool:
        """Whether it will never run again: it has ended, or its host lost power."""
        return self.ended or (self.process is not None and not self.process.alive)

    def may_run(self, now_ns: int) -> bool:
        """Whether it could go on at ``now_ns``."""
        process = self.process
        if process is not None and (process.paused or not process.alive):
            return False
        deadline_ns = self.deadline_ns
        return (deadline_ns is not None and deadline_ns <= now_ns) or self.ready()

    def frame(self) -> FrameType | None:
        """Where it stands in the program."""
        return sys._current_frames().get(self.native)


class Baton:
    """Hands the right to run from thread to thread, and moves time when none can use it."""

    def __init__(
        self,
        clock: Clock,
        agenda: Agenda,
        choices: ChoiceSource,
        trace: Trace,
        time_limit_ns: int,
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._choices = choices
        self._trace = trace
        self._time_limit_ns = time_limit_ns
        self._stop: BaseException | None = None
        self._started = 0
        self._handed_on = 0
        self.main = SimThread(0, "the main thread", None)
        self.main.native = _real_ident()
        self.current = self.main
        self.threads = [self.main]
        self.turns = Turns()
        self.home: Process | None = None
        """The process of the kernel itself, on whose behalf the world acts."""
        self.jumps = 0
        """How often time was advanced because nothing could run."""
        self.stopped_at = ""
        """Where the main thread stood when the run was ended."""
        self.on_start: Callable[[], None] = _nothing
        """Called in each new thread, before its function."""
        self._usher_gate = _allocate_gate()
        self._usher_gate.acquire()
        self._leaving: SimThread | None = None

    # Waiting

    def wait(self, ready: Ready, deadline_ns: int | None, why: str) -> bool:
        """Let the others run until ``ready()``; False when ``deadline_ns`` came first.

        ``why`` is what a report of a deadlock says that this thread waits for. Raises Deadlock and
        LimitReached, in the main thread only.
        """
        me = self.current
        me.ready, me.deadline_ns, me.why = ready, deadline_ns, why
        if len(self.threads) == 1:
            self._wait_alone(me)
        else:
            if me is not self.main:
                me.process = CURRENT.get(None)
            self._hand_on(me)
        me.why = ""
        return ready()

    def stand_still(self, until_ns: int) -> None:
        """Let virtual time pass while no thread of the program runs, and the world goes on.

        Not past what another thread waits for, nor past the time limit.
        """
        clock, agenda = self._clock, self._agenda
        self.current.deadline_ns = None  # of its last wait, which is over
        deadline_ns = self._earliest_deadline()
        until_ns = min(until_ns, self._time_limit_ns)
        if deadline_ns is not None:
            until_ns = min(until_ns, deadline_ns)
        while True:
            next_ns = agenda.first_ns()
            is_last = next_ns is None or next_ns > until_ns
            wake_ns = until_ns if next_ns is None or is_last else next_ns
            if wake_ns > max(self.turns.next_ns, clock.now_ns):
                self.turns.reach(wake_ns)
                continue  # what is to come may be another now
            if is_last:
                break
            clock.advance_to(max(clock.now_ns, wake_ns))
            self._run_due()
        clock.advance_to(max(clock.now_ns, until_ns))

    def yield_point(self) -> None:
        """Another thread may go on here, if the seed says so."""
        if len(self.threads) > 1:
            self.wait(always, None, "")

    def _wait_alone(self, me: SimThread) -> None:
        clock = self._clock
        while True:
            self._run_due()
            if me.may_run(clock.now_ns):
                return
            stop = self._advance()
            if stop is not None:
                self.stopped_at = self._trace.here()
                raise stop

    def _hand_on(self, me: SimThread) -> None:
        """Give the baton to a thread that can run, which may be ``me`` again."""
        host = self._trace.host
        self._trace.host = "net"
        chosen = self._choose()
        if chosen is not me:
            self.current = chosen
            self._trace.add("thread", f"{me.label} -> {chosen.label}")
            chosen.gate.release()
            if me.ended:
                return
            me.gate.acquire()
        if me is self.main and self._stop is not None:
            stop, self._stop = self._stop, None
            self.stopped_at = self._trace.here()
            raise stop
        self._trace.host = host

    def _choose(self) -> SimThread:
        clock = self._clock
        if self._stop is None:
            clock.now_ns += STEP_NS  # a thread that polls must see its deadline pass
            self._stop = self._guard()
        while self._stop is None:
            try:
                self._run_due()
            except StopRun as stop:  # not in a thread of the program, which could swallow it
                self._stop = stop
                break
            able = [thread for thread in self.threads if thread.may_run(clock.now_ns)]
            if len(able) > 1:
                return able[self._choices.pick("schedule.thread", len(able))]
            if able:
                return able[0]
            self._stop = self._advance()
        return self.main

    def _run_due(self) -> None:
        """Do what the world does by itself, on behalf of the kernel and not of the waiting thread.

        Else a pause that begins now would be refused, as the host's own.
        """
        acting = CURRENT.get(None)
        if acting is self.home or self.home is None:
            self._agenda.run_due(self._clock.now_ns)
            return
        token = CURRENT.set(self.home)
        try:
            self._agenda.run_due(self._clock.now_ns)
        finally:
            CURRENT.reset(token)

    def _guard(self) -> StopRun | None:
        self._handed_on += 1
        if self._handed_on <= STEPS_WITHOUT_WAITING_MAX:
            return None
        return Livelock(
            f"the threads went on {STEPS_WITHOUT_WAITING_MAX} times in a row "
            "and nothing waited for time or I/O"
        )

    def _advance(self) -> StopRun | None:
        """Jump to the next thing that happens; a reason to stop when nothing ever does."""
        clock, agenda = self._clock, self._agenda
        deadline_ns = self._earliest_deadline()
        if deadline_ns is None:
            wake_ns = agenda.next_ns()
            if wake_ns is None:
                return Deadlock(_NOTHING_LEFT)
        else:
            first_ns = agenda.first_ns()
            wake_ns = deadline_ns if first_ns is None else min(deadline_ns, first_ns)
        if wake_ns > self.turns.next_ns:
            self.turns.reach(wake_ns)
            return self._advance()  # what is to come may be another now
        if wake_ns > self._time_limit_ns:
            clock.advance_to(max(clock.now_ns, self._time_limit_ns))
            return LimitReached(
                f"the time limit of {self._time_limit_ns / SECOND_NS:g} virtual seconds "
                "was reached before the kernel ended"
            )
        clock.advance_to(max(clock.now_ns, wake_ns))
        self.jumps += 1
        self._handed_on = 0
        return None

    def _earliest_deadline(self) -> int | None:
        deadlines = [
            thread.deadline_ns
            for thread in self.threads
            if thread.deadline_ns is not None
            and (thread.process is None or not thread.process.paused)
        ]
        return min(deadlines, default=None)

    # Threads

    def start(self, body: Callable[[], object], label: str, process: Process | None) -> SimThread:
        """Start a thread that calls ``body``; RuntimeError when there are too many."""
        if len(self.threads) >= THREADS_MAX:
            raise RuntimeError("can't start new thread")
        self._started += 1
        thread = SimThread(self._started, f"thread#{self._started} {label}", process)
        self.threads.append(thread)
        self._trace.add("thread", f"start {thread.label}")
        if self._started == 1:
            _start_real_thread(self._usher, ())
        self._start_real(thread, body, process)
        self.yield_point()
        return thread

    def _start_real(
        self, thread: SimThread, body: Callable[[], object], process: Process | None
    ) -> None:
        if _start_joinable is None:
            _start_real_thread(self._run, (thread, body, process))
        else:
            handle = _start_joinable(lambda: self._run(thread, body, process), daemon=True)
            thread.gone = handle.join

    def _run(self, thread: SimThread, body: Callable[[], object], process: Process | None) -> None:
        thread.gate.acquire()
        if _start_joinable is None:
            end = _set_sentinel()
            end.acquire()
            thread.gone = end.acquire
        thread.native = _real_ident()
        if process is not None:
            CURRENT.set(process)
            self._trace.host = process.name
        try:
            self.on_start()
            body()
        except SystemExit:
            pass  # how a thread ends itself
        except BaseException as error:  # noqa: BLE001  (handed to the main thread, which ends the run)
            self.stop(error)
        self._end(thread)

    def _end(self, thread: SimThread) -> None:
        self._trace.add("thread", f"end {thread.label}")
        for action in thread.at_end:
            action()
        self._leaving = thread
        self._usher_gate.release()

    def _usher(self) -> None:
        """Hand on the baton of threads that have ended, in a real thread outside of the run.

        What only a thread refers to (its thread-locals, its context, what it was called with) is
        destroyed when the real thread ends, after its last line; that may close a connection. So a
        thread keeps the baton until nothing of it is left, and cannot hand it on itself.
        """
        while True:
            self._usher_gate.acquire()
            thread, self._leaving = self._leaving, None
            assert thread is not None
            thread.gone()
            thread.ended = True
            if thread in self.threads:  # else its host lost power meanwhile
                self.threads.remove(thread)
            self._hand_on(thread)
            del thread  # nothing may live longer here than it did there

    def stop(self, error: BaseException) -> None:
        """End the run with ``error`` as soon as the main thread has the baton, which is next."""
        self._stop = self._stop or error

    @property
    def is_alone(self) -> bool:
        """Whether the kernel's thread is the only one, and it is the one that asks."""
        return len(self.threads) == 1 and _real_ident() == self.main.native

    def forked(self) -> None:
        """The process is a copy: of its threads only the one that was alone has come along."""
        if self._started:
            _start_real_thread(self._usher, ())

    def bury(self, process: Process) -> list[SimThread]:
        """Take the threads that work for ``process`` off the run, where they stand."""
        dead = [thread for thread in self.threads[1:] if thread.process is process]
        self.threads = [thread for thread in self.threads if thread not in dead]
        return dead


def _nothing() -> None:
    return None
