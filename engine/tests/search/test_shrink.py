"""Hard bugs are found, and come out as exactly this (quality tests, as Hypothesis has them)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.core.choices import WHOLE
from toron.search.references import KernelRef, Token
from toron.search.shrink import Shrunk
from toron.search.shrink_words import words_of
from toron.testing import shrunk

PROGRAMS = Path(__file__).parent.parent / "programs"
TOKEN_MAX = 300
SEEDS_MAX = 100


def first_failure(reference: KernelRef, chaos_seed: int = 0) -> toron.Outcome:
    for seed in range(SEEDS_MAX):
        outcome = toron.run(reference, seed=seed, chaos_seed=chaos_seed)
        if outcome.verdict == "fail":
            return outcome
    raise AssertionError(f"{reference} does not fail within {SEEDS_MAX} seeds")


def shrink_first(kernel: str, chaos_seed: int = 0) -> Shrunk:
    found = first_failure(KernelRef(PROGRAMS / "shrinkable.py", kernel), chaos_seed)
    assert found.failure is not None
    result = shrunk(found)
    assert result.outcome.failure is not None
    assert result.outcome.failure.cause == found.failure.cause
    assert result.finished
    assert len(result.outcome.token) < TOKEN_MAX
    assert Token.decode(result.outcome.token).tape == result.deviations
    assert not toron.replay(result.outcome.token).differs_from(result.outcome)
    return result


def test_a_race_of_two_among_thirty_tasks_is_one_step_that_comes_late() -> None:
    assert shrink_first("race").deviations == (("schedule two_of_thirty.<locals>.note#1/1", 1),)


def test_locks_in_two_orders_are_one_step_that_comes_late() -> None:
    (deviation,) = shrink_first("locks").deviations
    assert deviation == ("schedule locks_in_two_orders.<locals>.take#1/1", 1)


def test_a_deadline_in_the_tick_of_the_answer_is_one_stall() -> None:
    result = shrink_first("deadline")
    ((key, value),) = result.deviations
    assert key == "stall deadline_in_the_tick_of_the_answer.<locals>.ask#1/1"
    assert 5_000_000 <= value <= 10_000_000


def test_a_bug_that_needs_a_fault_keeps_one_fault_and_not_all_of_it() -> None:
    result = shrink_first("one_fault_of_many", chaos_seed=1)
    ((key, value),) = result.deviations
    assert key.startswith(("chaos.fault partitions ", "chaos.fault pauses "))
    assert value < WHOLE
    assert len(result.outcome.faults) == 1


def test_what_always_fails_needs_nothing_and_no_seed() -> None:
    result = shrink_first("on_asyncios_own_order")
    assert result.deviations == ()
    assert (result.outcome.sim_seed, result.outcome.chaos_seed) == (0, 0)


def test_what_is_shrunk_stays_as_it_is_and_what_passes_is_refused() -> None:
    reference = KernelRef(PROGRAMS / "shrinkable.py", "on_asyncios_own_order")
    first = toron.shrink(toron.run(reference, seed=1), jobs=2)
    assert not toron.shrink(first.token).differs_from(first)
    calm = toron.run(KernelRef(PROGRAMS / "shrinkable.py", "idle"), seed=1)
    with pytest.raises(toron.BadKernel, match="nothing to shrink"):
        toron.shrink(calm)
    with pytest.raises(toron.BadKernel, match="at least 1"):
        toron.shrink(first, budget=0)


# Programs that are edited

RACE = """
import asyncio, random

async def idle():
    for _ in range(random.randrange(4)):
        await asyncio.sleep(0)

async def kernel():
    order = []
    async def note(name):
        await asyncio.sleep(0)
        order.append(name)
    others = [idle() for _ in range(8)]
    await asyncio.gather(note("first"), note("second"), *others)
    assert order == ["first", "second"]
"""
EDITS = {
    "another task": ("others = [", "asyncio.create_task(idle())\n    others = ["),
    "another await elsewhere": ("    others = [", "    await asyncio.sleep(0.5)\n    others = ["),
    "something printed and awaited": (
        "        order.append",
        '        print("note", name)\n        await asyncio.sleep(0)\n        order.append',
    ),
}
Command = Callable[..., Any]


@pytest.fixture
def race(program: Callable[..., Path]) -> str:
    """The token of a shrunk failure of `RACE`."""
    found = toron.shrink(first_failure(KernelRef(program(RACE, "race.py"), "kernel")))
    assert Token.decode(found.token).tape == (("schedule kernel.<locals>.note#1/1", 1),)
    return found.token


def replayed(token: str) -> tuple[str, toron.Outcome, bool]:
    """What a replay of changed code says, what happened, and whether it is the same failure."""
    with pytest.raises(toron.ReplayDiffers) as caught:
        toron.replay(token)
    assert caught.value.code_changed
    return str(caught.value), caught.value.outcome, caught.value.same_failure


def test_the_same_failure_is_known_again_when_the_program_was_edited(
    race: str, tmp_path: Path
) -> None:
    for old, new in EDITS.values():
        (tmp_path / "race.py").write_text(RACE.replace(old, new))
        says, outcome, same = replayed(race)
        assert same, new
        assert "the same failure still happens" in says
        assert outcome.verdict == "fail"


def test_other_names_of_locals_and_lines_that_moved_change_nothing(
    race: str, tmp_path: Path
) -> None:
    edited = "LIMIT = 3\n\n" + RACE.replace("others", "neighbours")
    (tmp_path / "race.py").write_text(edited)
    assert toron.replay(race).verdict == "fail"


def test_a_program_that_fails_otherwise_now_says_how(race: str, tmp_path: Path) -> None:
    (tmp_path / "race.py").write_text(
        RACE.replace("assert order", "raise KeyError(1)\n    assert order")
    )
    says, _, same = replayed(race)
    assert not same
    assert "it fails with another cause now: exception KeyError at " in says


def test_a_module_that_the_program_imports_is_its_code_too(tmp_path: Path) -> None:
    (tmp_path / "limits.py").write_text("LIMIT = 1\n")
    path = tmp_path / "main.py"
    path.write_text("import limits\n\nasync def kernel():\n    assert limits.LIMIT > 1\n")
    token = toron.run(KernelRef(path, "kernel"), seed=1).token
    (tmp_path / "limits.py").write_text("LIMIT = 22\n")
    says, outcome, _ = replayed(token)
    assert "it does not fail any more" in says
    assert outcome.ok


def test_the_command_shrinks_and_replays_after_an_edit(
    program: Callable[..., Path], toron_command: Command
) -> None:
    path = program(RACE, "race.py")
    token = toron_command("explore", "race.py::kernel", "--seeds", "0:40", "--json").json[
        "failures"
    ][0]["token"]
    answer = toron_command("shrink", token, "--json")
    assert answer.code == 1
    assert answer.json["deviations"] == [["schedule kernel.<locals>.note#1/1", 1]]
    assert answer.json["runs"] > 1
    assert answer.json["failure"]["kind"] == "exception"
    told = toron_command("shrink", answer.json["token"])
    assert told.code == 1
    assert "1 of 1 deviations are left" in told.out
    assert "1. step 1 of kernel.<locals>.note#1 runs one place later than its turn" in told.out
    path.write_text(RACE.replace("assert order", "assert sorted(order)"))
    replayed = toron_command("replay", answer.json["token"])
    assert replayed.code == 0
    assert "it does not fail any more" in replayed.err


def test_input_that_cannot_be_shrunk_names_the_fix(toron_command: Command) -> None:
    for arguments in (["t2-nothing"], ["x", "--budget", "0"]):
        answer = toron_command("shrink", *arguments, "--json")
        assert answer.code == 2
        assert set(json.loads(answer.out)) == {"error", "exit"}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("schedule worker#2/14", 1, "step 14 of worker#2 runs one place later than its turn"),
        ("schedule.io fd7", 3, "descriptor fd7 is served 3 places later"),
        ("stall arrival~2", 2_500_000, "stands still for 2.5 ms, until the next arrival"),
        ("data.draw 3", 1234, "draw 3 of draw is 1234 above the simplest"),
        ("cancel worker#1/3+", 1, "step 3 of worker#1, as it wakes, is cancelled"),
        ("cancel worker#1/3", 2, "meets its timeout number 1"),
        ("chaos.fault partitions 1", 250, "takes place, for 25.0% of its planned time"),
        ("seeded net.latency", 1, "the delays of packets are what the seed draws"),
        ("net.latency:a>b 4", 9, "choice 4 of net.latency:a>b is 9 above the harmless one"),
    ],
)
def test_a_deviation_reads_as_a_sentence(key: str, value: int, says: str) -> None:
    assert says in words_of(key, value)
