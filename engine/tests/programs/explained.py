"""Programs that fail for a known reason, for the explanations."""

import asyncio
from collections import deque

import toron

IS_FIXED = False


class Turnstile:
    """Lets one in at a time. Whoever is cancelled when it is its turn takes the turn along."""

    def __init__(self):
        self.is_taken = False
        self.waiters = deque()

    async def enter(self):
        if not self.is_taken:
            self.is_taken = True
            return
        turn = asyncio.get_running_loop().create_future()
        self.waiters.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if IS_FIXED and turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self):
        while self.waiters:
            turn = self.waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.is_taken = False


async def holder(turnstile):
    await turnstile.enter()
    await asyncio.sleep(0.01)
    turnstile.leave()


async def hasty(turnstile):
    await asyncio.sleep(0.001)
    try:
        async with asyncio.timeout(0.0095):
            await turnstile.enter()
    except TimeoutError:
        return
    turnstile.leave()


async def patient(turnstile):
    await asyncio.sleep(0.002)
    await turnstile.enter()
    turnstile.leave()


@toron.kernel
async def lost_turn():
    """Fails when the deadline of `hasty` is met in the tick in which its turn comes."""
    turnstile = Turnstile()
    await asyncio.gather(holder(turnstile), hasty(turnstile), patient(turnstile))


@toron.kernel
async def in_order():
    """Fails only when `gather` starts its children in another order, which asyncio never does."""
    started = []

    async def child(number):
        started.append(number)

    await asyncio.gather(*(child(number) for number in range(3)))
    assert started == [0, 1, 2]


@toron.kernel
async def waiters_in_order():
    """Fails only when an event wakes its waiters in another order."""
    opened, gone = asyncio.Event(), []

    async def waiter(number):
        await opened.wait()
        gone.append(number)

    waiters = [asyncio.create_task(waiter(number)) for number in range(3)]
    await asyncio.sleep(0.01)
    opened.set()
    await asyncio.gather(*waiters)
    assert gone == sorted(gone)


@toron.kernel
async def two_clocks():
    """Fails when two timers of different tasks are met in one tick, the later one first."""
    ended = []

    async def sleeper(name, before, after):
        await asyncio.sleep(before)
        await asyncio.sleep(after)
        ended.append(name)

    await asyncio.gather(sleeper("a", 0.01, 0.02), sleeper("b", 0.02, 0.01001))
    assert ended == ["a", "b"]


@toron.kernel
async def always_fails():
    await asyncio.sleep(0.001)
    {}["nothing"]


@toron.kernel
async def broken_promise(world):
    """A property that breaks in asyncio's own order."""
    drawn = []
    world.always("at most two", lambda: len(drawn) <= 2)
    for _ in range(3):
        await world.sleep(0.001)
        drawn.append(1)


@toron.kernel
async def on_two_hosts(world):
    """Fails when the host that is spawned second begins first: machines have no order."""
    begun = []

    async def begin(name):
        begun.append(name)

    tasks = [world.host(name).spawn(begin, name) for name in ("a", "b")]
    await asyncio.gather(*tasks)
    assert begun == ["a", "b"]


@toron.kernel
async def ring():
    left, right = asyncio.Lock(), asyncio.Lock()

    async def take(first, second):
        async with first:
            await asyncio.sleep(1)
            async with second:
                pass

    await asyncio.gather(take(left, right), take(right, left))


@toron.kernel
async def passes():
    await asyncio.sleep(0.001)
