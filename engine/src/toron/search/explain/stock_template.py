"""$TITLE

$HEADER
"""

import asyncio
import gc
import importlib.util
import inspect
import itertools
import random
import selectors
import sys
import time
import types
from pathlib import Path

KERNEL = Path($PATH)
NAME = $NAME
RANDOM_SEED = $RANDOM_SEED  # what the program draws from `random`
STALLS = $STALLS
"""(task, its step, loop iterations after it, the timer until which to sleep, else seconds)."""
CLOCK = $CLOCK
"""`real`, or `virtual`: no waiting, a timer is due when nothing else is left to do."""
LIMIT_S = $LIMIT_S


class Loop(asyncio.SelectorEventLoop):
    """asyncio's own event loop. All it adds: names, and a sleep of the whole process at times."""

    def __init__(self):
        self.now, self.ticks, self.stalls = 1000.0, 0, list(STALLS)
        self.counts, self.ran, self.timers = {}, {}, {}
        super().__init__(Idle(self) if CLOCK == "virtual" else selectors.SelectSelector())
        if CLOCK == "virtual":
            self.time = lambda: self.now
        self.limit = time.monotonic() + LIMIT_S

    def create_task(self, coro, **options):
        task = super().create_task(coro, **options)
        name = getattr(coro, "__qualname__", None) or type(coro).__qualname__
        count = self.counts[name] = self.counts.get(name, 0) + 1
        self.ran[task] = [f"{name}#{count}", 0, 0]
        return task

    def call_at(self, when, callback, *args, **options):
        timer = super().call_at(when, callback, *args, **options)
        task = asyncio.current_task(self)
        name, steps, _ = self.ran.get(task, ("", 0, 0))
        self.timers[f"{name}/{steps} {callback_name(callback)}"] = timer
        return timer

    def note_step(self, handle):
        known = self.ran.get(getattr(handle._callback, "__self__", None))
        if known is not None:
            known[1] += 1
            known[2] = self.ticks
        self.now += 1e-6

    def _run_once(self):
        for stall in list(self.stalls):
            if self.is_due(*stall[:3]):
                self.stalls.remove(stall)
                self.stand_still(*stall[3:])
        self.ticks += 1
        self.look_for_deadlock()
        super()._run_once()

    def is_due(self, task, step, ticks):
        return any(
            name == task and steps == step and self.ticks - tick == ticks
            for name, steps, tick in self.ran.values()
        )

    def stand_still(self, timer, seconds):
        known = self.timers.get(timer)
        if known is not None and not known.cancelled():
            seconds = known.when() - self.time()
        if CLOCK == "virtual":
            self.now += max(0.0, seconds)
        else:
            time.sleep(max(0.0, seconds))

    def look_for_deadlock(self):
        timers = [timer for timer in self._scheduled if not timer._cancelled]
        watched = len(self._selector.get_map()) > 1  # one is the loop's own
        if not (self._ready or timers or watched or self._stopping):
            fail("deadlock", "nothing is ready and no timer is set: asyncio would wait for ever")
        if time.monotonic() > self.limit:
            fail("deadlock", f"it has not ended within {LIMIT_S} s")


class Idle(selectors.SelectSelector):
    """Instead of waiting for a timer, lets the loop's clock jump to it."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def select(self, timeout=None):
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self.loop.now += timeout
        return ready


def callback_name(callback):
    while hasattr(callback, "func"):
        callback = callback.func
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    return f"{getattr(callback, '__module__', None) or ''}.{name}"


def watch_steps(loop):
    run = asyncio.Handle._run

    def noting(handle):
        loop.note_step(handle)
        run(handle)

    asyncio.Handle._run = noting


def fail(kind, text):
    """Say how it failed, with the stacks of the tasks that are left, and end the process."""
    for task in asyncio.all_tasks(LOOP):
        task.print_stack(file=sys.stdout)
    print(f"FAILED {kind} {text}", flush=True)
    sys.stdout.flush()
    import os

    os._exit(1)


class World:
    """The little of a simulated world that a program without hosts needs."""

    def __init__(self):
        self.invariants = []

    def always(self, name, condition):
        if not callable(condition):
            return condition or fail("property", name)
        self.invariants.append((name, condition))

    def check(self):
        for name, condition in self.invariants:
            if not condition():
                fail("property", name)

    def unreachable(self, name):
        fail("property", name)

    def eventually(self, name, condition, within):
        async def watch():
            end = LOOP.time() + within
            while not condition():
                if LOOP.time() > end:
                    fail("property", name)
                await asyncio.sleep(within / 1000)

        self.watching = LOOP.create_task(watch())

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    def record(self, name, value): ...

    def sometimes(self, name, condition): ...

    def reachable(self, name): ...


def load_kernel():
    """The program's own function, from its file; `toron`, if it imports that, is a stand-in."""
    toron = types.ModuleType("toron")
    toron.World = World
    toron.kernel = lambda function=None, **options: function or (lambda marked: marked)
    sys.modules["toron"] = toron
    root = KERNEL.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    sys.path.insert(0, str(root))
    name = ".".join(KERNEL.relative_to(root).with_suffix("").parts)
    spec = importlib.util.spec_from_file_location(name, KERNEL)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, NAME)


def main():
    kernel = load_kernel()
    arguments = []
    watch_steps(LOOP)
    if inspect.signature(kernel).parameters:
        world = World()
        arguments.append(world)
        note = LOOP.note_step

        def checking(handle):
            world.check()
            note(handle)

        LOOP.note_step = checking
    unhandled = []
    LOOP.set_exception_handler(lambda _, context: unhandled.append(context))
    asyncio.set_event_loop(LOOP)
    random.seed(RANDOM_SEED)
    try:
        task = LOOP.create_task(kernel(*arguments))
        LOOP.run_until_complete(task)
        for left in asyncio.all_tasks(LOOP):
            left.cancel()
        LOOP.run_until_complete(asyncio.sleep(0))
        for invariants in arguments:
            invariants.check()
    except (Exception, asyncio.CancelledError, SystemExit) as error:
        import traceback

        traceback.print_exc(file=sys.stdout)
        fail("exception", type(error).__name__)
    gc.collect()
    for context in unhandled:
        if context.get("exception") is not None:
            fail("exception", type(context["exception"]).__name__)
    print("PASSED", flush=True)


LOOP = Loop()
main()
