"""A divided simulation is put together whole, or not at all."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testops.domain.errors import InternalError
from testops.runner.chunks import Recorded, RecordedSimulator, Whose, read_chunk, write_chunk
from testops.runner.suites import ResolvedKernel

WHOSE = Whose("ab" * 8, "toron-v2.5H+.1", 7)
BIG = 2**64 - 1


def execution(kernel: str, seed: int, **outcome: Any) -> Recorded:
    return Recorded(kernel, seed, 7, {"verdict": "pass", **outcome}, True, None, 0.25)


def kernel(name: str) -> ResolvedKernel:
    return ResolvedKernel(name, Path(f"{name}.py"), f"{name}.py", name, "fixed")


def assembled(
    simulator: Any, paths: Sequence[Path], seeds: Sequence[int] = (1, 2), chaos_seed: int = 7
) -> list[Any]:
    recorded = RecordedSimulator(simulator, WHOSE.run_id, paths)
    return list(
        recorded.simulate(
            [kernel("b"), kernel("a")],
            sim_seeds=seeds,
            chaos_seed=chaos_seed,
            jobs=1,
            wall_limit_s=1,
        )
    )


def test_what_is_read_back_is_what_was_written(tmp_path: Path) -> None:
    one = execution(
        "a",
        BIG,
        outputs={"z": [1, 2.5, None, True, "\ud800", float("inf")], "a": {"big": 2**70}},
    )
    diverged = replace(one, identical=False, first_divergence={"event": 3, "where": "x.py:1"})
    left = write_chunk(tmp_path, WHOSE, [one, diverged])
    assert (left.executions, left.path.name) == (2, f"{left.sha256}.json.gz")
    back = read_chunk(left.path, WHOSE)
    assert back == [one, diverged]
    assert list(back[0].outcome["outputs"]) == ["z", "a"]


def test_equal_executions_are_equal_bytes(tmp_path: Path) -> None:
    first = write_chunk(tmp_path / "1", WHOSE, [execution("a", 1)])
    second = write_chunk(tmp_path / "2", WHOSE, [execution("a", 1)])
    assert first.sha256 == second.sha256


def test_what_no_bundle_could_hold_is_refused_when_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not a string"):
        write_chunk(tmp_path, WHOSE, [execution("a", 1, outputs={1: "one"})])


def test_chunks_in_any_order_give_the_order_of_the_question(tmp_path: Path, simulator: Any) -> None:
    first = write_chunk(tmp_path, WHOSE, [execution("a", 2), execution("b", 2)]).path
    second = write_chunk(tmp_path, WHOSE, [execution("b", 1), execution("a", 1)]).path
    for paths in ([first, second], [second, first]):
        found = [(one.kernel, one.sim_seed) for one in assembled(simulator, paths)]
        assert found == [("b", 1), ("b", 2), ("a", 1), ("a", 2)]


def test_a_missing_execution_is_an_error_that_names_it(tmp_path: Path, simulator: Any) -> None:
    left = write_chunk(tmp_path, WHOSE, [execution("a", 1), execution("a", 2), execution("b", 2)])
    with pytest.raises(InternalError, match=r"1 of 4 executions .* b at seed 1"):
        assembled(simulator, [left.path])


def test_an_execution_that_is_there_twice_is_an_error(tmp_path: Path, simulator: Any) -> None:
    everything = [execution(name, seed) for name in "ab" for seed in (1, 2)]
    whole = write_chunk(tmp_path, WHOSE, everything)
    again = write_chunk(tmp_path, WHOSE, [execution("a", 2)])
    with pytest.raises(InternalError, match="a at seed 2 is there twice"):
        assembled(simulator, [whole.path, again.path])


@pytest.mark.parametrize(
    "foreign",
    [execution("c", 1), execution("a", 3), replace(execution("a", 1), chaos_seed=8)],
)
def test_a_foreign_execution_is_an_error(tmp_path: Path, simulator: Any, foreign: Recorded) -> None:
    everything = [execution(name, seed) for name in "ab" for seed in (1, 2)]
    paths = [write_chunk(tmp_path, WHOSE, part).path for part in ([foreign], everything)]
    with pytest.raises(InternalError, match="never asked for"):
        assembled(simulator, paths)


@pytest.mark.parametrize(
    "other",
    [
        replace(WHOSE, run_id="cd" * 8),
        replace(WHOSE, engine_version="toron-v2.5H+.2"),
        replace(WHOSE, chaos_seed=8),
    ],
)
def test_a_chunk_of_another_run_is_an_error(tmp_path: Path, simulator: Any, other: Whose) -> None:
    left = write_chunk(tmp_path, other, [execution(n, s) for n in "ab" for s in (1, 2)])
    with pytest.raises(InternalError, match="another run"):
        assembled(simulator, [left.path])


def test_a_damaged_chunk_is_an_error(tmp_path: Path, simulator: Any) -> None:
    path = write_chunk(tmp_path, WHOSE, [execution("a", 1)]).path
    content = bytearray(path.read_bytes())
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(InternalError, match="cannot be read"):
            read_chunk(path, WHOSE)
    path.unlink()
    with pytest.raises(InternalError, match="cannot be read"):
        read_chunk(path, WHOSE)
