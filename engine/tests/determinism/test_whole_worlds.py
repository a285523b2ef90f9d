"""Threads, hosts, clocks and disks of one seed are the same in any process, at any trace level."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toron.search.outcome import Execution
from toron.search.references import KernelRef
from toron.search.verify import verify

PROGRAMS = Path(__file__).parents[1] / "programs"
KERNELS = (
    ("threads", "a_pool_that_logs"),
    ("threads", "a_loop_in_a_thread"),
    ("threads", "a_host_that_loses_power"),
    ("blocking", "an_http_server_of_the_standard_library"),
    ("hosts", "clocks_that_jump"),
    ("hosts", "a_kill"),
    ("polling", "waits_in_threads"),
)


@pytest.mark.parametrize(("file", "kernel"), KERNELS)
def test_the_digest_is_the_same_at_each_level_of_the_trace(
    file: str, kernel: str, execute_program: Callable[..., Execution]
) -> None:
    outcomes = [
        execute_program(file, kernel, 3, level).outcome for level in ("digest", "events", "full")
    ]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0].trace_digest


@pytest.mark.parametrize(("file", "kernel"), KERNELS)
def test_a_seed_is_one_behaviour_under_other_hash_seeds_and_addresses(
    file: str, kernel: str
) -> None:
    found = verify(KernelRef(PROGRAMS / f"{file}.py", kernel), range(3), 0)
    assert found.first_divergence is None
    assert found.identical == 3
