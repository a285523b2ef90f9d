"""A delta is called a regression or nondeterminism only when executing it again has said so."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.unit.snapshots.building import FakeExecution, Recipe

from testops.domain.errors import BadInput
from testops.domain.review import Cause
from testops.domain.verdict import ExitCode, Verdict
from testops.snapshots import (
    BundleHeader,
    Chosen,
    ExecutionId,
    Replay,
    compare_command,
    load_masks,
    read_bundle,
    replay,
)
from testops.snapshots.causes import REEXECUTED_MAX, Reached, chosen_of
from testops.snapshots.executions import ExecutionRecord

SOURCE = "sim/ledger.py::ledger"
PARTED = {"event": 5, "where": "sim/ledger.py:8 in ledger", "first": "pid 1", "second": "pid 2"}


@dataclass
class Now:
    """What executing again gives: the outcome of `recipe`, or what `answer` says."""

    recipe: Recipe = field(default_factory=Recipe)
    answer: Callable[[ExecutionId], Any] | None = None
    engine_version: str = "toron-v2.5H+.1"
    python: str = "3.11"
    same_code: bool | None = None
    asked: list[ExecutionId] = field(default_factory=list)

    def again(
        self, header: BundleHeader, records: Sequence[ExecutionRecord]
    ) -> Mapping[ExecutionId, Any]:
        self.asked += [record.id for record in records]
        answer = self.answer or self.recorded
        return {record.id: answer(record.id) for record in records}

    def recorded(self, identity: ExecutionId, **changes: Any) -> FakeExecution:
        return FakeExecution(
            identity.kernel,
            identity.sim_seed,
            identity.chaos_seed,
            self.recipe.outcome(),
            **changes,
        )

    def is_same_code(self, identity: str) -> bool | None:
        return self.same_code

    def missing(self, header: BundleHeader, record: ExecutionRecord) -> str:
        return ""


def compared(tmp_path: Path, base: Recipe, target: Recipe, now: Now, masks: str = "") -> Any:
    masks_file = None
    if masks:
        masks_file = tmp_path / "masks.yaml"
        masks_file.write_text(masks)
    return compare_command(
        base.write(tmp_path / "base.tar.gz"),
        target.write(tmp_path / "target.tar.gz"),
        masks=masks_file,
        strict=False,
        report=lambda _: [],
        executor=now,
    )


BASE = Recipe(outputs={"n": 1}, source=SOURCE)
TARGET = Recipe(outputs={"n": 2.5}, source=SOURCE)


def test_both_executions_reach_the_target_so_it_is_a_regression(tmp_path: Path) -> None:
    result = compared(tmp_path, BASE, TARGET, Now(TARGET))
    assert (result.exit_code, result.comparison.cause) == (ExitCode.FAILED, Cause.REGRESSION)
    assert result.comparison.deltas[0].cause is Cause.REGRESSION
    assert "cause: regression: ledger, seed 7, chaos seed 3" in result.text()
    assert "snapshot approve" in result.text()


def test_two_that_part_are_nondeterminism_and_the_line_is_named(tmp_path: Path) -> None:
    now = Now(TARGET)
    now.answer = lambda identity: now.recorded(identity, identical=False, first_divergence=PARTED)
    result = compared(tmp_path, BASE, TARGET, now)
    assert (result.exit_code, result.comparison.verdict) == (3, Verdict.FAIL)
    assert "two executions part at sim/ledger.py:8 in ledger" in result.text()
    assert f"toron verify {SOURCE} --seeds 7:8 --chaos-seed 3" in result.comparison.fix
    assert "approve" not in result.text()
    answer = json.loads(json.dumps(result.to_json()))
    assert (answer["cause"], answer["exit_code"]) == ("nondeterminism", 3)
    assert answer["again"][0]["first_divergence"] == PARTED


@pytest.mark.parametrize(
    ("same_code", "cause", "code"),
    [
        (True, Cause.NONDETERMINISM, 3),
        (None, Cause.NONDETERMINISM, 3),
        (False, Cause.UNKNOWN, 1),
    ],
)
def test_two_that_agree_on_something_else_are_judged_by_whether_the_code_is_the_same(
    tmp_path: Path, same_code: bool | None, cause: Cause, code: int
) -> None:
    now = Now(Recipe(outputs={"n": 3}), same_code=same_code)
    result = compared(tmp_path, BASE, TARGET, now)
    assert (result.comparison.cause, result.exit_code) == (cause, code)
    assert "/outputs/n was 2.5, is 3" in result.comparison.why


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (Now(engine_version="toron-v2.5H+.2"), "made by engine toron-v2.5H+.1, and here is toron"),
        (Now(python="3.12"), "made by Python 3.11, and here is 3.12"),
        (Now(answer=lambda _: "sim/ledger.py is not in this project"), "is not in this project"),
    ],
)
def test_what_cannot_be_executed_here_is_unknown_and_says_why(
    tmp_path: Path, now: Now, why: str
) -> None:
    result = compared(tmp_path, BASE, TARGET, now)
    assert (result.exit_code, result.comparison.cause) == (ExitCode.FAILED, Cause.UNKNOWN)
    assert why in result.comparison.why
    assert why in result.text()


def test_an_execution_that_was_cut_short_now_tells_nothing(tmp_path: Path) -> None:
    cut = Recipe(outputs={}, verdict="inconclusive", failure={"message": "no end in 1 s"})
    result = compared(tmp_path, BASE, TARGET, Now(cut))
    assert result.comparison.cause is Cause.UNKNOWN
    assert "cut short: no end in 1 s" in result.comparison.why


def test_one_nondeterministic_execution_decides_for_all(tmp_path: Path) -> None:
    target = Recipe(outputs={"n": 2}, seeds=(1, 2, 3))
    now = Now(target)
    now.answer = lambda identity: now.recorded(
        identity,
        identical=identity.sim_seed != 3,
        first_divergence=PARTED if identity.sim_seed == 3 else None,
    )
    result = compared(tmp_path, Recipe(outputs={"n": 1}, seeds=(1, 2, 3)), target, now)
    assert result.exit_code is ExitCode.NONDETERMINISM
    causes = [delta.cause.value for delta in result.comparison.deltas]
    assert causes == ["regression", "regression", "nondeterminism"]
    assert result.comparison.nondeterministic_count == 1


def test_every_kernel_gets_one_execution_before_any_gets_two_and_the_rest_is_unknown(
    tmp_path: Path,
) -> None:
    kernels, seeds = tuple("abcde"), tuple(range(5))
    target = Recipe(outputs={"n": 2}, kernels=kernels, seeds=seeds)
    now = Now(target)
    base = Recipe(outputs={"n": 1}, kernels=kernels, seeds=seeds)
    found = compared(tmp_path, base, target, now).comparison
    assert len(now.asked) == REEXECUTED_MAX == 8
    assert [one.kernel for one in now.asked] == [*"abcde", *"abc"]
    unasked = [delta for delta in found.deltas if delta.cause is Cause.UNKNOWN]
    assert len(unasked) == 17
    assert unasked[0].why == "not executed again: 8 of 25 were"
    assert chosen_of(reversed(now.asked), limit=2) == now.asked[:2]


def test_nothing_is_executed_again_when_nothing_differs(tmp_path: Path) -> None:
    now = Now(TARGET)
    assert compared(tmp_path, TARGET, TARGET, now).exit_code is ExitCode.HOLDS
    assert now.asked == []


def test_what_a_mask_hides_is_not_held_against_the_record(tmp_path: Path) -> None:
    noisy = Recipe(outputs={"n": 2.5, "at": 1})
    now = Now(Recipe(outputs={"n": 2.5, "at": 99}))
    masks = "masks: [{files: '*', pointer: /outputs/at, reason: a clock}]"
    assert compared(tmp_path, BASE, noisy, now, masks).comparison.cause is Cause.REGRESSION
    traced = Now(Recipe(outputs={"n": 2.5, "at": 99}, digest="b" * 64))
    assert compared(tmp_path, BASE, noisy, traced, masks).comparison.cause is Cause.REGRESSION
    assert compared(tmp_path, BASE, noisy, now).comparison.cause is Cause.NONDETERMINISM


def replayed(tmp_path: Path, recorded: Recipe, now: Now, **options: Any) -> Replay:
    bundle = read_bundle(recorded.write(tmp_path / "run.tar.gz"))
    return replay(bundle, now, options.pop("chosen", Chosen()), **options)


def test_a_replay_that_reaches_every_record_holds(tmp_path: Path) -> None:
    recorded = Recipe(seeds=(1, 2), outputs={"n": 1.0})
    done = replayed(tmp_path, recorded, Now(recorded))
    assert (done.exit_code, done.reached) == (ExitCode.HOLDS, 2)
    assert "PASS: all 2 reach" in done.text()


def test_a_digest_alone_that_is_not_reached_is_enough(tmp_path: Path) -> None:
    done = replayed(tmp_path, Recipe(), Now(Recipe(digest="b" * 64)))
    assert done.exit_code is ExitCode.FAILED
    assert "/trace_digest outputs are equal, but the trace differs" in done.text()


@pytest.mark.parametrize(
    ("same_code", "code", "word"), [(True, 3, "nondeterminism"), (None, 1, "changed code")]
)
def test_a_replay_tells_changed_code_from_nondeterminism(
    tmp_path: Path, same_code: bool | None, code: int, word: str
) -> None:
    done = replayed(tmp_path, Recipe(), Now(Recipe(outputs={}), same_code=same_code))
    assert (done.exit_code, done.to_json()["reached"]) == (code, 0)
    assert f"1 {word}" in done.reason
    now = Now()
    now.answer = lambda identity: now.recorded(identity, identical=False, first_divergence=PARTED)
    unstable = replayed(tmp_path, Recipe(), now)
    assert (unstable.exit_code, unstable.again[0][0].reached) == (3, Reached.UNSTABLE)
    assert "sim/ledger.py:8 in ledger" in unstable.fix


def test_what_was_not_executed_makes_a_replay_inconclusive(tmp_path: Path) -> None:
    done = replayed(tmp_path, Recipe(), Now(answer=lambda _: "the limit of 1 s was reached"))
    assert (done.exit_code, done.verdict) == (ExitCode.INCONCLUSIVE, Verdict.INCONCLUSIVE)


def test_another_engine_is_refused_until_told_and_then_only_behaviour_counts(
    tmp_path: Path,
) -> None:
    newer = Now(Recipe(digest="b" * 64), engine_version="toron-v2.5H+.2")
    with pytest.raises(BadInput, match="and here is toron-v2") as refused:
        replayed(tmp_path, Recipe(), newer)
    assert "--any-engine" in str(refused.value)
    done = replayed(tmp_path, Recipe(), newer, any_engine=True)
    assert done.exit_code is ExitCode.HOLDS
    assert "trace digests, steps and virtual time were not" in done.notes[0]
    moved = Now(Recipe(outputs={}), engine_version="toron-v2.5H+.2")
    assert replayed(tmp_path, Recipe(), moved, any_engine=True).exit_code is ExitCode.FAILED


def test_another_python_holds_outputs_only_and_says_so(tmp_path: Path) -> None:
    done = replayed(tmp_path, Recipe(), Now(Recipe(digest="b" * 64), python="3.12"))
    assert done.exit_code is ExitCode.HOLDS
    assert "Python 3.11 and here is 3.12" in done.notes[0]


def test_a_choice_is_executed_alone_and_an_empty_one_names_what_there_is(tmp_path: Path) -> None:
    recorded = Recipe(kernels=("a", "b"), seeds=(1, 2))
    now = Now(recorded)
    assert replayed(tmp_path, recorded, now, chosen=Chosen("b", 2)).executions == 1
    assert now.asked == [ExecutionId("b", 2, 3)]
    for chosen, said in (
        (Chosen("c"), "no kernel 'c'; it has: a, b"),
        (Chosen("a", 9), "it has (seed/chaos seed): 1/3, 2/3"),
        (Chosen(chaos_seed=9), "--chaos-seed"),
    ):
        with pytest.raises(BadInput) as refused:
            replayed(tmp_path, recorded, now, chosen=chosen)
        assert said in str(refused.value)


def test_a_replay_keeps_masks(tmp_path: Path) -> None:
    path = tmp_path / "masks.yaml"
    path.write_text("masks: [{files: '*', pointer: /outputs/at, reason: a clock}]")
    recorded, now = Recipe(outputs={"at": 1}), Now(Recipe(outputs={"at": 2}))
    done = replayed(tmp_path, recorded, now, masks=load_masks(path))
    assert done.exit_code is ExitCode.HOLDS
    assert replayed(tmp_path, recorded, now).exit_code is ExitCode.FAILED


def test_a_replay_leaves_a_trace_out_only_where_a_mask_hides_a_change(tmp_path: Path) -> None:
    path = tmp_path / "masks.yaml"
    path.write_text("masks: [{files: '*', pointer: /outputs/at, reason: a clock}]")
    masks, recorded = load_masks(path), Recipe(outputs={"at": 1})
    hidden = Now(Recipe(outputs={"at": 2}, digest="b" * 64, steps=11))
    done = replayed(tmp_path, recorded, hidden, masks=masks)
    assert done.exit_code is ExitCode.HOLDS
    note = "the trace was not compared in 1 execution: a mask hides a change there"
    assert (list(done.notes), note in done.text()) == ([note], True)
    strict = replayed(
        tmp_path, recorded, Now(Recipe(outputs={"at": 1}, digest="b" * 64)), masks=masks
    )
    assert (strict.exit_code, list(strict.notes)) == (ExitCode.FAILED, [])
