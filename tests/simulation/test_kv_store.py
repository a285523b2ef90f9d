"""The store of examples/kv_store survives its world, and none of its broken twins does."""

from __future__ import annotations

import pytest
from tests.simulation.conftest import REPOSITORY

import toron

KERNEL = REPOSITORY / "examples/kv_store/kernel.py"
SEEDS_OF_A_TWIN_MAX = 200
CHUNK = 20
# Next to each: the first run that failed and how many of 50 did, at chaos seed 3, when this was
# written.
TWINS = {
    "without_file_sync": "1st, 50",
    "without_folder_sync": "1st, 21",
    "answers_before_quorum": "1st, 44",
    "lease_on_the_wall_clock": "2nd, 9",
    "carries_out_retries": "4th, 20",
}


def reference(name: str) -> toron.KernelRef:
    return toron.KernelRef(KERNEL, name)


# At 4 disks fail.
@pytest.mark.parametrize("chaos_seed", [3, 4])
def test_the_store_survives_a_sample_of_seeds(chaos_seed: int) -> None:
    explored = toron.explore(reference("kv_store"), seeds=range(20), chaos_seed=chaos_seed, jobs=2)
    assert [cluster.outcome.failure for cluster in explored.failures] == []
    assert explored.inconclusive_seeds == []
    assert explored.properties["a request was sent again"]["pass"] > 0


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chaos_seed", range(10))
def test_the_store_survives_a_hundred_seeds_of_each_of_ten_plans(chaos_seed: int) -> None:
    seeds = range(1000 + 100 * chaos_seed, 1100 + 100 * chaos_seed)
    explored = toron.explore(reference("kv_store"), seeds=seeds, chaos_seed=chaos_seed, jobs=2)
    assert [cluster.outcome.failure for cluster in explored.failures] == []
    assert explored.inconclusive_seeds == []


def first_failure(twin: str) -> tuple[toron.Outcome | None, int]:
    """The first failure of a twin, and how many runs it took."""
    for begin in range(0, SEEDS_OF_A_TWIN_MAX, CHUNK):
        seeds = range(begin, begin + CHUNK)
        explored = toron.explore(reference(twin), seeds=seeds, chaos_seed=3, jobs=2)
        if explored.runs_to_first_failure is not None:
            return explored.failures[0].outcome, begin + explored.runs_to_first_failure
    return None, SEEDS_OF_A_TWIN_MAX


@pytest.mark.parametrize("twin", TWINS)
def test_a_broken_twin_is_caught_and_its_failure_replays(twin: str) -> None:
    found, runs = first_failure(twin)
    assert found is not None, f"{twin} survived {runs} seeds"
    print(f"{twin}: caught by run {runs}")
    assert found.failure is not None
    assert toron.replay(found.token).failure == found.failure


def test_a_run_is_one_behaviour_a_seed_under_any_hash_seed() -> None:
    verified = toron.verify(reference("kv_store"), seeds=range(4), chaos_seed=3, jobs=2)
    assert verified.first_divergence is None
    assert verified.identical == 4
