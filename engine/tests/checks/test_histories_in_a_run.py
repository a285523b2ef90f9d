"""A kernel's histories are judged at its end: planted faults are found, explained and replayed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.search.outcome import Execution, Outcome

Execute = Callable[..., Execution]


@pytest.fixture
def outcome_of(execute_program: Execute) -> Callable[..., Outcome]:
    return lambda kernel, seed=1: execute_program("judged", kernel, seed).outcome


def test_reads_from_the_primary_are_linearizable(outcome_of: Any) -> None:
    outcome = outcome_of("reads_from_the_primary")
    assert outcome.verdict == "pass"
    counts = {"kind": "linearizable", "pass": 1, "fail": 0, "never_reached": False}
    assert outcome.properties == {"one register": counts}


def test_a_stale_read_from_a_copy_is_found_and_explained(outcome_of: Any) -> None:
    outcome = outcome_of("reads_from_a_stale_copy")
    failure = outcome.failure
    assert (failure.kind, failure.property) == ("property", "one register")
    assert failure.message.startswith(
        "linearizable 'one register' does not hold: store is not linearizable (register model): "
    )
    core = failure.message.partition("whichever of the others took effect:\n")[2]
    assert "read() -> 0" in core
    assert "write(" in core
    assert failure.where.endswith("in work")
    counts = {"kind": "linearizable", "pass": 0, "fail": 1, "never_reached": False}
    assert outcome.properties == {"one register": counts}


def test_the_failure_replays_from_its_token(programs: Path) -> None:
    reference = toron.KernelRef(programs / "judged.py", "reads_from_a_stale_copy")
    outcome = toron.run(reference, seed=5)
    assert outcome.failure is not None
    assert not toron.replay(outcome.token).differs_from(outcome)


def test_a_bank_with_a_lock_is_strictly_serializable(outcome_of: Any) -> None:
    for seed in range(5):
        assert outcome_of("bank_with_a_lock", seed).verdict == "pass"


def test_write_skew_of_a_bank_without_a_lock_is_named(outcome_of: Any) -> None:
    failures = [outcome_of("bank_without_a_lock", seed).failure for seed in range(5)]
    texts = [failure.message for failure in failures if failure is not None]
    assert texts
    assert any("bank is not strict-serializable: 1 G2-item" in text for text in texts)
    assert any("-rw 'x'-> T2 -rw 'y'-> T1" in text for text in texts)


def test_a_history_that_cannot_be_judged_is_inconclusive(outcome_of: Any) -> None:
    outcome = outcome_of("judged_with_too_few_steps")
    assert (outcome.verdict, outcome.failure.kind) == ("inconclusive", "limit")
    assert "'one register': store could not be judged" in outcome.failure.message
    assert outcome.properties["one register"]["never_reached"]


def test_what_was_wrong_before_time_ran_out_is_a_failure(outcome_of: Any) -> None:
    outcome = outcome_of("wrong_when_time_runs_out")
    assert (outcome.verdict, outcome.failure.kind) == ("fail", "property")


def test_an_operation_that_the_model_does_not_know_fails_with_its_name(outcome_of: Any) -> None:
    failure = outcome_of("an_unknown_operation").failure
    assert failure.kind == "exception"
    assert "the register model has no push(7)" in failure.message


def test_an_empty_history_counts_as_never_reached(outcome_of: Any) -> None:
    outcome = outcome_of("nothing_was_recorded")
    assert outcome.verdict == "pass"
    assert outcome.properties["one register"]["never_reached"]


def test_a_call_on_a_host_that_dies_may_have_happened(outcome_of: Any) -> None:
    outcome = outcome_of("a_host_that_dies_leaves_its_call_open")
    assert outcome.outputs["endings"] == ["info"]
    assert outcome.verdict == "pass"


def test_a_client_that_died_starts_again_and_its_call_stays_open(outcome_of: Any) -> None:
    outcome = outcome_of("a_client_that_dies_starts_again")
    assert outcome.outputs["endings"] == ["info", "ok"]
    assert outcome.verdict == "pass"


def test_what_is_declared_wrongly_fails_where_it_is_declared() -> None:
    def declare(world: toron.World, way: int) -> None:
        history = world.history("kv")
        model: Any = toron.models.KeyValue if way == 0 else toron.models.KeyValue()
        if way == 2:
            world.serializable("kv", history, level="acid")  # type: ignore[arg-type]
        world.linearizable("kv", history, model)
        world.linearizable("kv", history, model)

    messages = (
        "is no model; pass an instance, such as models.KeyValue()",
        "property 'kv' is declared twice",
        "level 'acid' must be one of read-uncommitted",
    )
    for way, message in enumerate(messages):

        async def kernel(world: toron.World, way: int = way) -> None:
            declare(world, way)

        failure = toron.run(kernel, seed=1).failure
        assert failure is not None
        assert message in failure.message
        assert failure.where.endswith(
            "in test_what_is_declared_wrongly_fails_where_it_is_declared.<locals>.declare"
        )


def test_an_explanation_is_the_same_under_every_hash_seed(programs: Path) -> None:
    reference = toron.KernelRef(programs / "judged.py", "a_set_of_words_that_loses_one")
    verified = toron.verify(reference, seeds=range(2))
    assert (verified.executions, verified.identical) == (2, 2)


def test_an_exploration_warns_of_what_it_never_reached() -> None:
    async def kernel(world: toron.World) -> None:
        world.sometimes("seen", condition=True)
        world.sometimes("retried", condition=False)
        world.linearizable("kv", world.history("kv"), toron.models.KeyValue())

    exploration = toron.explore(kernel, seeds=range(3))
    assert exploration.never_reached == ["retried", "kv"]
    assert exploration.to_json()["never_reached"] == ["retried", "kv"]
    assert exploration.failing_seeds == []


def test_the_command_prints_the_warning_and_the_whole_explanation(
    toron_command: Any, program: Any, programs: Path
) -> None:
    path = program(
        """
        import toron

        @toron.kernel
        async def quiet(world):
            world.sometimes("retried", condition=False)
        """
    )
    answer = toron_command("explore", path, "--seeds", "0:3")
    assert answer.code == 0
    assert "warning: sometimes 'retried' was not seen in any of 3 runs" in answer.out

    judged = f"{programs / 'judged.py'}::reads_from_a_stale_copy"
    answer = toron_command("run", judged, "--seed", "1")
    assert answer.code == 1
    assert "\n      stuck   c" in answer.out  # each line of the explanation is indented alike
