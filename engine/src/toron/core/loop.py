"""CPython's own selector event loop on a simulated kernel.

Transports, streams, servers, TLS, `sock_*` and `drain` are asyncio's unmodified code. Only the
single iteration `_run_once` is ours, because it is where a schedule is chosen: what asyncio leaves
open is permuted by the seed, and what asyncio promises (first-in first-out of `call_soon`, of lock
and queue waiters) is kept. Permuted are runs of consecutive task steps, timers that are due at the
same instant, and, in the selector, the order of ready descriptors.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import re
import signal
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context
from types import CodeType, FrameType
from typing import Any, Protocol

from toron.core.agenda import Agenda
from toron.core.baton import STEPS_WITHOUT_WAITING_MAX, Baton
from toron.core.choices import LATE_MAX, STALL_NS_MAX, ChoiceSource, Moment
from toron.core.clock import MONOTONIC_BASE_NS, SECOND_NS, STEP_NS, Clock
from toron.core.process import CURRENT, Process
from toron.core.selector import Descriptors, SimSelector
from toron.core.trace import Trace
from toron.core.values import brief, strip_addresses
from toron.errors import Livelock, StopRun

_FOLDERS = re.compile(r"(?:/[^\s/:'\"]+)+/(?=[^\s/]+\.py)")
_COLLECT_EVERY_STEPS = 20_000
_MOMENTS_MAX = 8
_TIMERS_REORDERED_MAX = 24
_FAR_NS = 1 << 62
_ARRIVAL_NEAR_NS = 4_000_000
"""An arrival counts as something with this delay: a machine that stands still for a millisecond is
nothing special."""

Resolver = Callable[..., list[tuple[Any, ...]]]
TaskCoroutine = Generator[Any, None, Any] | Coroutine[Any, Any, Any]


class SimFuture(asyncio.Future[Any]):
    """A future that hashes by creation order, so that sets of futures iterate alike in each run."""

    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self._toron_number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._toron_number


class SimTask(asyncio.Task[Any]):
    """A task that hashes by creation order and knows on which host it runs."""

    def __init__(
        self, coro: Any, number: int, process: Process | None, stable_name: str, **options: Any
    ) -> None:
        # Before `super`: the base class schedules the first step and registers in a WeakSet.
        self.toron_number = number
        self.toron_process = process
        coroutine = coroutine_name(coro)
        self.toron_label = f"task#{number} {coroutine}"
        self.toron_name = stable_name
        """Its coroutine function and which of that name it is: moves less than its number."""
        self.toron_steps = 0
        self.toron_woken_at = ""
        """The point at which a cancellation was last offered to it as it woke."""
        self.toron_cancelled: dict[str, None] | None = None
        """Where to note that the program cancels it; None when nobody asks."""
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.toron_number

    def cancel(self, msg: Any = None) -> bool:
        """As asyncio's; a search wants to know whom the program cancels."""
        if self.toron_cancelled is not None:
            self.toron_cancelled[self.toron_name] = None
        return super().cancel(msg)


def coroutine_name(coro: object) -> str:
    """The qualified name of a coroutine, without an address."""
    name = getattr(coro, "__qualname__", None) or type(coro).__qualname__
    return strip_addresses(str(name))


class SimTimer(asyncio.TimerHandle):
    """A timer that knows how long it was set for, and after which others it was set."""

    __slots__ = ("delay_ns", "name", "number", "step")

    _when: float
    delay_ns: int
    name: str
    number: int
    step: int
    """In which step of the run it was set."""


class Generators:
    """The loop's asynchronous generators, in the order of their first step, by process.

    asyncio keeps a WeakSet, whose order is one of addresses, and closes them in that order; it also
    knows nothing of hosts, whose generators end with a power cut and are never closed.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Process | None]] = {}

    def add(self, generator: Any) -> None:
        """Remember a generator."""
        self._known[id(generator)] = (weakref.ref(generator), None)

    def belongs(self, generator: Any, process: Process | None) -> None:
        """Say which process has begun to iterate it."""
        self._known[id(generator)] = (weakref.ref(generator), process)

    def discard(self, generator: Any) -> None:
        """Forget a generator that was closed or finalised."""
        self._known.pop(id(generator), None)

    def take(self, process: Process) -> list[Any]:
        """Forget, and hand over, the generators of a process that lost power."""
        mine = [key for key, (_, owner) in self._known.items() if owner is process]
        taken = [self._known.pop(key)[0]() for key in mine]
        return [generator for generator in taken if generator is not None]

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Any]:
        alive = [ref() for ref, _ in self._known.values()]
        return iter([generator for generator in alive if generator is not None])


class Follower(Protocol):
    """Notes beside the trace what a loop schedules, and when."""

    def follow(self, loop: SimLoop) -> None:
        """Follow ``loop`` from now on."""
        ...


class Shared:
    """What all event loops of a run have in common; a program's threads may run loops too."""

    def __init__(
        self,
        *,
        clock: Clock,
        agenda: Agenda,
        choices: ChoiceSource,
        trace: Trace,
        descriptors: Descriptors,
        baton: Baton,
        resolver: Resolver,
        after_step: Callable[[], None],
    ) -> None:
        self.clock = clock
        self.agenda = agenda
        self.choices = choices
        self.trace = trace
        self.descriptors = descriptors
        self.baton = baton
        self.resolver = resolver
        self.after_step = after_step
        self.collect: Callable[[], object] = lambda: None
        self.numbers = 0
        """How many tasks and futures were made: each has its own number."""
        self.names: dict[str, int] = {}
        """How many tasks were made of each coroutine function."""
        self.timers = 0
        self.kernel: asyncio.Task[Any] | None = None
        """The task of the kernel itself, which nobody cancels but the kernel."""
        self.injected = 0
        """How many cancellations came from the search and not from the program."""
        self.cancelled: dict[str, None] = {}
        """The tasks that the program, or a timeout of its, has cancelled."""
        self.expiries: list[tuple[str, int, int]] = []
        """Of each timeout that was offered: its point, the value that takes it, when it is due."""
        self.steps = 0
        self.busy_since = 0
        self.jumps_seen = 0
        self.graveyard: list[object] = []
        """What a power cut left behind: kept, so that no `finally` of a dead host ever runs."""
        self.failed_tasks: list[tuple[SimTask, int]] = []
        """Tasks that ended with an exception, and when; whether it was retrieved is seen later."""
        self.reported: list[tuple[dict[str, Any], int]] = []
        """What asyncio gave to the exception handler, and when."""
        self.failed_threads: list[tuple[str, BaseException, int]] = []
        """Threads that an exception ended, as `threading.excepthook` learned it, and when."""
        self.loops: list[SimLoop] = []
        self.causes: Follower | None = None
        """Who notes what led to each step; nobody, unless somebody will look at the run."""

    def all_tasks(self) -> list[SimTask]:
        """The unfinished tasks of all loops, in the order in which they were made."""
        tasks = [task for loop in self.loops for task in asyncio.all_tasks(loop)]
        return sorted((task for task in tasks if isinstance(task, SimTask)), key=hash)

    def bury(self, process: Process) -> None:
        """Take all that ``process`` does off the run, without running any of it."""
        process.alive = False
        self.graveyard.extend(self.baton.bury(process))
        self.graveyard.extend(process.held)
        for loop in self.loops:
            loop.bury(process)


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop of a simulated world; see the module."""

    def __init__(self, shared: Shared) -> None:
        self._toron = shared
        self._toron_clock = shared.clock
        self._toron_trace = shared.trace
        self._toron_selector = SimSelector(
            shared.clock, shared.agenda, shared.descriptors, shared.choices, shared.baton
        )
        self._toron_executors: dict[Process | None, Any] = {}
        super().__init__(self._toron_selector)
        self._clock_resolution = 1e-9
        self._asyncgens = Generators()
        if shared.causes is not None:
            shared.causes.follow(self)
        self._toron_selector.is_busy = lambda: bool(self._ready)  # type: ignore[attr-defined]
        shared.loops.append(self)

    # What asyncio asks the operating system for

    def time(self) -> float:
        """Virtual monotonic seconds, on the clock of the host that asks."""
        return self._toron_clock.monotonic_ns() / SECOND_NS

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """A timer at ``when`` on the clock of the host that sets it; the loop keeps true time."""
        if self._toron_clock.is_skewed and when < math.inf:
            process = CURRENT.get(None) if context is None else context.get(CURRENT)
            if process is not None and process.skew is not None:
                own_ns = _whole_ns(when) - MONOTONIC_BASE_NS
                when = (MONOTONIC_BASE_NS + process.skew.true_ns(own_ns)) / SECOND_NS
        if when is None:
            raise TypeError("when cannot be None")
        self._check_closed()  # type: ignore[attr-defined]
        if self.get_debug():
            self._check_callback(callback, "call_at")  # type: ignore[attr-defined]
        timer = SimTimer(when, callback, args, self, context)
        shared = self._toron
        shared.timers += 1
        timer.number = shared.timers
        timer.step = shared.steps
        due_ns = _due_ns(timer) if when < math.inf else 0
        timer.delay_ns = max(0, due_ns - self._toron_clock.now_ns)
        timer.name = self._timer_name(timer) if shared.choices.wants_names else ""
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def _timer_name(self, timer: SimTimer) -> str:
        """Who set it and at which of its steps; a task sets few timers in one step."""
        task = asyncio.current_task(self)
        if isinstance(task, SimTask):
            return f"{task.toron_name}/{task.toron_steps}"
        return callback_name(timer._callback)  # type: ignore[attr-defined]

    def reset_timers(self, process: Process, true_of: Callable[[int], int]) -> None:
        """The clock of a host was changed: move its pending timers to where they are due now."""
        scheduled = self._scheduled  # type: ignore[attr-defined]
        for handle in scheduled:
            if handle._context.get(CURRENT) is process and handle._when < math.inf:
                at_ns = true_of(_due_ns(handle))
                handle._when = (MONOTONIC_BASE_NS + at_ns) / SECOND_NS
        heapq.heapify(scheduled)

    def _make_self_pipe(self) -> None:
        """Nothing has to wake the selector: it sees what other threads put on the loop."""

    def _close_self_pipe(self) -> None:
        """There is none."""

    def _write_to_self(self) -> None:
        """A thread has put something on the loop, and the loop may go on at once."""
        self._toron.baton.yield_point()

    @property
    def _default_executor(self) -> Any:
        """A pool for each host: a power cut takes its threads and what they were doing."""
        return self._toron_executors.get(CURRENT.get(None))

    @_default_executor.setter
    def _default_executor(self, executor: Any) -> None:
        self._toron_executors[CURRENT.get(None)] = executor

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """Run ``callback`` on this loop when the host that asks gets the signal."""
        if asyncio.iscoroutine(callback) or asyncio.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)  # type: ignore[attr-defined]
        self._check_closed()  # type: ignore[attr-defined]
        baton = self._toron.baton
        if baton.current is not baton.main:
            raise RuntimeError("set_wakeup_fd only works in main thread of the main interpreter")
        if sig in (signal.SIGKILL, signal.SIGSTOP):
            raise RuntimeError(f"sig {sig} cannot be caught")
        handle = asyncio.Handle(callback, args, self, None)
        _signals_here()[int(sig)] = (self, handle)

    def remove_signal_handler(self, sig: int) -> bool:
        """Take it back; False when there was none."""
        self._check_signal(sig)  # type: ignore[attr-defined]
        known = _signals_here()
        if not isinstance(known.get(int(sig)), tuple):
            return False
        del known[int(sig)]
        return True

    def run_signal_handler(self, handle: asyncio.Handle) -> None:
        """Put the handler of a signal that arrived on the loop."""
        self._ready.append(handle)  # type: ignore[attr-defined]

    def create_future(self) -> SimFuture:
        """A future of this loop."""
        shared = self._toron
        shared.numbers += 1
        return SimFuture(shared.numbers, loop=self)

    def create_task(
        self,
        coro: TaskCoroutine,
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        """A task of this loop; a task factory of the program's own is honoured."""
        if self.get_task_factory() is not None:
            return super().create_task(coro, name=name, context=context, **options)
        self._check_closed()  # type: ignore[attr-defined]
        self._toron.numbers += 1
        process = CURRENT.get(None) if context is None else context.get(CURRENT)
        names, name_of_code = self._toron.names, coroutine_name(coro)
        count = names[name_of_code] = names.get(name_of_code, 0) + 1
        task = SimTask(
            coro,
            self._toron.numbers,
            process,
            f"{name_of_code}#{count}",
            loop=self,
            name=None if name is None else str(name),
            context=context,
        )
        if self._toron.choices.cancels:
            task.toron_cancelled = self._toron.cancelled
        on = process.name if process is not None else ""
        note = "" if name is None else str(name)
        self._toron_trace.add("spawn", f"{task.toron_label}({_arguments(coro)})", on=on, note=note)
        return task

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Resolve in the simulated world, after a seeded delay."""
        await asyncio.sleep(self._toron.choices.pick("net.dns", 1_000) / 1_000_000)
        return self._toron.resolver(host, port, **options)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        """Run ``func`` in a thread of the pool, as asyncio does."""
        self._toron_trace.add("executor", callback_name(func))
        return super().run_in_executor(executor, func, *args)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember what the program left unhandled, then do what asyncio does."""
        if self.get_exception_handler() is None:  # a program's own handler has handled it
            self._toron.reported.append((context, self._toron_clock.now_ns))
        error = context.get("exception")
        self._toron_trace.add("unhandled", f"{report_text(context)} {brief(error)}")
        super().call_exception_handler(context)

    def _asyncgen_firstiter_hook(self, agen: Any) -> None:
        super()._asyncgen_firstiter_hook(agen)  # type: ignore[misc]
        self._asyncgens.belongs(agen, CURRENT.get(None))

    # One iteration

    def _run_once(self) -> None:
        clock, scheduled = self._toron_clock, self._scheduled  # type: ignore[attr-defined]
        ready = self._ready  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            heapq.heappop(scheduled)._scheduled = False
        if self._toron.choices.stalls:
            self._stall()
        deadline_ns: int | None = None
        if ready or self._stopping:  # type: ignore[attr-defined]
            deadline_ns = clock.now_ns
        elif scheduled and scheduled[0]._when < math.inf:  # `sleep(inf)` waits for a cancellation
            deadline_ns = max(clock.now_ns, _due_ns(scheduled[0]))
        self._toron_trace.host = "net"
        self._process_events(self._toron_selector.select_until(deadline_ns))  # type: ignore[attr-defined]
        due = self._take_due()
        if len(due) > 1 and self._toron.choices.stalls:
            due = self._reorder(due)
        ready.extend(due)
        batch = list(ready)
        ready.clear()
        self._permute(batch)
        taken = 0
        try:
            for handle in batch:
                if not handle._cancelled:
                    self._step(handle)
                taken += 1
        finally:
            if taken < len(batch):
                ready.extendleft(reversed(batch[taken:]))

    def _stall(self) -> None:
        """Let the process stand still until a near moment, if the strategy wants it.

        What the world does meanwhile happens when it happens; the program meets all of it at once.
        """
        shared = self._toron
        busy = bool(
            self._ready  # type: ignore[attr-defined]
            or self._stopping  # type: ignore[attr-defined]
            or self._toron_selector.has_ready()
        )
        moments = self._moments(busy)
        moment = shared.choices.stall(moments, busy=busy) if moments else None
        if moment is not None:
            self._toron_trace.host = "net"
            shared.baton.stand_still(moment.at_ns)
            shared.baton.jumps += not busy

    def _moments(self, busy: bool) -> list[Moment]:
        """What is near enough to be met together with what is next, the nearest first."""
        timers: list[SimTimer] = [
            timer
            for timer in first_of_heap(self._scheduled, _MOMENTS_MAX)  # type: ignore[attr-defined]
            if _can_be_late(timer)
        ]
        arrival_ns = self._toron.agenda.first_ns()
        base_ns, delay_ns = self._toron_clock.now_ns, _FAR_NS
        if not busy:
            first_ns = _due_ns(timers[0]) if timers else _FAR_NS
            base_ns = first_ns if arrival_ns is None else min(first_ns, arrival_ns)
            delay_ns = _ARRIVAL_NEAR_NS
            if timers and first_ns == base_ns:
                delay_ns = max(delay_ns, timers[0].delay_ns)
        moments = [
            Moment(
                due_ns,
                timer.name,
                (due_ns - base_ns) / min(delay_ns, timer.delay_ns),
                due_ns - base_ns,
            )
            for timer in timers
            if base_ns < (due_ns := _due_ns(timer)) <= base_ns + STALL_NS_MAX and timer.delay_ns
        ]
        if arrival_ns is not None and arrival_ns > base_ns:
            late = (arrival_ns - base_ns) / min(delay_ns, _ARRIVAL_NEAR_NS)
            moments.append(Moment(arrival_ns, "arrival", late, arrival_ns - base_ns))
        return sorted(moment for moment in moments if moment.late <= LATE_MAX)

    def _reorder(self, due: list[Any]) -> list[Any]:
        """Timers that are met in one tick, in an order in which they might have been due.

        A pause between the setting of two timers makes the second late, and never the first. So a
        timer stays before those that were set after it and are due later, and timers that one step
        has set stay in the order of their deadlines.
        """
        if len(due) > _TIMERS_REORDERED_MAX or due[0]._when == due[-1]._when:
            return due
        order = self._toron.choices.order("schedule.timer", due, _timer_name)
        if order is None:
            return due
        wanted, taken = [due[position] for position in order], []
        while wanted:
            free = next(
                timer
                for timer in wanted
                if not any(
                    other._when < timer._when
                    and (other.number < timer.number or other.step == timer.step)
                    for other in wanted
                )
            )
            wanted.remove(free)
            taken.append(free)
        return taken

    def _permute(self, batch: list[Any]) -> None:
        """Reorder each maximal run of handles whose mutual order asyncio leaves open."""
        for start, end in open_order(batch):
            run = batch[start:end]
            order = self._toron.choices.order("schedule", run, _handle_name)
            if order is not None:
                batch[start:end] = [run[position] for position in order]

    def _step(self, handle: Any) -> None:
        process = handle._context.get(CURRENT)
        if process is not None and not (process.alive and not process.paused):
            (process.held if process.alive else self._toron.graveyard).append(handle)
            return
        shared, trace = self._toron, self._toron_trace
        shared.clock.now_ns += STEP_NS
        shared.steps += 1
        self._guard()
        trace.host = process.name if process is not None else "main"
        callback = handle._callback
        task = getattr(callback, "__self__", None)
        if isinstance(task, SimTask):
            if shared.choices.cancels and self._cancel_as_it_wakes(task, handle):
                return
            task.toron_steps += 1
            # As text: a frame that is kept keeps what its variables refer to from being closed.
            where = trace.place_of(suspended_stack(task)) if trace.level != "digest" else ""
            trace.add("step", f"{task.toron_label}{_outcome(handle._args)}", where)
            handle._run()
            if task.done():
                self._ended(task, where)
            elif shared.choices.cancels:
                self._cancel_as_it_waits(task)
        else:
            trace.add("call", callback_name(callback))
            handle._run()
        shared.after_step()

    def _cancel_as_it_waits(self, task: SimTask) -> None:
        """A cancellation, or one of its own timeouts, meets a task at the await it has come to."""
        if task is self._toron.kernel:
            return
        point = f"{task.toron_name}/{task.toron_steps}"
        timers = self._timeouts_of(task, point)
        value = self._toron.choices.cancel(point, len(timers))
        if value == 1:
            self._inject(task)
        elif value > 1:
            self._expire(timers[value - 2], is_new=timers[value - 2].name == point)

    def _timeouts_of(self, task: SimTask, point: str) -> list[SimTimer]:
        """The pending timeouts that ``task`` has set, in the order in which it did."""
        own = f"{task.toron_name}/"
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        mine = [timer for timer in scheduled if timer.name.startswith(own) and _is_timeout(timer)]
        mine.sort(key=lambda timer: timer.number)
        for at, timer in enumerate(mine):
            self._toron.expiries.append((point, 2 + at, _due_ns(timer)))
        return mine

    def _expire(self, timer: SimTimer, *, is_new: bool) -> None:
        """Stand still until a timeout is due, as if what came before had taken so long.

        What is due by then comes before all that the tick has made ready, because time has passed
        since the tick began; a timer set in this very step is first looked at in the next tick.
        """
        self._toron.baton.stand_still(_due_ns(timer))
        if not is_new:
            self._ready.extendleft(reversed(self._take_due()))  # type: ignore[attr-defined]

    def _take_due(self) -> list[Any]:
        """The timers that are due, taken off the heap in the order of their deadlines."""
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        now = (MONOTONIC_BASE_NS + self._toron_clock.now_ns) / SECOND_NS + self._clock_resolution
        due: list[Any] = []
        while scheduled and scheduled[0]._when < now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            due.append(handle)
        return due

    def _cancel_as_it_wakes(self, task: SimTask, handle: Any) -> bool:
        """A cancellation, or a timeout, meets a task that has its result and has not gone on yet.

        Says whether the task waits for what is due before it: the timeout came in the tick in which
        the result was set, after it, so it is handled first.
        """
        if not handle._args or not task.toron_steps or task is self._toron.kernel:
            return False
        point = f"{task.toron_name}/{task.toron_steps}+"
        if task.toron_woken_at == point:
            return False
        task.toron_woken_at = point
        timers = self._timeouts_of(task, point)
        value = self._toron.choices.cancel(point, len(timers))
        if value == 1:
            self._inject(task)
        if value <= 1:
            return False
        self._toron.baton.stand_still(_due_ns(timers[value - 2]))
        self._ready.extendleft([handle, *reversed(self._take_due())])  # type: ignore[attr-defined]
        return True

    def _inject(self, task: SimTask) -> None:
        self._toron.injected += 1
        self._toron_trace.add("cancel", task.toron_label)
        asyncio.Task.cancel(task)

    def _ended(self, task: SimTask, where: str) -> None:
        """Record how a task ended; ``where`` is where it last waited, the nearest known place."""
        if task.cancelled():
            text = f"task#{task.toron_number} cancelled"
            self._toron_trace.add("end", text, where, note="cancelled")
            return
        error = task._exception
        if error is not None:
            if isinstance(error, StopRun):
                raise error  # the task that met the end of the run is not its cause
            self._toron.failed_tasks.append((task, self._toron_clock.now_ns))
        text = brief(error if error is not None else task._result)  # type: ignore[attr-defined]
        note = "returned" if error is None else "failed"
        self._toron_trace.add("end", f"task#{task.toron_number} {text}", where, note=note)

    def _guard(self) -> None:
        shared = self._toron
        if shared.jumps_seen != shared.baton.jumps:
            shared.jumps_seen = shared.baton.jumps
            shared.busy_since = shared.steps
        elif shared.steps - shared.busy_since > STEPS_WITHOUT_WAITING_MAX:
            raise Livelock(
                f"{STEPS_WITHOUT_WAITING_MAX} steps in a row and nothing waited for time or I/O"
            )
        if shared.steps % _COLLECT_EVERY_STEPS == 0:
            shared.collect()

    def fall_silent(self) -> None:
        """The run is over: what is still pending is no news."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    def resume(self, held: list[Any]) -> None:
        """Run what was held back while a host was paused."""
        self._ready.extend(handle for handle in held if handle._loop is self)  # type: ignore[attr-defined]

    def bury(self, process: Process) -> None:
        """Take all that ``process`` has scheduled off the loop, without running any of it."""
        scheduled = self._scheduled  # type: ignore[attr-defined]
        graveyard = self._toron.graveyard
        dead = [handle for handle in scheduled if handle._context.get(CURRENT) is process]
        if dead:
            kept = [handle for handle in scheduled if handle._context.get(CURRENT) is not process]
            heapq.heapify(kept)
            scheduled[:] = kept
        graveyard.extend(dead)
        graveyard.extend(self._asyncgens.take(process))
        graveyard.append(self._toron_executors.pop(process, None))
        graveyard.extend(
            task
            for task in sorted(asyncio.all_tasks(self), key=hash)
            if isinstance(task, SimTask) and task.toron_process is process
        )


def first_of_heap(heap: list[Any], count: int) -> list[Any]:
    """The ``count`` least of a heap in their order, without looking at the others."""
    if not heap:
        return []
    found: list[Any] = []
    frontier = [(heap[0]._when, 0)]
    while frontier and len(found) < count:
        _, at = heapq.heappop(frontier)
        found.append(heap[at])
        for child in (2 * at + 1, 2 * at + 2):
            if child < len(heap):
                heapq.heappush(frontier, (heap[child]._when, child))
    return found


def _signals_here() -> dict[int, Any]:
    """The signal handlers of the process that acts now."""
    process = CURRENT.get(None)
    if process is None:
        raise RuntimeError("signals belong to a host, and no host acts here")
    return process.signals


def report_text(context: dict[str, Any]) -> str:
    """What asyncio reported, without the addresses and folders that its own text has."""
    handle = context.get("handle")
    if handle is not None:
        return f"Exception in callback {callback_name(handle._callback)}"
    return _FOLDERS.sub("", strip_addresses(str(context.get("message"))))


def _due_ns(handle: Any) -> int:
    return _whole_ns(handle._when) - MONOTONIC_BASE_NS


def _whole_ns(seconds: float) -> int:
    ns = int(seconds * SECOND_NS)
    while ns / SECOND_NS < seconds:
        ns += 1
    return ns


def _lane(handle: Any) -> object:
    """What handles must have in common for asyncio not to promise their order; None: promised."""
    if isinstance(handle, asyncio.TimerHandle):
        return handle.when()
    if isinstance(getattr(handle._callback, "__self__", None), asyncio.Task):
        return "task"
    return None


def open_order(batch: list[Any]) -> Iterator[tuple[int, int]]:
    """Each maximal run of handles whose mutual order asyncio leaves open: its start and end."""
    start = 0
    while start < len(batch):
        kind = _lane(batch[start])
        end = start + 1
        if kind is not None:
            while end < len(batch) and _lane(batch[end]) == kind:
                end += 1
            if end - start > 1:
                yield start, end
        start = end


def _handle_name(handle: Any) -> str:
    """What a handle runs, by a name that a small change of the program seldom moves."""
    task = getattr(handle._callback, "__self__", None)
    if isinstance(task, SimTask):
        return f"{task.toron_name}/{task.toron_steps + 1}"
    return _timer_name(handle) if isinstance(handle, SimTimer) else callback_name(handle._callback)


def _timer_name(timer: Any) -> str:
    return f"{timer.name} {callback_name(timer._callback)}"


def _can_be_late(timer: Any) -> bool:
    return not timer._cancelled and isinstance(timer, SimTimer) and timer._when < math.inf


def _is_timeout(timer: Any) -> bool:
    """Whether it ends something, as a timeout does; a sleep that ended early would be a lie."""
    sleeps = "futures._set_result_unless_cancelled"
    return _can_be_late(timer) and not callback_name(timer._callback).endswith(sleeps)


def _outcome(arguments: Any) -> str:
    """What a task is resumed with: the result of the future that it waited for."""
    if not arguments or not isinstance(arguments[0], asyncio.Future):
        return ""
    future: Any = arguments[0]
    if not future.done():
        return ""
    if future.cancelled():
        return " <- cancelled"
    error = future._exception
    return f" <- {brief(error if error is not None else future._result)}"


def _arguments(coro: Any) -> str:
    """The plain arguments with which a coroutine was called, before its first step."""
    frame, code = getattr(coro, "cr_frame", None), getattr(coro, "cr_code", None)
    if not isinstance(frame, FrameType) or not isinstance(code, CodeType):
        return ""
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    local = frame.f_locals
    plain = ((name, local[name]) for name in names if name in local)
    return ", ".join(
        f"{name}={brief(value)}"
        for name, value in plain
        if value is None or isinstance(value, (str, bytes, bool, int, float))
    )


def suspended_stack(task: SimTask) -> list[FrameType]:
    """The frames in which a task waits, innermost first."""
    frames: list[FrameType] = []
    awaitable: Any = task.get_coro()
    while awaitable is not None:
        inner = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if inner is None:
            break
        frames.append(inner)
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)
    return frames[::-1]


def callback_name(callback: Any) -> str:
    """A stable name of a callback: module and qualified name, through `partial`."""
    while hasattr(callback, "func"):
        callback = callback.func
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    module = getattr(callback, "__module__", None) or ""
    return strip_addresses(f"{module}.{name}")
