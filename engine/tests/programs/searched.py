"""Small programs whose bugs need a certain schedule; the strategies are tried on them."""

import asyncio

import toron


@toron.kernel
async def waits_politely() -> str:
    """Correct: one task spins until another has done its part, which an unfair schedule starves."""
    done: list[int] = []

    async def spin() -> None:
        while not done:
            await asyncio.sleep(0)

    async def work() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        done.append(1)

    await asyncio.gather(spin(), spin(), work())
    return "met"


@toron.kernel
async def deadline_beside_result() -> None:
    """The deadline and the result are due within 200 microseconds, and never at one instant."""
    answers: list[str] = []
    result: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer() -> None:
        await asyncio.sleep(0.020)
        result.set_result("yes")
        answers.append("given")

    async def ask() -> None:
        try:
            async with asyncio.timeout(0.0202):
                answers.append(await result)
        except TimeoutError:
            answers.append("too late")

    await asyncio.gather(answer(), ask())
    assert answers != ["given", "too late"], "the answer was given, and lost"


@toron.kernel
async def third_comes_first() -> None:
    """Fails when the first two of three tasks run after the third: two deviations."""
    order: list[int] = []

    async def one(number: int) -> None:
        order.append(number)

    await asyncio.gather(*[one(number) for number in range(3)])
    assert order != [2, 0, 1]


@toron.kernel
async def any_order_will_do() -> None:
    """Correct under each of the six orders."""
    order: list[int] = []

    async def one(number: int) -> None:
        order.append(number)

    await asyncio.gather(*[one(number) for number in range(3)])
    assert sorted(order) == [0, 1, 2]


@toron.kernel
async def lock_lost_to_a_timeout() -> None:
    """The lock is not released when the timeout expires between taking it and the `try`."""
    lock = asyncio.Lock()

    async def careless() -> None:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(0.01)
            await lock.acquire()
            await asyncio.sleep(0)
            try:
                await asyncio.sleep(0.1)
            finally:
                lock.release()

    await asyncio.gather(careless(), return_exceptions=True)
    async with lock:
        pass


@toron.kernel
async def lock_lost_to_a_cancellation() -> None:
    """The same with a task that the program cancels, later than where it hurts."""
    lock = asyncio.Lock()

    async def careless() -> None:
        await lock.acquire()
        await asyncio.sleep(0)
        try:
            await asyncio.sleep(1)
        finally:
            lock.release()

    task = asyncio.create_task(careless())
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait([task])
    async with lock:
        pass


@toron.kernel
async def never_cancelled() -> None:
    """The same once more, in a task that nobody cancels."""
    lock = asyncio.Lock()

    async def careless() -> None:
        await lock.acquire()
        await asyncio.sleep(0)
        lock.release()

    await asyncio.wait([asyncio.create_task(careless())])
    async with lock:
        pass


@toron.kernel
async def never_cancelled_before_the_end() -> None:
    """And in one that is left to itself: asyncio.run cancels it when all is over, and no sooner."""
    lock = asyncio.Lock()

    async def careless() -> None:
        await lock.acquire()
        await asyncio.sleep(0)
        lock.release()
        await asyncio.sleep(60)

    task = asyncio.create_task(careless())
    await asyncio.sleep(0.5)
    async with lock:
        pass
    assert not task.done()


@toron.kernel
async def measures_its_sleeps() -> float:
    """How late its timers were, in seconds; a stall makes none early."""
    loop = asyncio.get_running_loop()
    late: list[float] = []

    async def sleeper(number: int) -> None:
        for step in range(10):
            seconds = 0.001 * (1 + (number * 7 + step * 3) % 20)
            begin = loop.time()
            await asyncio.sleep(seconds)
            late.append(loop.time() - begin - seconds)

    await asyncio.gather(*[sleeper(number) for number in range(8)])
    assert min(late) >= 0
    return max(late)


@toron.kernel
async def under_faults(world: toron.World) -> None:
    """Two hosts and a plan of faults."""
    for name in ("a", "b"):
        world.host(name)
    world.record("plan", world.faults(partitions=True, slow=True, within=5.0))
    await world.sleep(6)


@toron.kernel
async def answers_at_once() -> str:
    """A request and an answer on one machine, beside two timers that are five seconds away."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(5):
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 9000)
    reader, writer = await asyncio.open_connection("127.0.0.1", 9000)
    for _ in range(5):
        async with asyncio.timeout(5):
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
    writer.close()
    server.close()
    return "answered"


@toron.kernel
async def guarded_by_a_minute() -> None:
    """Correct, and done long before its guard."""

    async def work() -> None:
        async with asyncio.timeout(60):
            for _ in range(3):
                await asyncio.sleep(0.01)

    await asyncio.create_task(work())


@toron.kernel
async def woken_and_gone() -> None:
    """A permit is lost when the deadline of the one who was just given it comes before its step."""
    waiting: list[asyncio.Future[None]] = []

    async def take(patience_s: float) -> bool:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            async with asyncio.timeout(patience_s):
                await turn
        except TimeoutError:
            return False
        await asyncio.sleep(0.01)
        give()
        return True

    def give() -> None:
        while waiting:
            turn = waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                return

    hasty = asyncio.create_task(take(0.105))
    patient = asyncio.create_task(take(60))
    await asyncio.sleep(0.1)
    give()
    await asyncio.gather(hasty, patient)
    assert hasty.result() or patient.result()
