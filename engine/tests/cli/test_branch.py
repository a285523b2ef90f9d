"""`toron branch` as a person or a script uses it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toron.cli import main

KERNEL = Path(__file__).parents[1] / "programs" / "branching.py"
NETWORK = f"{KERNEL}::over_the_network"
DRAW = f"{KERNEL}::decided_by_a_draw"


def test_branches_are_outcomes_with_tokens_that_replay(
    toron_command: Callable[..., Any],
) -> None:
    found = toron_command("branch", NETWORK, "--seed", 1, "--at", 2, "--branches", 3, "--json")
    told = found.json
    assert found.code == 0
    assert told["at_ns"] == 2_000_000_000
    assert [one["branch"] for one in told["branches"]] == [0, 1, 2]
    assert told["distinct_digests"] == 3
    assert told["failing"] == told["inconclusive"] == []
    assert told["forked"]
    last = told["branches"][2]
    again = toron_command("replay", last["token"], "--json")
    assert again.json["trace_digest"] == last["trace_digest"]


def test_failing_branches_are_grouped_and_the_exit_code_says_so(
    toron_command: Callable[..., Any],
) -> None:
    found = toron_command("branch", DRAW, "--seed", 1, "--at", 3, "--seeds", "1:9", "--jobs", 2)
    assert found.code == 1
    assert "8 branches" in found.out
    assert "AssertionError: lost" in found.out
    token = found.out.partition("replay: toron replay ")[2].split()[0]
    assert toron_command("replay", token).code == 1


@pytest.mark.long
def test_the_moment_of_a_failure_is_drawn_and_named(toron_command: Callable[..., Any]) -> None:
    seed = toron_command("explore", DRAW, "--seeds", "0:9", "--json").json["failing_seeds"][0]
    asked = ("branch", DRAW, "--seed", seed, "--inevitable", "--points", 4, "--branches", 8)
    found = toron_command(*asked)
    assert found.code == 1
    assert "failure rate of branches" in found.out
    assert "100%  ████" in found.out
    assert "inevitable from 4.2" in found.out
    assert "branching.py:" in found.out.partition("what happened between")[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--at SECONDS is missing"),
        (("--at", "2"), "--branches N is missing"),
        (("--at", "2", "--branches", "0"), "--branches 0 must be at least 1"),
        (("--at", "2", "--branches", "2", "--seeds", "0:3"), "exclude each other"),
        (("--at", "2", "--seeds", "3:3"), "--seeds '3:3' is empty"),
        (("--at", "nan", "--branches", "2"), "--at nan must be 0 or more"),
        (("--at", "-1", "--branches", "2"), "--at -1.0 must be 0 or more"),
        (("--at", "2", "--branches", "2", "--jobs", "0"), "--jobs 0 must be at least 1"),
        (("--at", "9", "--branches", "2"), "never gets beyond --at 9"),
        (("--inevitable", "--at", "2"), "leave out --at"),
        (("--inevitable", "--points", "0"), "--points 0"),
        (("--inevitable",), "passes with seed 0"),
    ],
)
def test_bad_input_is_named_with_its_fix(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert main(["branch", NETWORK, *arguments]) == 2
    assert says in capsys.readouterr().err


def test_what_forks_at_rare_states_find_replays(toron_command: Callable[..., Any]) -> None:
    asked = ("explore", DRAW, "--seeds", "0:20", "--strategy", "fork", "--json")
    told = toron_command(*asked).json
    assert told["seeds_run"] == 20
    assert told["failing_seeds"]
    for cluster in told["failures"]:
        again = toron_command("replay", cluster["token"], "--json").json
        assert again["trace_digest"] == cluster["trace_digest"]
        assert again["verdict"] == "fail"
