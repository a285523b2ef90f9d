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
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context
from types import CodeType, FrameType
from typing import Any

from toron.core.choices import ChoiceSource, shuffle
from toron.core.clock import MONOTONIC_BASE_NS, SECOND_NS, STEP_NS, Clock
from toron.core.process import CURRENT, Process
from toron.core.selector import SimSelector
from toron.core.trace import Trace
from toron.core.values import brief, strip_addresses
from toron.errors import EscapeError, Livelock

_FOLDERS = re.compile(r"(?:/[^\s/:'\"]+)+/(?=[^\s/]+\.py)")
STEPS_WITHOUT_WAITING_MAX = 500_000
_COLLECT_EVERY_STEPS = 20_000

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

    def __init__(self, coro: Any, number: int, process: Process | None, **options: Any) -> None:
        # Before `super`: the base class schedules the first step and registers in a WeakSet.
        self.toron_number = number
        self.toron_process = process
        self.toron_label = f"task#{number} {coroutine_name(coro)}"
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.toron_number


def coroutine_name(coro: object) -> str:
    """The qualified name of a coroutine, without an address."""
    name = getattr(coro, "__qualname__", None) or type(coro).__qualname__
    return strip_addresses(str(name))


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


class SimLoop(asyncio.SelectorEventLoop):
    """The event loop of a simulated world; see the module."""

    def __init__(
        self,
        *,
        selector: SimSelector,
        clock: Clock,
        choices: ChoiceSource,
        trace: Trace,
        resolver: Resolver,
        after_step: Callable[[], None],
    ) -> None:
        self._toron_clock = clock
        self._toron_choices = choices
        self._toron_trace = trace
        self._toron_selector = selector
        self._toron_resolver = resolver
        self._toron_after_step = after_step
        self._toron_numbers = 0
        self._toron_jumps = 0
        self._toron_busy_since = 0
        self.steps = 0
        self.graveyard: list[object] = []
        """What a power cut left behind: kept, so that no `finally` of a dead host ever runs."""
        self.failed_tasks: list[tuple[SimTask, int]] = []
        """Tasks that ended with an exception, and when; whether it was retrieved is seen later."""
        self.reported: list[tuple[dict[str, Any], int]] = []
        """What asyncio gave to the exception handler, and when."""
        self.collect: Callable[[], object] = lambda: None
        super().__init__(selector)
        self._clock_resolution = 1e-9
        self._asyncgens = Generators()
        selector.is_busy = lambda: bool(self._ready)  # type: ignore[attr-defined]

    # What asyncio asks the operating system for

    def time(self) -> float:
        """Virtual monotonic seconds."""
        return (MONOTONIC_BASE_NS + self._toron_clock.now_ns) / SECOND_NS

    def create_future(self) -> SimFuture:
        """A future of this loop."""
        self._toron_numbers += 1
        return SimFuture(self._toron_numbers, loop=self)

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
        self._toron_numbers += 1
        process = CURRENT.get(None) if context is None else context.get(CURRENT)
        task = SimTask(
            coro,
            self._toron_numbers,
            process,
            loop=self,
            name=None if name is None else str(name),
            context=context,
        )
        self._toron_trace.add("spawn", f"{task.toron_label}({_arguments(coro)})")
        return task

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Resolve in the simulated world, after a seeded delay."""
        await asyncio.sleep(self._toron_choices.pick("net.dns", 1_000) / 1_000_000)
        return self._toron_resolver(host, port, **options)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        """Refused: threads are not simulated yet."""
        raise EscapeError(
            f"run_in_executor({callback_name(func)}) needs a thread, which this version of Toron "
            "does not simulate; call the function directly in the kernel"
        )

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember what the program left unhandled, then do what asyncio does."""
        if self.get_exception_handler() is None:  # a program's own handler has handled it
            self.reported.append((context, self._toron_clock.now_ns))
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
        deadline_ns: int | None = None
        if ready or self._stopping:  # type: ignore[attr-defined]
            deadline_ns = clock.now_ns
        elif scheduled and scheduled[0]._when < math.inf:  # `sleep(inf)` waits for a cancellation
            deadline_ns = max(clock.now_ns, _due_ns(scheduled[0]))
        self._toron_trace.host = "net"
        self._process_events(self._toron_selector.select_until(deadline_ns))  # type: ignore[attr-defined]
        now = self.time() + self._clock_resolution
        while scheduled and scheduled[0]._when < now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
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

    def _permute(self, batch: list[Any]) -> None:
        """Shuffle each maximal run of handles whose mutual order asyncio leaves open."""
        start = 0
        while start < len(batch):
            kind = _lane(batch[start])
            end = start + 1
            if kind is not None:
                while end < len(batch) and _lane(batch[end]) == kind:
                    end += 1
                if end - start > 1:
                    run = batch[start:end]
                    shuffle(self._toron_choices, "schedule", run)
                    batch[start:end] = run
            start = end

    def _step(self, handle: Any) -> None:
        process = handle._context.get(CURRENT)
        if process is not None and not process.alive:
            self.graveyard.append(handle)
            return
        clock, trace = self._toron_clock, self._toron_trace
        clock.now_ns += STEP_NS
        self.steps += 1
        self._guard()
        trace.host = process.name if process is not None else "main"
        callback = handle._callback
        task = getattr(callback, "__self__", None)
        if isinstance(task, SimTask):
            stack = suspended_stack(task) if trace.level != "digest" else []
            trace.add("step", f"{task.toron_label}{_outcome(handle._args)}", stack)
            handle._run()
            if task.done():
                self._ended(task, stack)
        else:
            trace.add("call", callback_name(callback))
            handle._run()
        self._toron_after_step()

    def _ended(self, task: SimTask, stack: list[FrameType]) -> None:
        """Record how a task ended; ``stack`` is where it last waited, the nearest known place."""
        if task.cancelled():
            self._toron_trace.add("end", f"task#{task.toron_number} cancelled", stack)
            return
        error = task._exception
        if error is not None:
            self.failed_tasks.append((task, self._toron_clock.now_ns))
        text = brief(error if error is not None else task._result)  # type: ignore[attr-defined]
        self._toron_trace.add("end", f"task#{task.toron_number} {text}", stack)

    def _guard(self) -> None:
        if self._toron_jumps != self._toron_selector.jumps:
            self._toron_jumps = self._toron_selector.jumps
            self._toron_busy_since = self.steps
        elif self.steps - self._toron_busy_since > STEPS_WITHOUT_WAITING_MAX:
            raise Livelock(
                f"{STEPS_WITHOUT_WAITING_MAX} steps in a row and nothing waited for time or I/O"
            )
        if self.steps % _COLLECT_EVERY_STEPS == 0:
            self.collect()

    def fall_silent(self) -> None:
        """The run is over: what is still pending is no news."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    def bury(self, process: Process) -> None:
        """Take all that ``process`` has scheduled off the loop, without running any of it."""
        process.alive = False
        scheduled = self._scheduled  # type: ignore[attr-defined]
        dead = [handle for handle in scheduled if handle._context.get(CURRENT) is process]
        if dead:
            kept = [handle for handle in scheduled if handle._context.get(CURRENT) is not process]
            heapq.heapify(kept)
            scheduled[:] = kept
        self.graveyard.extend(dead)
        self.graveyard.extend(self._asyncgens.take(process))
        self.graveyard.extend(
            task
            for task in sorted(asyncio.all_tasks(self), key=hash)
            if isinstance(task, SimTask) and task.toron_process is process
        )


def report_text(context: dict[str, Any]) -> str:
    """What asyncio reported, without the addresses and folders that its own text has."""
    handle = context.get("handle")
    if handle is not None:
        return f"Exception in callback {callback_name(handle._callback)}"
    return _FOLDERS.sub("", strip_addresses(str(context.get("message"))))


def _due_ns(handle: Any) -> int:
    when = handle._when
    due = int(when * SECOND_NS)
    while due / SECOND_NS < when:
        due += 1
    return due - MONOTONIC_BASE_NS


def _lane(handle: Any) -> object:
    """What handles must have in common for asyncio not to promise their order; None: promised."""
    if isinstance(handle, asyncio.TimerHandle):
        return handle.when()
    if isinstance(getattr(handle._callback, "__self__", None), asyncio.Task):
        return "task"
    return None


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
