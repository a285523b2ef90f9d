"""Shrinking as arithmetic: runs are a function of the tape here, so the least one is known."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toron.search.outcome import Execution, Failure, Outcome
from toron.search.pool import Request
from toron.search.shrink import NotReproduced, Shrinker
from toron.search.shrink_passes import DELETING, FIRST, LOWERING, Pass, Tape, anew, size_of

Fails = Callable[[dict[str, int]], str]
"""The cause of a tape's failure; empty when it does not fail."""


def outcome_of(request: Request, cause: str) -> Outcome:
    failure = Failure("exception", cause, 0, "", cause=cause) if cause else None
    return Outcome(
        kernel="k",
        sim_seed=request.sim_seed,
        chaos_seed=0,
        verdict="fail" if cause else "pass",
        trace_digest="d",
        outputs={},
        properties={},
        failure=failure,
        steps=1,
        virtual_ns=1,
        token="",
    )


class World:
    """Executes tapes by a rule, and notes which."""

    def __init__(self, fails: Fails, whole: Tape) -> None:
        self.fails = fails
        self.whole = whole
        self.executed: list[Tape] = []
        self.interrupted_at = -1

    def __call__(self, requests: Sequence[Request]) -> list[Execution]:
        if len(self.executed) == self.interrupted_at:
            raise KeyboardInterrupt
        found = []
        for request in requests:
            tape = self.whole if request.tape is None else request.tape
            self.executed.append(tape)
            outcome = outcome_of(request, self.fails(dict(tape)))
            found.append(Execution(outcome, [], [], "", tape=list(tape)))
        return found


FIRST_REQUEST = Request("k", 0, 0)


def shrunk(fails: Fails, whole: Tape, *, budget: int = 5_000, jobs: int = 1) -> tuple[Tape, int]:
    shrinker = Shrinker(World(fails, whole), budget, jobs)
    result = shrinker.shrink(FIRST_REQUEST)
    return result.deviations, result.runs


def long_tape(length: int) -> Tape:
    """Deviations of many kinds, as a run of an ordinary strategy has them."""
    chance = random.Random(1)
    kinds = ["schedule a#{}/1", "schedule b#1/{}", "stall c#1/{}", "net.latency:a>b {}"]
    keys = [chance.choice(kinds).format(number + 1) for number in range(length)]
    return tuple((key, 1 + chance.randrange(500)) for key in dict.fromkeys(keys))


@given(st.data())
@settings(max_examples=20)
def test_what_the_failure_needs_is_left_and_nothing_else(data: st.DataObject) -> None:
    whole = long_tape(data.draw(st.integers(1, 300)))
    keys = [key for key, _ in whole if key.startswith("schedule")]
    needed = data.draw(st.lists(st.sampled_from(keys), max_size=4, unique=True)) if keys else []
    least = {key: data.draw(st.integers(1, dict(whole)[key])) for key in needed}

    def fails(tape: dict[str, int]) -> str:
        return "bug" if all(tape.get(key, 0) >= value for key, value in least.items()) else ""

    assert dict(shrunk(fails, whole)[0]) == least


def test_a_failure_without_any_deviation_takes_one_run_to_see() -> None:
    world = World(lambda _: "bug", long_tape(400))
    result = Shrinker(world, 500, 1).shrink(FIRST_REQUEST)
    assert result.deviations == ()
    assert world.executed[2] == ()
    assert result.runs < 10


def test_a_thousand_deviations_of_which_one_counts_take_few_runs() -> None:
    whole = long_tape(1_000)
    key = [key for key, _ in whole if key.startswith("schedule b")][150]
    tape, runs = shrunk(lambda tape: "bug" if key in tape else "", whole)
    assert tape == ((key, 1),)
    assert runs < 100


@pytest.mark.parametrize("jobs", [2, 5])
def test_the_number_of_processes_changes_nothing(jobs: int) -> None:
    whole = long_tape(200)
    keys = [key for key, _ in whole]

    def fails(tape: dict[str, int]) -> str:
        other = "other" if len(tape) % 7 == 3 else ""
        return "bug" if tape.get(keys[50], 0) > 3 and keys[120] in tape else other

    alone, shared = World(fails, whole), World(fails, whole)
    first = Shrinker(alone, 300, 1).shrink(FIRST_REQUEST)
    second = Shrinker(shared, 300, jobs).shrink(FIRST_REQUEST)
    assert first.to_json() == second.to_json()
    assert len(shared.executed) > len(alone.executed)


def test_the_budget_ends_it_with_the_best_so_far() -> None:
    whole = long_tape(200)
    fails: Fails = lambda tape: "bug" if len(tape) >= 20 else ""  # noqa: E731
    world = World(fails, whole)
    result = Shrinker(world, 12, 1).shrink(FIRST_REQUEST)
    assert (result.runs, len(world.executed), result.finished) == (12, 12, False)
    assert 20 <= len(result.deviations) < len(whole)
    assert fails(dict(result.deviations))


def test_the_smallest_budget_is_the_run_and_its_tape() -> None:
    whole = long_tape(20)
    result = Shrinker(World(lambda _: "bug", whole), 1, 1).shrink(FIRST_REQUEST)
    assert (result.runs, result.finished, result.deviations) == (2, False, whole)


def test_ctrl_c_ends_it_with_the_best_so_far() -> None:
    whole = long_tape(200)
    world = World(lambda tape: "bug" if len(tape) >= 20 else "", whole)
    world.interrupted_at = 30
    result = Shrinker(world, 500, 1).shrink(FIRST_REQUEST)
    assert result.interrupted
    assert not result.finished
    assert 20 <= len(result.deviations) < len(whole)


def test_a_failure_that_does_not_come_again_is_no_ground_to_shrink_on() -> None:
    answers = iter(["bug", ""])
    with pytest.raises(NotReproduced, match="not deterministic"):
        Shrinker(World(lambda _: next(answers), long_tape(9)), 500, 1).shrink(FIRST_REQUEST)


def test_another_failure_is_noted_and_not_followed() -> None:
    whole = long_tape(50)
    keys = [key for key, _ in whole if key.startswith("schedule")]

    def fails(tape: dict[str, int]) -> str:
        if keys[3] in tape and keys[9] in tape:
            return "the one that was asked about"
        return "another" if keys[3] in tape else ""

    world = World(fails, whole)
    result = Shrinker(world, 500, 1).shrink(FIRST_REQUEST)
    assert [key for key, _ in result.deviations] == [keys[3], keys[9]]
    assert [one.failure and one.failure.cause for one in result.also_found] == ["another"]


def test_packets_whose_delays_matter_together_are_left_to_the_seed() -> None:
    whole = tuple((f"net.latency:a>b {number}", 7) for number in range(1, 90))

    def fails(tape: dict[str, int]) -> str:
        return "bug" if tape.get("seeded net.latency") or len(tape) > 80 else ""

    assert shrunk(fails, whole)[0] == (("seeded net.latency", 1),)


def test_draws_of_data_move_up_when_one_before_them_goes() -> None:
    """A list of numbers, each behind a draw that says whether there is one more."""

    def drawn(tape: dict[str, int]) -> list[int]:
        numbers, at = [], 1
        while tape.get(f"data.draw {at}"):
            numbers.append(tape.get(f"data.draw {at + 1}", 0))
            at += 2
        return numbers

    whole = tuple((f"data.draw {at}", 1 if at % 2 else at) for at in range(1, 21))
    fails: Fails = lambda tape: "bug" if max(drawn(tape), default=0) >= 7 else ""  # noqa: E731
    assert drawn(dict(shrunk(fails, whole)[0])) == [7]


def test_where_nothing_can_be_deleted_a_simple_run_is_looked_for_anew() -> None:
    whole = tuple((f"schedule a#{number}/1", 1) for number in range(1, 40))
    offers = [(f"schedule a#{number}/2", 1) for number in range(1, 30)]
    world = World(lambda tape: "bug" if "schedule a#5/2" in tape or len(tape) == 39 else "", whole)
    shrinker = Shrinker(lambda requests: [with_offers(one) for one in world(requests)], 500, 1)

    def with_offers(execution: Execution) -> Execution:
        return Execution(execution.outcome, [], [], "", tape=execution.tape, offers=offers)

    assert shrinker.shrink(FIRST_REQUEST).deviations == (("schedule a#5/2", 1),)


def sent(running: Pass, answer: Tape | None) -> Tape | None:
    try:
        return running.send(answer)
    except StopIteration:
        return None


@given(st.integers(0, 2**32), st.integers(2, 60))
@settings(max_examples=10)
def test_every_pass_ends_whatever_it_is_told(seed: int, length: int) -> None:
    whole = long_tape(length)
    for make_pass in (*FIRST, *DELETING, *LOWERING, anew(whole)):
        chance = random.Random(seed)
        tape, running = whole, make_pass(whole)
        candidate: Tape | None = next(running, None)
        asked = 0
        while candidate is not None:
            asked += 1
            accepted = size_of(candidate) < size_of(tape) and chance.random() < 0.3
            tape = candidate if accepted else tape
            candidate = sent(running, tape if accepted else None)
            assert asked < 100 * length
