"""Failures of one bug are one cluster, and failures of two bugs are two."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

import toron
from toron.search.clusters import is_same, lasting, template
from toron.search.outcome import Failure

Program = Callable[[], Awaitable[None]]


def clusters_of(*programs: Program) -> int:
    """How many causes the programs' failures have, each run under a few seeds."""
    causes = set()
    for program in programs:
        for seed in (1, 2, 3):
            failure = toron.run(program, seed=seed).failure
            assert failure is not None
            causes.add(failure.cause)
    return len(causes)


async def account_is_overdrawn() -> None:
    balance = -random.randrange(1_000)
    raise ValueError(f"account {random.choice(['anna', 'berta'])!r} has {balance} of [{balance}]")


async def account_is_closed() -> None:
    check(False, f"account {random.randrange(1_000)} is closed")


async def account_is_frozen() -> None:
    check(False, f"account {random.randrange(1_000)} is frozen")


def check(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


async def two_asserts() -> None:
    if random.randrange(2):
        raise LookupError("a")
    raise LookupError("a")


async def led_to(first: type[Exception]) -> None:
    try:
        raise first
    except Exception as error:
        raise RuntimeError("it did not work") from error


async def by_a_missing_key() -> None:
    await led_to(KeyError)


async def by_a_lost_connection() -> None:
    await led_to(ConnectionResetError)


def test_values_in_a_message_do_not_split_a_bug() -> None:
    assert clusters_of(account_is_overdrawn) == 1


def test_one_place_that_raises_for_many_is_told_apart_by_what_it_says() -> None:
    assert clusters_of(account_is_closed) == 1
    assert clusters_of(account_is_closed, account_is_frozen) == 2


def test_two_places_with_one_message_are_two_bugs() -> None:
    causes = {
        failure.cause
        for seed in range(12)
        if (failure := toron.run(two_asserts, seed=seed).failure) is not None
    }
    assert len(causes) == 2


def test_what_an_exception_was_raised_from_tells_bugs_apart() -> None:
    assert clusters_of(by_a_missing_key) == 1
    assert clusters_of(by_a_missing_key, by_a_lost_connection) == 2


async def circle(others: int, *, of_events: bool = False) -> None:
    """Two locks in two orders; others wait for one of them, or for what nobody does."""
    left, right, never = asyncio.Lock(), asyncio.Lock(), asyncio.Event()

    async def take(first: asyncio.Lock, second: asyncio.Lock) -> None:
        async with first:
            await asyncio.sleep(1)
            async with second:
                pass

    async def wait() -> None:
        await asyncio.sleep(2)
        if of_events:
            await never.wait()
        async with left:
            pass

    await asyncio.gather(take(left, right), take(right, left), *[wait() for _ in range(others)])


async def circle_alone() -> None:
    await circle(0)


async def circle_with_many_behind() -> None:
    await circle(random.randrange(1, 6))


async def circle_beside_others() -> None:
    await circle(3, of_events=True)


async def waits_for_nobody() -> None:
    """Some of five workers wait for ever; how many is chance."""
    never = asyncio.Event()

    async def work() -> None:
        if random.randrange(2):
            await never.wait()

    await asyncio.gather(never.wait(), *[work() for _ in range(5)])


async def empty_queue() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def worker() -> None:
        await queue.get()

    await asyncio.gather(*[worker() for _ in range(random.randrange(1, 5))])


def test_a_circle_of_locks_is_one_cluster_whoever_waits_behind_it() -> None:
    assert clusters_of(circle_alone, circle_with_many_behind, circle_beside_others) == 1


def test_how_many_wait_does_not_split_a_deadlock_and_for_what_does() -> None:
    assert clusters_of(empty_queue) == 1
    assert clusters_of(circle_alone, empty_queue, waits_for_nobody) >= 3


def test_a_part_of_a_deadlock_is_the_same_failure_for_shrinking() -> None:
    both = Failure(
        "deadlock", "", 0, "", cause="deadlock a at x:1 in f for E | b at x:2 in g for E"
    )
    one = Failure("deadlock", "", 0, "", cause="deadlock b at x:2 in g for E")
    other = Failure("deadlock", "", 0, "", cause="deadlock c at x:2 in g for E")
    assert is_same(both, both)
    assert is_same(one, both)
    assert not is_same(both, one)
    assert not is_same(other, both)
    assert not is_same(None, both)
    assert not is_same(Failure("livelock", "", 0, "", cause=both.cause), both)


def test_a_cause_survives_lines_that_move() -> None:
    before = "exception KeyError at shop/a.py:17 in pay < ValueError at shop/b.py:3 in get: no #"
    after = before.replace(":17 ", ":18 ").replace(":3 ", ":4 ")
    assert lasting(before) == lasting(after)
    assert lasting(before) != lasting(before.replace("pay", "refund"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no account 17", "no account -3.5e9"),
        ("got [1, 2, 3]", "got [1]"),
        ("key 'a' is unknown", "key 'bc' is unknown"),
        ("at 0x7f00 in use", "at 0x12ab in use"),
        (
            "job 6f1c2a9b-0000-4000-8000-0123456789ab lost",
            "job 00000000-aaaa-4bbb-8ccc-0123456789aa lost",
        ),
    ],
)
def test_a_message_is_told_without_what_varies(one: str, other: str) -> None:
    assert template(one) == template(other)


@pytest.mark.parametrize(
    ("one", "other"), [("account is closed", "account is frozen"), ("no lease", "two leases")]
)
def test_messages_that_say_something_else_stay_apart(one: str, other: str) -> None:
    assert template(one) != template(other)


def test_an_exploration_counts_causes_and_keeps_the_seeds_of_each() -> None:
    found = toron.explore(two_asserts, seeds=range(10))
    assert found.to_json()["distinct_failures"] == 2
    assert sorted(seed for one in found.failures for seed in one.seeds) == list(range(10))
    assert all(one.outcome.sim_seed == one.seeds[0] for one in found.failures)
