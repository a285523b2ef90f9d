"""The kernels of regression_core hold, depend on both seeds, and are one behaviour a seed."""

from __future__ import annotations

import pytest

import toron


def test_a_kernel_holds_with_and_without_many_faults(kernel: toron.KernelRef) -> None:
    for chaos_seed in (0, 3):
        explored = toron.explore(kernel, seeds=range(4), chaos_seed=chaos_seed, jobs=2)
        assert [cluster.outcome.failure for cluster in explored.failures] == []
        assert explored.inconclusive_seeds == []


def test_both_seeds_change_the_run_and_are_in_its_outcome(kernel: toron.KernelRef) -> None:
    plain = toron.run(kernel, seed=1, chaos_seed=3)
    other_schedule = toron.run(kernel, seed=2, chaos_seed=3)
    other_faults = toron.run(kernel, seed=1, chaos_seed=4)

    assert len({one.trace_digest for one in (plain, other_schedule, other_faults)}) == 3
    assert (other_schedule.sim_seed, other_schedule.chaos_seed) == (2, 3)
    assert other_schedule.faults == plain.faults
    assert other_faults.faults != plain.faults
    assert plain.outputs != {}
    assert plain.properties != {}


def test_a_kernel_is_the_same_in_another_process(kernel: toron.KernelRef) -> None:
    verified = toron.verify(kernel, seeds=range(2), chaos_seed=3, jobs=2, hash_seeds="fixed")

    assert verified.first_divergence is None
    assert verified.identical == 2


def test_our_protocols_are_the_same_under_any_hash_seed(own_protocol: toron.KernelRef) -> None:
    verified = toron.verify(own_protocol, seeds=range(4), chaos_seed=3, jobs=2)

    assert verified.first_divergence is None
    assert verified.identical == 4


@pytest.mark.long
@pytest.mark.timeout(600)
def test_twenty_seeds_of_a_kernel_are_identical(kernel: toron.KernelRef) -> None:
    verified = toron.verify(kernel, seeds=range(20), chaos_seed=3, jobs=2, hash_seeds="fixed")

    assert verified.first_divergence is None
    assert verified.identical == 20


@pytest.mark.long
@pytest.mark.timeout(600)
def test_twenty_seeds_of_our_protocols_are_identical_under_any_hash_seed(
    own_protocol: toron.KernelRef,
) -> None:
    verified = toron.verify(own_protocol, seeds=range(20), chaos_seed=3, jobs=2)

    assert verified.first_divergence is None
    assert verified.identical == 20


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chaos_seed", range(5))
def test_a_hundred_seeds_hold(kernel: toron.KernelRef, chaos_seed: int) -> None:
    explored = toron.explore(kernel, seeds=range(100), chaos_seed=chaos_seed, jobs=2)

    assert [cluster.outcome.failure for cluster in explored.failures] == []
    assert explored.inconclusive_seeds == []
