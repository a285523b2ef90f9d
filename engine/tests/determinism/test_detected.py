"""What Toron does not control is found by verify: exit 3, and the exact line."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.search.verify import Question, Verified, verify_many

DETECTED = Path(__file__).parents[1] / "programs" / "detected.py"
LEAKS = re.findall(r"^async def (\w+)\(\):", DETECTED.read_text(), re.MULTILINE)
BY_HASH_SEED = ["set_of_str", "hash_of_a_str_decides_a_branch"]
ALWAYS = ["clock_read_through_ctypes", "pid_in_a_value"]


def marked_line(kernel: str) -> int:
    lines = DETECTED.read_text().split("\n")
    start = lines.index(f"async def {kernel}():")
    return next(number for number in range(start, len(lines)) if "# HERE" in lines[number]) + 1


@pytest.fixture(scope="module")
def diverged() -> dict[str, Verified]:
    """Every leak executed in two processes; one pair of processes for all of them."""
    questions = [Question(toron.KernelRef(DETECTED, name), 1, 0, "varied") for name in LEAKS]
    return {one.reference.name: one for one in verify_many(questions)}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found_and_its_line_named(leak: str, diverged: dict[str, Verified]) -> None:
    found = diverged[leak].divergence
    assert found is not None
    assert found.where == f"{display(DETECTED)}:{marked_line(leak)} in {leak}"
    assert found.first != found.second
    if leak in BY_HASH_SEED:
        assert found.moves == "hash_seed"
    if leak in ALWAYS:
        assert found.moves == "always"


def display(path: Path) -> str:
    here = Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name


@pytest.mark.parametrize("leak", BY_HASH_SEED)
def test_what_only_a_hash_seed_moves_is_identical_at_the_fixed_one(leak: str) -> None:
    reference = toron.KernelRef(DETECTED, leak)
    verification = toron.verify(reference, seeds=[1, 2], hash_seeds="fixed")
    assert verification.determinism_percent == 100.0


@pytest.mark.parametrize("leak", ALWAYS)
def test_a_real_reading_differs_even_at_the_fixed_hash_seed(leak: str) -> None:
    reference = toron.KernelRef(DETECTED, leak)
    verification = toron.verify(reference, seeds=[1], hash_seeds="fixed")
    assert verification.determinism_percent == 0.0


def test_the_command_exits_with_3_and_says_where(toron_command: Callable[..., Any]) -> None:
    answer = toron_command("verify", f"{DETECTED}::set_of_str", "--seeds", "1:3", "--json")
    assert answer.code == 3
    divergence = answer.json["first_divergence"]
    assert divergence["where"] == f"detected.py:{marked_line('set_of_str')} in set_of_str"
    assert divergence["moves"] == "hash_seed"
    assert answer.json["determinism_percent"] == 0.0


def test_the_command_tells_a_person_the_line_and_both_values(
    toron_command: Callable[..., Any],
) -> None:
    answer = toron_command("verify", f"{DETECTED}::pid_in_a_value", "--seeds", "1:2")
    assert answer.code == 3
    assert answer.out.startswith("NONDETERMINISTIC ")
    assert f"detected.py:{marked_line('pid_in_a_value')} in pid_in_a_value" in answer.out
    assert re.search(r"first +me = \d+\n +second +me = \d+", answer.out)
    assert "even under equal conditions" in answer.out
