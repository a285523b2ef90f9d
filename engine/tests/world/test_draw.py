"""Data that a kernel draws: from the seed, on the tape, replayed and shrunk with the schedule."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toron
from toron.hypothesis import seeds
from toron.search.references import KernelRef, Token
from toron.world.draw import draw_from
from toron.world.world import REJECTED


def _simplest(_: int) -> int:
    return 0


def _numbers(seed: int) -> Callable[[int], int]:
    """Answers with any number below the bound."""
    return random.Random(seed).randrange


tapes = st.integers(0, 2**32).map(_numbers)
bounds = st.none() | st.integers()


@given(tapes, bounds, bounds)
def test_an_integer_keeps_its_bounds_and_is_simplest_at_zero(
    pick: Callable[[int], int], one: int | None, other: int | None
) -> None:
    low, high = (one, other) if one is None or other is None or one <= other else (other, one)
    drawn, _ = draw_from(st.integers(low, high), pick)
    least = drawn if low is None else low
    most = drawn if high is None else high
    assert least <= drawn <= most
    simplest, _ = draw_from(st.integers(low, high), _simplest)
    assert abs(simplest) <= abs(drawn)
    assert simplest == 0 or simplest in (low, high)


@given(tapes, st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_float_keeps_its_bounds(pick: Callable[[int], int], one: float, other: float) -> None:
    low, high = sorted((one, other))
    drawn, _ = draw_from(st.floats(low, high), pick)
    assert low <= drawn <= high


@given(tapes, st.integers(0, 40), st.integers(0, 400))
def test_text_and_bytes_keep_their_sizes(pick: Callable[[int], int], least: int, more: int) -> None:
    text, _ = draw_from(st.text("aé", min_size=least, max_size=least + more), pick)
    assert least <= len(text) <= least + more
    assert set(text) <= {"a", "é"}
    raw, _ = draw_from(st.binary(min_size=least, max_size=least + more), pick)
    assert least <= len(raw) <= least + more


STRATEGIES = {
    "lists": st.lists(st.integers(), min_size=1, unique=True),
    "floats": st.floats(),
    "text": st.text(),
    "mappings": st.dictionaries(st.text(), st.floats(allow_nan=False)),
    "dates": st.datetimes(),
    "expressions": st.from_regex(r"[a-z]+@\d{2}", fullmatch=True),
    "trees": st.recursive(st.none() | st.booleans(), st.lists),
    "permutations": st.permutations(range(6)),
    "sets": st.sets(st.sampled_from("abcdef")),
    "tuples": st.tuples(st.binary(), st.uuids(), st.decimals(allow_nan=False)),
}


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_equal_numbers_draw_equal_values_of_any_strategy(name: str, seed: int) -> None:
    first = draw_from(STRATEGIES[name], _numbers(seed))
    again = draw_from(STRATEGIES[name], _numbers(seed))
    assert repr(first) == repr(again)


def test_zero_everywhere_is_the_simplest_value_of_a_strategy() -> None:
    drawn = {name: draw_from(strategy, _simplest)[0] for name, strategy in STRATEGIES.items()}
    assert drawn["lists"] == [0]
    assert drawn["text"] == ""
    assert drawn["mappings"] == {}
    assert drawn["dates"].isoformat() == "2000-01-01T00:00:00"
    assert drawn["expressions"] == "a@00"
    assert drawn["trees"] is None
    assert drawn["permutations"] == list(range(6))
    assert draw_from(st.floats(), _simplest)[0] == 0.0
    assert draw_from(st.floats(2, 3), _simplest)[0] == 2.0


PROGRAM = """
import asyncio
import hypothesis
from hypothesis import strategies as st
import toron

orders = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 1000)), max_size=20)

@toron.kernel(seeds=40)
async def ledger(world):
    held = 0
    for side, amount in world.draw(orders, label="orders"):
        before = held
        await asyncio.sleep(world.choose("pause", [0, 0.1, 1]))
        held = before + amount if side == "buy" else before - amount
    text = world.draw(st.text(max_size=5), label="a note")
    world.record("drawn", [held, text, sorted(world.draw(st.sets(st.text("xyz"))))])
    world.always("small", held < 1500)

@toron.kernel
async def picky(world):
    number = world.draw(st.integers(0, 9).filter(lambda n: n % 2 == 0), label="even")
    world.assume(number > 2, "large enough")
    world.record("number", number)

@toron.kernel
async def never(world):
    world.host("app").spawn(waits, world)
    await asyncio.sleep(5)

@toron.kernel
async def assuming():
    hypothesis.assume(False)

@toron.kernel
async def many(world):
    world.record("float", [world.draw(st.floats(), "f") for _ in range(100)])
    world.record("end", [world.draw(st.integers(-(10**9), 10**9), "i") for _ in range(100)])
    world.record("flags", [world.draw(st.booleans(), "b") for _ in range(100)])
    world.record("letters", {world.choose("letter", "abc") for _ in range(60)})

@toron.kernel
async def unordered(world):
    world.choose("letter", {"a", "b"})

@toron.kernel
async def empty(world):
    world.choose("letter", [])

@toron.kernel
async def no_strategy(world):
    world.draw([1, 2])

@toron.kernel
async def amount(world):
    world.record("amount", world.draw(st.integers(0, 9), label="amount"))

async def waits(world):
    await asyncio.sleep(1)
    world.assume(False)
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("draws") / "program.py"
    file.write_text(PROGRAM)
    return file


def test_a_failure_that_needs_its_data_replays_from_its_token_and_from_its_tape(
    path: Path,
) -> None:
    found = toron.explore(KernelRef(path, "ledger"), seeds=range(40))
    assert 0 < len(found.failing_seeds) < 40
    outcome = found.failures[0].outcome
    assert outcome.failure is not None
    replayed = toron.replay(outcome.token)
    assert replayed.trace_digest == outcome.trace_digest
    reference = KernelRef(path, "ledger")
    recorded = toron.execute(reference, seed=outcome.sim_seed, records_tape=True)
    keys = {key.rsplit(" ", 1)[0] for key, _ in recorded.tape}
    assert {"data.orders", "data.pause"} <= keys
    taped = toron.execute(reference, seed=outcome.sim_seed, tape=recorded.tape).outcome
    assert taped.failure is not None
    assert taped.trace_digest == outcome.trace_digest
    assert taped.failure.message == outcome.failure.message
    harmless = toron.execute(reference, seed=0, tape=[]).outcome
    assert harmless.outputs["drawn"] == [0, "", []]
    assert Token.decode(outcome.token).sim_seed == outcome.sim_seed


def test_data_do_not_move_with_the_hash_seed_or_addresses(path: Path) -> None:
    verified = toron.verify(KernelRef(path, "ledger"), seeds=range(2))
    assert verified.first_divergence is None
    assert verified.determinism_percent == 100


def test_runs_whose_data_are_not_wanted_pass_and_are_counted(path: Path) -> None:
    found = toron.explore(KernelRef(path, "picky"), seeds=range(30))
    assert not found.failing_seeds
    assert 5 < found.rejected_runs < 29
    assert not found.learned_nothing
    assert found.properties[REJECTED]["pass"] == found.rejected_runs


def test_an_exploration_in_which_all_runs_are_rejected_is_inconclusive(
    path: Path, toron_command: Callable[..., Any]
) -> None:
    answer = toron_command("explore", f"{path}::never", "--seeds", "0:3")
    assert answer.code == 4, answer.err
    assert answer.out.startswith("INCONCLUSIVE")
    assert f"{REJECTED}: 3 held" in answer.out


def test_assume_of_hypothesis_itself_rejects_a_run_too(path: Path) -> None:
    outcome = toron.run(KernelRef(path, "assuming"), seed=1)
    assert outcome.verdict == "pass"
    assert outcome.properties[REJECTED]["pass"] == 1


def test_each_option_both_ends_of_a_range_and_infinities_are_drawn(path: Path) -> None:
    outputs = toron.run(KernelRef(path, "many"), seed=1).outputs
    assert outputs["letters"] == ["a", "b", "c"]
    assert {"$float": "inf"} in outputs["float"]
    assert {-(10**9), 10**9} <= set(outputs["end"])
    assert 30 < sum(outputs["flags"]) < 70


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("unordered", "takes a list or another sequence, not a set"),
        ("empty", "has no options"),
        ("no_strategy", "takes a strategy of Hypothesis, not a list"),
    ],
)
def test_what_nothing_can_be_drawn_from_is_refused_with_a_reason(
    path: Path, kernel: str, message: str
) -> None:
    failure = toron.run(KernelRef(path, kernel), seed=1).failure
    assert failure is not None
    assert message in failure.message


def test_without_hypothesis_draw_says_what_to_install_and_the_rest_works(
    program: Callable[..., Path], tmp_path: Path
) -> None:
    path = program(
        """
        import sys
        sys.modules["hypothesis"] = None  # as if it were not there
        import toron

        @toron.kernel
        async def kernel(world):
            world.record("chosen", world.choose("number", [1]))
            world.draw(None)
        """
    )
    outcome = toron.run(KernelRef(path, "kernel"), seed=1)
    assert outcome.outputs == {"chosen": 1}
    assert outcome.failure is not None
    assert "install it (pip install hypothesis)" in outcome.failure.message
    loaded = "import toron.testing, sys; assert 'hypothesis' not in sys.modules"
    subprocess.run([sys.executable, "-c", loaded], check=True, cwd=tmp_path)


def test_hypothesis_finds_a_seed_around_a_kernel(path: Path) -> None:
    drawn = set[int]()

    @settings(max_examples=30)
    @given(seed=seeds())
    def collects(seed: int) -> None:
        drawn.add(toron.run(KernelRef(path, "amount"), seed=seed).outputs["amount"])

    collects()
    assert len(drawn) > 5
