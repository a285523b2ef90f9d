"""Cores are lent in order, never overbooked, and nobody starves."""

import threading

import pytest

from testops.runner.budget import Budget, Need
from testops.runner.execution import chunk_ranges


def nothing() -> None:
    """Nobody stops the wait."""


def test_no_more_is_lent_than_there_is() -> None:
    budget = Budget(cores=3, memory_mb=1000)
    lock, now, most = threading.Lock(), 0, 0

    def work(cores: int) -> None:
        nonlocal now, most
        with budget.lent(Need(cores=cores), rank=5, stopped=nothing):
            with lock:
                now += cores
                most = max(most, now)
            threading.Event().wait(0.01)
            with lock:
                now -= cores

    threads = [threading.Thread(target=work, args=(1 + number % 3,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert most == 3
    assert now == 0


def test_a_need_that_is_larger_than_all_gets_all() -> None:
    with Budget(cores=2, memory_mb=100).lent(
        Need(cores=64, memory_mb=9999), rank=5, stopped=nothing
    ):
        pass


def test_an_exclusive_stage_is_not_overtaken_by_small_ones() -> None:
    budget = Budget(cores=2, memory_mb=0)
    order: list[str] = []
    holds, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with budget.lent(Need(), rank=5, stopped=nothing):
            holds.set()
            may_end.wait(30)

    def take(name: str, need: Need) -> None:
        with budget.lent(need, rank=5, stopped=nothing):
            order.append(name)

    first = threading.Thread(target=hold)
    first.start()
    holds.wait(30)
    exclusive = threading.Thread(target=take, args=("exclusive", Need(exclusive=True)))
    exclusive.start()
    while not budget._line:
        threading.Event().wait(0.005)
    small = threading.Thread(target=take, args=("small", Need()))
    small.start()
    threading.Event().wait(0.3)
    assert order == []
    may_end.set()
    for thread in (first, exclusive, small):
        thread.join(30)

    assert order == ["exclusive", "small"]


def test_one_that_is_stopped_leaves_the_line() -> None:
    budget = Budget(cores=1, memory_mb=0)

    def stop() -> None:
        raise RuntimeError("cancelled")

    with budget.lent(Need(), rank=5, stopped=nothing):
        with pytest.raises(RuntimeError), budget.lent(Need(), rank=5, stopped=stop):
            pass
        assert budget._line == []
    with budget.lent(Need(), rank=5, stopped=nothing):
        pass


@pytest.mark.parametrize("count", [1, 65, 1000, 100_000, 1_000_000])
def test_chunks_cover_every_seed_once(count: int) -> None:
    ranges = chunk_ranges(count)

    assert [seed for first, end in ranges for seed in range(first, end)] == list(range(count))
    assert len(ranges) <= 2000
