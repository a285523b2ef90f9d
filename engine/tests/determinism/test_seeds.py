"""SIM_SEED moves schedules and chance, CHAOS_SEED moves faults, and neither moves the other."""

import asyncio

import toron
from toron.testing import execute


async def racing(world: toron.World) -> None:
    order: list[int] = []

    async def one(number: int) -> None:
        await asyncio.sleep(0)
        order.append(number)

    await asyncio.gather(*[one(number) for number in range(8)])
    world.record("order", order)


async def faulty(world: toron.World) -> None:
    hosts = [world.host(name) for name in ("a", "b", "c")]
    world.record("plan", world.faults(partitions=True, crashes=True, loss=True, slow=True))
    world.record("hosts", [host.name for host in hosts])
    await racing(world)


async def drawing(world: toron.World) -> None:
    import os
    import random

    world.record("drawn", [random.random(), os.urandom(8)])
    await racing(world)


async def drawing_more(world: toron.World) -> None:
    import os
    import random

    world.record("drawn", [random.random(), os.urandom(8)])
    os.urandom(64)
    [random.random() for _ in range(100)]
    await racing(world)


def test_the_chaos_seed_does_not_move_a_kernel_without_faults() -> None:
    digests = {toron.run(racing, seed=5, chaos_seed=chaos).trace_digest for chaos in range(5)}
    assert len(digests) == 1


def test_the_sim_seed_moves_the_schedule() -> None:
    orders = {tuple(toron.run(racing, seed=seed).outputs["order"]) for seed in range(10)}
    assert len(orders) == 10


def test_the_chaos_seed_moves_the_plan_and_not_the_schedule() -> None:
    outcomes = [toron.run(faulty, seed=5, chaos_seed=chaos) for chaos in range(5)]
    assert len({tuple(outcome.faults) for outcome in outcomes}) == 5
    assert len({tuple(outcome.outputs["order"]) for outcome in outcomes}) == 1


def test_the_sim_seed_does_not_move_the_plan() -> None:
    outcomes = [toron.run(faulty, seed=seed, chaos_seed=5) for seed in range(5)]
    assert len({tuple(outcome.faults) for outcome in outcomes}) == 1
    assert len({tuple(outcome.outputs["order"]) for outcome in outcomes}) == 5


def test_a_program_that_draws_more_chance_keeps_its_schedule() -> None:
    few, many = toron.run(drawing, seed=3), toron.run(drawing_more, seed=3)
    assert few.outputs == many.outputs
    assert few.trace_digest != many.trace_digest  # what was drawn is part of the behaviour


def test_both_ends_of_the_range_of_seeds_run() -> None:
    last = 2**64 - 1
    assert toron.run(racing, seed=last, chaos_seed=last).sim_seed == last
    assert toron.run(racing, seed=last).outputs != toron.run(racing, seed=0).outputs


def test_a_full_trace_has_the_digest_of_a_short_one() -> None:
    short, full = (execute(faulty, seed=4, level=level) for level in ("digest", "full"))
    assert full.outcome.trace_digest == short.outcome.trace_digest
    assert len(full.events) > len(short.events)
