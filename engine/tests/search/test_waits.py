"""A deadlock names everything that is stuck: where, what it waits for, and who holds it."""

import asyncio

import toron


def message_of(kernel: object) -> str:
    failure = toron.run(kernel, seed=1).failure  # type: ignore[arg-type]
    assert failure is not None
    assert failure.kind == "deadlock"
    return failure.message


def test_two_locks_in_opposite_order_are_named_with_their_holders() -> None:
    async def kernel() -> None:
        left, right = asyncio.Lock(), asyncio.Lock()

        async def take(first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with first:
                await asyncio.sleep(1)
                async with second:
                    pass

        await asyncio.gather(take(left, right), take(right, left))

    message = message_of(kernel)
    assert "kernel waits for the end of task#2, task#3" in message
    assert "task#2" in message
    assert message.count("waits for Lock.acquire, held by task#") == 2
    assert "held by task#3" in message.partition("task#2 ")[2].partition("; ")[0]


def test_a_semaphore_names_those_that_took_it_and_not_those_that_gave_it_back() -> None:
    async def kernel() -> None:
        gate, never = asyncio.Semaphore(2), asyncio.Event()

        async def keep() -> None:
            async with gate:
                await never.wait()

        async def borrow() -> None:
            async with gate:
                await asyncio.sleep(0.1)

        keepers = [asyncio.create_task(keep()), asyncio.create_task(borrow())]
        await asyncio.sleep(1)
        keepers += [asyncio.create_task(keep()), asyncio.create_task(keep())]
        await asyncio.gather(*keepers)

    message = message_of(kernel)
    assert message.count("waits for Event.wait") == 2
    stuck = next(part for part in message.split("; ") if "Semaphore.acquire" in part)
    holders = stuck.partition("held by ")[2]
    assert "task#2" in holders
    assert "task#3" not in holders


def test_a_lock_whose_holder_has_ended_says_so() -> None:
    async def kernel() -> None:
        lock = asyncio.Lock()

        async def forget() -> None:
            await lock.acquire()

        await asyncio.create_task(forget())
        await lock.acquire()

    assert "held by task#2" in message_of(kernel)
    assert "which has ended" in message_of(kernel)


def test_a_queue_that_nobody_fills_and_a_future_that_nobody_sets_are_named() -> None:
    async def kernel() -> None:
        waiting = asyncio.create_task(asyncio.Queue[int]().get())
        await asyncio.sleep(1)
        await asyncio.get_running_loop().create_future()
        await waiting

    message = message_of(kernel)
    assert "waits for Queue.get" in message
    assert "waits for a future that nobody has set" in message
