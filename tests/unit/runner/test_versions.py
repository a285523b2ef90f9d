"""A runner executes what was planned for its own engine, when its own versions are qualified."""

from dataclasses import replace

import pytest
from tests.unit.domain.test_versions import HERE, MATRIX

from testops.domain.run import Build, RunState
from testops.domain.run_view import RunView
from testops.domain.seeds import Seeds
from testops.runner.versions import refusal_of, sides_of
from testops.snapshots.manifest import SCHEMA_VERSION


def planned(engine: str, *, in_question: str | None = None) -> RunView:
    question = {"stages": ["sim"], "engine_version": in_question or engine}
    return RunView(
        run_id="a" * 16,
        workspace="default",
        state=RunState.QUEUED,
        verdict=None,
        attempt=1,
        suite="core",
        suite_shown="core",
        profile="offline",
        seeds=Seeds(1, 2),
        question=question,
        build=Build(None, None),
        engine_version=engine,
        reproduce="",
        labels={},
        priority=5,
        exit_code=None,
        reason="",
        bundle=None,
        bundle_identity=None,
        last_seq=1,
        pinned=False,
        created_by="ada",
        created_at="",
        queued_at="",
        started_at=None,
        finished_at=None,
        cancel_requested_by=None,
        deadline_ms=None,
    )


def test_what_was_planned_for_this_engine_is_executed() -> None:
    assert refusal_of(planned(HERE.engine), MATRIX, HERE) == ""


@pytest.mark.parametrize(
    "run",
    [
        planned("toron-v2.5H+.2"),
        # The question is what the run is the answer to, whatever the row beside it says.
        planned(HERE.engine, in_question="toron-v2.5H+.2"),
        planned("toron-v2.5H+.2", in_question=HERE.engine),
    ],
)
def test_what_was_planned_for_another_engine_is_refused(run: RunView) -> None:
    said = refusal_of(run, MATRIX, HERE)
    assert "planned for engine toron-v2.5H+.2, and this runner has toron-v2.5H+.3" in said


def test_a_runner_that_nobody_qualified_executes_nothing() -> None:
    said = refusal_of(planned(HERE.engine), MATRIX, replace(HERE, runner="0.9"))
    assert "runner 0.9" in said
    assert "no row" in said


def test_the_sides_of_a_comparison_are_their_engines_and_schemas() -> None:
    base, target = sides_of(
        {
            "base": {"engine_version": "toron-v2.5H+.2", "schema_version": 7},
            "target": {"engine_version": "toron-v2.5H+.3"},
        }
    )
    assert (base, target) == (("toron-v2.5H+.2", 7), ("toron-v2.5H+.3", SCHEMA_VERSION))
    assert sides_of({"base": None, "target": {"engine_version": "x"}})[0] is None
