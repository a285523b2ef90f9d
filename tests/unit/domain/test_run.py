"""A run moves along its table only, and its id is the hash of what was asked."""

from dataclasses import replace

import pytest

from testops.domain.errors import InternalError
from testops.domain.run import MOVES, Build, Question, Run, RunState, run_id_of
from testops.domain.seeds import Seeds
from testops.snapshots.canonical import canonical, storable

QUESTION = Question(
    suite={"name": "core"},
    profile={"name": "offline"},
    seeds=Seeds(42, 7),
    sim_seeds=(42, 43),
    build=Build("abc", None),
    engine_version="toron-v2.5H+.1",
    stages=("sim",),
)


def identity(question: Question) -> str:
    return run_id_of(canonical(storable(question.to_json())))


def test_the_same_question_has_the_same_id() -> None:
    assert identity(QUESTION) == identity(replace(QUESTION))
    assert len(identity(QUESTION)) == 16


@pytest.mark.parametrize(
    "other",
    [
        replace(QUESTION, suite={"name": "core", "description": "x"}),
        replace(QUESTION, profile={"name": "other"}),
        replace(QUESTION, seeds=Seeds(42, 8)),
        replace(QUESTION, sim_seeds=(42,)),
        replace(QUESTION, build=Build("abd", None)),
        replace(QUESTION, build=Build("abc", "changed")),
        replace(QUESTION, engine_version="toron-v2.5H+.2"),
        replace(QUESTION, stages=("sim", "snapshot-compare")),
        replace(QUESTION, salt="again"),
        replace(QUESTION, seeds=Seeds(2**64 - 1, 7)),
    ],
)
def test_whatever_the_answer_depends_on_changes_the_id(other: Question) -> None:
    assert identity(other) != identity(QUESTION)


def run_in(state: RunState) -> Run:
    return Run("r", 1, state, "s", "offline", Seeds(1, 2), Build(None, None), "e", "testops run s")


@pytest.mark.parametrize("start", list(RunState))
@pytest.mark.parametrize("end", list(RunState))
def test_only_the_moves_of_the_table_are_legal(start: RunState, end: RunState) -> None:
    if end in MOVES[start]:
        assert run_in(start).moved_to(end).state is end
    else:
        with pytest.raises(InternalError, match=f"from {start} to {end}"):
            run_in(start).moved_to(end)
