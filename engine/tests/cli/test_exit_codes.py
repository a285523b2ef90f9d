"""What the command says to a shell: its exit code, and one JSON object with the promised fields."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OUTCOME_FIELDS = {
    "strategy",
    "kernel",
    "sim_seed",
    "chaos_seed",
    "verdict",
    "trace_digest",
    "outputs",
    "properties",
    "failure",
    "steps",
    "virtual_ns",
    "token",
    "faults",
    "python",
}

KERNELS = """
import asyncio, os, sys
import toron

@toron.kernel(seeds=3)
async def holds(world):
    print("printed to stdout")
    print('{"verdict": "fail"}', file=sys.stderr)
    os.write(1, b"written to descriptor 1\\n")
    world.record("answer", 42)
    await world.sleep(1)

@toron.kernel(seeds=3)
async def breaks(world):
    world.always("small", lambda: world.now < 0.5)
    await world.sleep(1)

@toron.kernel(seeds=4)
async def breaks_sometimes(world):
    async def one(): order.append(1)
    async def two(): order.append(2)
    order = []
    await asyncio.gather(one(), two())
    world.always("in order", order == [1, 2])

@toron.kernel(seeds=2, time_limit=5)
async def never_ends(world):
    while True:
        await world.sleep(1)

@toron.kernel(seeds=2)
async def leaks(world):
    world.record("me", os.getpid())

@toron.kernel
async def raises(world):
    raise ValueError("no such account")

@toron.kernel
async def waits_for_nobody(world):
    await asyncio.Event().wait()
"""


@pytest.fixture
def toron(program: Callable[..., Path], toron_command: Callable[..., Any]) -> Callable[..., Any]:
    path = program(KERNELS, "kernels.py")
    assert path.is_file()
    return toron_command


@pytest.mark.parametrize(
    ("kernel", "code", "verdict", "kind"),
    [
        ("holds", 0, "pass", None),
        ("breaks", 1, "fail", "property"),
        ("raises", 1, "fail", "exception"),
        ("waits_for_nobody", 1, "fail", "deadlock"),
        ("never_ends", 4, "inconclusive", "limit"),
    ],
)
def test_run_exits_with_the_code_of_its_verdict(
    toron: Callable[..., Any], kernel: str, code: int, verdict: str, kind: str | None
) -> None:
    answer = toron("run", f"kernels.py::{kernel}", "--seed", 7, "--chaos-seed", 3, "--json")
    assert answer.code == code
    assert set(answer.json) == OUTCOME_FIELDS
    assert answer.json["verdict"] == verdict
    assert (answer.json["kernel"], answer.json["sim_seed"]) == (kernel, 7)
    assert answer.json["chaos_seed"] == 3
    failure = answer.json["failure"]
    assert (failure and failure["kind"]) == kind
    if failure:
        assert set(failure) == {
            "kind",
            "property",
            "message",
            "virtual_ns",
            "where",
            "cause",
            "legality",
        }
        assert failure["where"].startswith("kernels.py:")


def test_a_failed_property_is_named_with_its_virtual_time(toron: Callable[..., Any]) -> None:
    failure = toron("run", "kernels.py::breaks", "--json").json["failure"]
    assert failure["property"] == "small"
    assert failure["message"] == "always 'small' does not hold"
    assert failure["virtual_ns"] == 1_000_000_000 + 2_000


def test_a_kernel_that_prints_does_not_corrupt_the_json(toron: Callable[..., Any]) -> None:
    answer = toron("run", "kernels.py::holds", "--json")
    assert answer.json["outputs"] == {"answer": 42}
    for printed in ("printed to stdout", '{"verdict": "fail"}', "written to descriptor 1"):
        assert printed in answer.err


def test_explore_counts_seeds_and_groups_failures(toron: Callable[..., Any]) -> None:
    answer = toron("explore", "kernels.py::breaks_sometimes", "--seeds", "0:20", "--json")
    assert answer.code == 1
    found = answer.json
    assert found["seeds_run"] == 20
    assert found["distinct_failures"] == len(found["failures"]) == 1
    assert set(found["failures"][0]) == OUTCOME_FIELDS | {"seeds"}
    assert found["failures"][0]["seeds"] == found["failing_seeds"]
    assert 0 < len(found["failing_seeds"]) < 20
    assert found["runs_to_first_failure"] == found["failing_seeds"][0] + 1
    assert found["seeds_per_second"] > 0


def test_explore_with_two_jobs_finds_the_same(toron: Callable[..., Any]) -> None:
    one, two = (
        toron(
            "explore", "kernels.py::breaks_sometimes", "--seeds", "0:12", "--jobs", jobs, "--json"
        ).json
        for jobs in (1, 2)
    )
    assert {**one, "seeds_per_second": 0} == {**two, "seeds_per_second": 0}


@pytest.mark.parametrize(("kernel", "code", "seeds"), [("holds", 0, 3), ("never_ends", 4, 2)])
def test_explore_uses_the_seeds_that_the_kernel_asks_for(
    toron: Callable[..., Any], kernel: str, code: int, seeds: int
) -> None:
    answer = toron("explore", f"kernels.py::{kernel}", "--json")
    assert answer.code == code
    assert answer.json["seeds_run"] == seeds
    assert answer.json["failing_seeds"] == []
    assert answer.json["runs_to_first_failure"] is None


@pytest.mark.parametrize(
    ("kernel", "code", "percent"), [("holds", 0, 100.0), ("leaks", 3, 0.0), ("never_ends", 4, 100)]
)
def test_verify_exits_with_what_it_found(
    toron: Callable[..., Any], kernel: str, code: int, percent: float
) -> None:
    answer = toron("verify", f"kernels.py::{kernel}", "--seeds", "0:2", "--json")
    assert answer.code == code
    assert answer.json["executions"] == 2
    assert answer.json["identical"] == 2 * percent / 100
    assert answer.json["determinism_percent"] == percent
    assert (answer.json["first_divergence"] is None) == (code != 3)


def test_a_program_that_always_fails_is_still_deterministic(toron: Callable[..., Any]) -> None:
    answer = toron("verify", "kernels.py::breaks", "--seeds", "0:2", "--json")
    assert (answer.code, answer.json["identical"]) == (0, 2)


def test_replay_gives_the_outcome_of_the_run(toron: Callable[..., Any]) -> None:
    ran = toron("run", "kernels.py::breaks", "--seed", 9, "--json")
    again = toron("replay", ran.json["token"], "--json")
    assert again.code == ran.code == 1
    assert again.json == ran.json


def test_replay_of_changed_code_says_so_and_judges_the_new_behaviour(
    toron: Callable[..., Any], tmp_path: Path
) -> None:
    token = toron("run", "kernels.py::breaks", "--json").json["token"]
    path = tmp_path / "kernels.py"
    path.write_text(path.read_text().replace("world.now < 0.5", "world.now < 5"))
    answer = toron("replay", token, "--json")
    assert answer.code == 0
    assert answer.json["verdict"] == "pass"
    assert "the code has changed since; it does not fail any more" in answer.err


def test_replay_that_differs_with_the_same_code_is_nondeterminism(
    toron: Callable[..., Any],
) -> None:
    token = toron("run", "kernels.py::leaks", "--json").json["token"]
    answer = toron("replay", token, "--json")
    assert answer.code == 3
    assert "the code has not changed" in answer.err
    assert answer.json["kernel"] == "leaks"


def test_seeds_come_from_the_flag_then_the_environment_then_0(toron: Callable[..., Any]) -> None:
    def seeds(*flags: object, **environment: str) -> tuple[int, int]:
        ran = toron("run", "kernels.py::holds", "--json", *flags, **environment).json
        return ran["sim_seed"], ran["chaos_seed"]

    assert seeds() == (0, 0)
    assert seeds(SIM_SEED="5", CHAOS_SEED="6") == (5, 6)
    assert seeds("--seed", 7, "--chaos-seed", 8, SIM_SEED="5", CHAOS_SEED="6") == (7, 8)


def test_a_random_seed_is_told_and_reproduces(toron: Callable[..., Any]) -> None:
    drawn = toron("run", "kernels.py::holds", "--seed", "random", "--json")
    assert f"--seed {drawn.json['sim_seed']}\n" in drawn.err
    again = toron("run", "kernels.py::holds", "--seed", drawn.json["sim_seed"], "--json")
    assert again.json == drawn.json


def test_a_failure_is_told_to_a_person_with_the_command_that_replays_it(
    toron: Callable[..., Any],
) -> None:
    answer = toron("run", "kernels.py::raises", "--seed", 3)
    first, *rest = answer.out.splitlines()
    assert first.startswith("FAIL  raises  seed 3, chaos seed 0")
    told = "\n".join(rest)
    assert "ValueError: no such account" in told
    assert "kernels.py:37 in raises" in told
    command = next(line.split() for line in rest if "toron replay t2-" in line)[-3:]
    assert toron(*command[1:]).code == 1


def test_help_lists_the_verbs_and_the_version_is_the_engines(toron: Callable[..., Any]) -> None:
    assert toron("--version").out == "toron-v2.5H+.2\n"
    told = toron("--help").out
    assert all(verb in told for verb in ("run", "explore", "verify", "replay"))


def test_a_reader_that_goes_away_is_no_error(toron: Callable[..., Any], tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "toron", "explore", "kernels.py::holds", "--seeds", "0:2"]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=write_end, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(write_end)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
