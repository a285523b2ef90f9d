"""Which exceptions count as left behind: those that nobody has looked at and nobody will."""

import asyncio

import toron


async def fail_at_once() -> None:
    raise ValueError("first child")


def test_a_child_that_a_pending_gather_will_look_at_is_not_left_behind() -> None:
    async def gathers_on_a_host_that_crashes(world: toron.World) -> None:
        async def main() -> None:
            slow = asyncio.sleep(2)
            await asyncio.gather(fail_at_once(), slow, return_exceptions=True)

        host = world.host("a")
        host.spawn(main)
        await world.sleep(1)
        host.crash()

    outcome = toron.run(gathers_on_a_host_that_crashes, seed=1)
    assert outcome.verdict == "pass", outcome.failure


def test_a_task_that_nobody_awaits_is_left_behind_with_its_line() -> None:
    async def forgets_a_task(world: toron.World) -> None:
        task = asyncio.create_task(fail_at_once())
        await world.sleep(1)
        assert task.done()

    outcome = toron.run(forgets_a_task, seed=1)
    assert outcome.failure is not None
    assert outcome.failure.kind == "exception"
    assert "ValueError: first child" in outcome.failure.message
    assert outcome.failure.where.endswith(":9 in fail_at_once")
