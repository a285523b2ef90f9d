"""What the fault variants of all programs share: two hosts, a patient client, one bad thing.

The work is twelve orders, half a virtual second apart. The bad thing begins in the middle of it. A
client gives each attempt a second, and tries an order again until the server has answered it, so
the same order may arrive more than once; the server keeps what it has taken in a dictionary that
outlives a power cut, as a database would. In the end every order is kept exactly as it was placed,
the client holds the answer to each, and at least one attempt was lost: otherwise nothing was
tested.
"""

import asyncio

PORT = 4000
ORDERS = 12
PACE_S = 0.5
ATTEMPT_S = 1.0
BEGINS_S = 2.5
PARTITION_S = 5.0
POWER_CUT_S = 2.0


def expected():
    return {f"order {number}": number * number for number in range(ORDERS)}


def keep(kept, name, value):
    """Take an order, or look again at one that is known: the answer is the same."""
    assert kept.setdefault(name, value) == value
    return value


class Patient:
    """A client's way to try again, and what was lost on it."""

    def __init__(self, errors=()):
        self.errors = (OSError, EOFError, TimeoutError, *errors)
        self.lost = []

    async def insist(self, attempt, *arguments):
        while True:
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    return await attempt(*arguments)
            except self.errors as error:
                self.lost.append(type(error).__name__)
            await asyncio.sleep(PACE_S / 2)

    async def place_orders(self, place):
        """Answers to all orders, by ``place(name, value)``."""
        answers = {}
        for name, value in expected().items():
            answers[name] = await self.insist(place, name, value)
            await asyncio.sleep(PACE_S)
        return answers


async def with_partition(world, serve, work, errors=()):
    """``serve(kept)`` and ``work(patient)`` on two hosts that lose sight of each other for 5 s."""
    kept, patient = {}, Patient(errors)
    world.host("server").spawn(serve, kept)
    working = world.host("client").spawn(work, patient)
    await world.sleep(BEGINS_S)
    world.net.partition("server", "client")
    await world.sleep(PARTITION_S)
    world.net.heal("server", "client")
    await settle(world, kept, patient, working)


async def with_crash(world, serve, work, errors=()):
    """The same, with a power cut of the server instead."""
    kept, patient = {}, Patient(errors)
    world.host("server").spawn(serve, kept)
    working = world.host("client").spawn(work, patient)
    await world.sleep(BEGINS_S)
    world.host("server").crash()
    await world.sleep(POWER_CUT_S)
    world.host("server").restart()
    await settle(world, kept, patient, working)


async def settle(world, kept, patient, working):
    assert not working.done(), "the bad thing came after the work"
    answers = await working
    assert answers == expected(), answers
    assert kept == expected(), kept
    assert patient.lost, "nothing was lost: the fault did not meet the work"
    world.record("answers", len(answers))
    world.record("attempts lost", len(patient.lost))
