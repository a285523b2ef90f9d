"""Crashes are hostile enough to find a missing fsync soon, and never break a correct program."""

from pathlib import Path

import pytest

import toron

PROGRAM = Path(__file__).parents[1] / "programs" / "write_ahead_log.py"


def failing(kernel: str, chaos_seeds: range) -> list[int]:
    reference = toron.KernelRef(PROGRAM, kernel)
    outcomes = (toron.run(reference, seed=1, chaos_seed=seed) for seed in chaos_seeds)
    return [outcome.chaos_seed for outcome in outcomes if outcome.verdict != "pass"]


def test_a_correct_log_survives_crashes() -> None:
    assert failing("correct", range(60)) == []


@pytest.mark.long
def test_a_correct_log_survives_a_thousand_seeds_of_crashes() -> None:
    assert failing("correct", range(1_000)) == []


@pytest.mark.parametrize("twin", ["without_fsync", "without_fsync_of_the_folder"])
def test_a_log_that_misses_a_sync_is_caught_soon(twin: str) -> None:
    assert len(failing(twin, range(20))) >= 5


def test_a_store_that_crashes_behaves_alike_in_every_process() -> None:
    for kernel in ("correct", "without_fsync"):
        verification = toron.verify(toron.KernelRef(PROGRAM, kernel), seeds=range(3), chaos_seed=3)
        assert verification.identical == 3, verification.first_divergence
