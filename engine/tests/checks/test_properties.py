"""Properties end a run when they break, and count how often they held."""

import asyncio
import contextlib
from typing import Any

import pytest

import toron


def outcome_of(kernel: Any) -> toron.Outcome:
    return toron.run(kernel, seed=1)


def counts(kind: str, held: int, broke: int) -> dict[str, Any]:
    return {"kind": kind, "pass": held, "fail": broke, "never_reached": held == broke == 0}


def test_always_is_judged_after_every_step_and_ends_the_run_where_it_breaks() -> None:
    async def kernel(world: toron.World) -> None:
        balance = [1]
        world.always("no negative balance", lambda: balance[0] >= 0)
        for _ in range(3):
            await asyncio.sleep(0)
        balance[0] = -1
        await asyncio.sleep(0)
        balance[0] = 1
        world.unreachable("the run went on")

    outcome = outcome_of(kernel)
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.property) == ("property", "no negative balance")
    assert outcome.failure.message == "always 'no negative balance' does not hold"
    assert outcome.failure.where.startswith("engine/tests/checks/test_properties.py:")
    assert outcome.properties == {"no negative balance": counts("always", 3, 1)}


def test_a_value_given_to_always_is_judged_at_once() -> None:
    async def kernel(world: toron.World) -> None:
        world.always("one", condition=True)
        world.always("one", condition=True)
        world.always("two", condition=False)

    outcome = outcome_of(kernel)
    assert outcome.properties == {"one": counts("always", 2, 0), "two": counts("always", 0, 1)}
    assert outcome.verdict == "fail"


def test_eventually_holds_once_it_came_true_within_its_time() -> None:
    async def kernel(world: toron.World) -> None:
        world.eventually("late", lambda: world.now > 5, within=10)
        await world.sleep(20)

    outcome = outcome_of(kernel)
    assert (outcome.verdict, outcome.properties) == ("pass", {"late": counts("eventually", 1, 0)})


def test_eventually_breaks_at_its_deadline() -> None:
    async def kernel(world: toron.World) -> None:
        await world.sleep(1)
        world.eventually("never", lambda: False, within=10)
        await world.sleep(1000)

    outcome = outcome_of(kernel)
    assert outcome.failure is not None
    assert outcome.failure.message == "eventually 'never' did not come true within 10 s"
    assert outcome.failure.virtual_ns == pytest.approx(11e9, rel=1e-5)
    assert outcome.properties == {"never": counts("eventually", 0, 1)}


def test_eventually_that_is_still_open_at_the_end_has_not_come_true() -> None:
    async def kernel(world: toron.World) -> None:
        world.eventually("not yet", lambda: False, within=10)
        await world.sleep(4)

    failure = outcome_of(kernel).failure
    assert failure is not None
    assert failure.message.startswith(
        "eventually 'not yet' had not come true when the kernel ended"
    )
    assert failure.kind == "property"


def test_eventually_is_judged_at_its_deadline_although_everything_waits() -> None:
    async def kernel(world: toron.World) -> None:
        world.eventually("never", lambda: False, within=10)
        await world.sleep(11)

    outcome = outcome_of(kernel)
    assert outcome.failure is not None
    assert outcome.failure.virtual_ns < 10.1e9


def test_an_open_eventually_does_not_hide_a_deadlock() -> None:
    async def kernel(world: toron.World) -> None:
        world.eventually("never", lambda: False, within=10)
        await asyncio.Event().wait()

    failure = outcome_of(kernel).failure
    assert failure is not None
    assert failure.kind in ("deadlock", "property")


def test_sometimes_and_reachable_count_and_never_fail_a_run() -> None:
    async def kernel(world: toron.World) -> None:
        world.sometimes("retried", condition=False)
        world.sometimes("called", lambda: True)
        world.sometimes("called", condition=True)
        world.reachable("here")

    outcome = outcome_of(kernel)
    assert outcome.verdict == "pass"
    assert outcome.properties == {
        "retried": counts("sometimes", 0, 0),
        "called": counts("sometimes", 2, 0),
        "here": counts("reachable", 1, 0),
    }


def test_unreachable_fails_where_it_is_reached() -> None:
    async def kernel(world: toron.World) -> None:
        world.unreachable("two leaders")

    outcome = outcome_of(kernel)
    assert outcome.failure is not None
    assert outcome.failure.message == "unreachable 'two leaders' was reached"
    assert outcome.properties == {"two leaders": counts("unreachable", 0, 1)}


def test_a_broken_property_cannot_be_swallowed_by_the_program() -> None:
    async def kernel(world: toron.World) -> None:
        with contextlib.suppress(Exception):
            world.unreachable("x")
        await world.sleep(1)

    assert outcome_of(kernel).verdict == "fail"


def test_a_condition_that_raises_is_a_failed_property_with_its_error() -> None:
    async def kernel(world: toron.World) -> None:
        nothing: dict[str, bool] = {}
        world.always("sound", lambda: nothing["missing"])
        await world.sleep(1)

    failure = outcome_of(kernel).failure
    assert failure is not None
    assert failure.message == "always 'sound' could not be evaluated: KeyError('missing')"
    assert failure.property == "sound"


def test_one_name_is_one_kind_of_property() -> None:
    async def kernel(world: toron.World) -> None:
        world.sometimes("x", condition=True)
        world.always("x", condition=True)

    failure = outcome_of(kernel).failure
    assert failure is not None
    assert "property 'x' is declared as sometimes and as always" in failure.message


def test_an_exploration_adds_the_counts_of_its_runs() -> None:
    async def kernel(world: toron.World) -> None:
        order: list[int] = []

        async def one(number: int) -> None:
            order.append(number)

        await asyncio.gather(one(1), one(2))
        world.sometimes("overtaken", condition=order == [2, 1])
        world.sometimes("impossible", condition=len(order) == 3)

    exploration = toron.explore(kernel, seeds=range(10))
    assert exploration.seeds_run == 10
    assert 0 < exploration.properties["overtaken"]["pass"] < 10
    assert not exploration.properties["overtaken"]["never_reached"]
    assert exploration.properties["impossible"]["never_reached"]
