"""An explanation says what deviated, what led to the failure, and which run near it passes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.errors import BadKernel
from toron.search.explain.explain import Wanted, explain
from toron.search.explain.explanation import Explanation
from toron.search.explain.text import WIDTH, text_of
from toron.search.outcome import Execution
from toron.search.references import KernelRef, Token
from toron.testing import execute

FILE = Path(__file__).parent.parent / "programs" / "explained.py"
LOST_TURN = (("stall hasty#1/2", 502_000),)


def failing(kernel: str, **options: Any) -> Execution:
    """The first failing run of a kernel, or the run of a tape."""
    reference = KernelRef(FILE, kernel)
    if "tape" in options:
        return execute(reference, seed=0, **options)
    runs = (execute(reference, seed=seed, **options) for seed in range(60))
    return next(run for run in runs if run.outcome.verdict == "fail")


def explained(run: Execution, **wanted: Any) -> Explanation:
    options = {"shrinks": False, "reproduces": False, "witness_runs": 4, **wanted}
    return explain(Token.decode(run.outcome.token), Wanted(**options))


@pytest.fixture(scope="module")
def lost_turn() -> Explanation:
    return explained(failing("lost_turn", tape=LOST_TURN))


def lines_of(explanation: Explanation) -> str:
    return "\n".join(text_of(explanation))


def test_a_stall_is_told_with_what_it_made_meet(lost_turn: Explanation) -> None:
    (stall,) = lost_turn.deviations
    assert stall.is_legal
    assert stall.text.startswith("the process stood still for 0.502 ms before tick ")
    assert stall.text.endswith("until the timeout of hasty#1 (explained.py:49)")


def test_steps_are_shown_with_the_line_of_code_and_what_they_did(lost_turn: Explanation) -> None:
    text = lines_of(lost_turn)
    assert "turn.set_result(None)" in text
    assert "wakes hasty#1" in text
    assert "42 await asyncio.sleep(0.01)" in text
    assert "steps of" in text


def test_no_line_is_wider_than_a_terminal(lost_turn: Explanation) -> None:
    wide = [line for line in text_of(lost_turn) if len(line) > WIDTH and " t2-" not in line]
    assert wide == []


def test_a_lost_wake_up_names_who_got_it_and_who_cancelled_that_one(
    lost_turn: Explanation,
) -> None:
    (lost,) = lost_turn.lost
    assert lost_turn.account.names[lost.waiter] == "patient#1"
    assert lost.text == (
        "its wake-up went to hasty#1, which was woken by holder#1, but before it ran cancelled by "
        "its own timeout (explained.py:49)"
    )


def test_the_chain_goes_back_over_both_causes_of_a_step(lost_turn: Explanation) -> None:
    told = [(link.step.who, link.step.is_task) for link in lost_turn.chain]
    assert told[:3] == [("hasty#1", True), ("hasty#1", False), ("holder#1", True)]


def test_the_nearest_passing_run_is_the_one_without_the_deviation(lost_turn: Explanation) -> None:
    assert lost_turn.passing is not None
    assert lost_turn.passing.change == "without `stall hasty#1/2`"
    assert lost_turn.passing.account.execution.outcome.verdict == "pass"
    assert 0 < lost_turn.passing.alike < len(lost_turn.account.story.events)
    assert "| passes" in lines_of(lost_turn)


def test_a_ring_of_locks_is_drawn() -> None:
    told = explained(failing("ring"))
    assert sorted(told.account.names[lane] for lane in told.cycle) == ["take#1", "take#2"]
    assert "a ring: take#" in lines_of(told)
    assert "waits for Lock.acquire, held by take#2" in lines_of(told)


def test_an_order_is_told_in_words() -> None:
    told = explained(failing("in_order", strategy="random"))
    orders = [one for one in told.deviations if one.kind == "order"]
    assert orders
    assert all(" ran before " in one.text or " ran after " in one.text for one in orders)
    assert all("(asyncio would have run child#" in one.text for one in orders)


def test_the_json_has_what_the_text_has(lost_turn: Explanation) -> None:
    told = lost_turn.to_json()
    assert told["legality"].startswith("legal: ")
    assert told["outcome"]["failure"]["legality"] == told["legality"]
    assert told["tape"] == [["stall hasty#1/2", 502_000]]
    assert told["lost_wakeups"][0]["who"] == "patient#1"
    assert any(step["code"] == "await turn" for step in told["interleaving"])
    assert {wait["who"] for wait in told["waits"]} == {"lost_turn#1", "patient#1"}


def test_a_run_is_shrunk_before_it_is_explained() -> None:
    told = explained(failing("in_order", strategy="random"), shrinks=True, witness_runs=0)
    assert told.is_shrunk
    assert len(told.tape) == 1


def test_a_run_that_passes_has_nothing_to_explain() -> None:
    run = execute(KernelRef(FILE, "passes"), seed=1)
    with pytest.raises(BadKernel, match="no failure to explain"):
        toron.explain(run.outcome)


def test_looking_at_a_run_changes_nothing_of_it() -> None:
    for kernel, level in (("lost_turn", "events"), ("on_two_hosts", "full")):
        plain = execute(KernelRef(FILE, kernel), seed=3)
        seen = execute(KernelRef(FILE, kernel), seed=3, level=level)
        assert seen.wakes
        assert not plain.wakes
        assert seen.outcome == plain.outcome


def test_the_command_prints_one_object_and_exits_with_the_verdict(
    toron_command: Callable[..., Any],
) -> None:
    token = failing("always_fails").outcome.token
    moved = Token.decode(token)
    assert moved.file.endswith("explained.py")
    answer = toron_command("explain", toron_token(moved), "--json", "--no-shrink")
    assert answer.code == 1
    assert answer.json["outcome"]["failure"]["kind"] == "exception"
    assert answer.json["reproduction"]["failed_alike"] == 5


def toron_token(token: Token) -> str:
    """The token as it reads from any folder."""
    from dataclasses import replace

    return replace(token, file=str(FILE)).encode()
