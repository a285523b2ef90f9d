"""A stage answers a job as the pipeline would, and tells no more than anybody wants to hear."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testops.domain.stage import Finding, StageName, StageReport
from testops.domain.verdict import Verdict
from testops.runner.projects import Project
from testops.runner.stage_child import LOGS_MAX, ChildTools, Told, answer_job
from testops.runner.stage_jobs import SeedChunk, StageJob
from testops.runner.stages.context import Commands
from testops.runner.suites import load_suite
from testops.telemetry.events import StageFound, StageLog, StageProgress, StageStarted

Lines = list[Mapping[str, Any]]


@pytest.fixture
def child(clock: Any, simulator: Any, snapshots: Any) -> ChildTools:
    return ChildTools(simulator, snapshots, clock, "python", lambda _: Commands(), {})


@pytest.fixture
def job(project: Project, tmp_path: Path) -> StageJob:
    suite_file = load_suite("core", working_folder=project.root)
    output = tmp_path / "out"
    (output / "snapshots").mkdir(parents=True)
    return StageJob(
        run_id="ab" * 8,
        attempt=1,
        stage="sim",
        project_root=project.root,
        output=output,
        suite=suite_file.suite.model_dump(mode="json", by_alias=True),
        suite_shown="core",
        profile={"name": "offline"},
        sim_seed=42,
        chaos_seed=7,
        sim_seeds=(42, 43),
        only=("sim",),
    )


def answered(job: StageJob, child: ChildTools) -> tuple[Lines, Mapping[str, Any]]:
    lines: Lines = []
    answer_job(job.encode(), child, lambda body: lines.append(json.loads(json.dumps(body))))
    assert lines[-1]["type"] == "result"
    return lines[:-1], lines[-1]


def test_the_result_is_the_whole_report_and_where_things_are(
    job: StageJob, child: ChildTools
) -> None:
    events, result = answered(job, child)
    report = StageReport.from_json(result["report"])
    # It measures; what that means is judged outside, where no program under test can reach.
    assert (report.name, report.verdict) == (StageName.SIM, None)
    assert report.metrics["determinism_percent"].source == "reports/determinism.json"
    bundle = str(job.output / "snapshots" / f"run-{job.run_id}.tar.gz")
    assert (result["bundle"], result["bundle_identity"]) == (bundle, "f" * 64)
    assert set(result["artifacts"]) == {bundle, str(job.output / "reports/determinism.json")}
    assert events[0] == {"type": "stage.started", "stage": "sim", "number": 1}
    assert events[-1]["key"] == "sim/echo"
    assert (events[-1]["done"], events[-1]["total"]) == (2, 2)


def test_nothing_is_left_in_the_project(job: StageJob, child: ChildTools) -> None:
    before = {path for path in job.project_root.rglob("*") if job.output not in path.parents}
    answered(job, child)
    after = {path for path in job.project_root.rglob("*") if job.output not in path.parents}
    assert after == before


def test_bad_input_is_named_as_such(job: StageJob, child: ChildTools) -> None:
    (job.project_root / "sim" / "echo.py").unlink()
    _, result = answered(job, child)
    assert result["error"] == "BadInput"
    assert "there is no file sim/echo.py" in result["message"]


def test_a_bug_is_named_with_its_place(job: StageJob, child: ChildTools, simulator: Any) -> None:
    def break_down() -> None:
        raise ZeroDivisionError("by zero")

    simulator.during = break_down
    _, result = answered(job, child)
    assert result["error"] == "InternalError"
    assert "ZeroDivisionError: by zero (in break_down" in result["message"]


def test_chunks_put_together_are_the_stage_as_if_it_had_not_been_divided(
    job: StageJob, child: ChildTools, simulator: Any, snapshots: Any
) -> None:
    simulator.verdicts = {"echo": "fail"}
    _, whole = answered(job, child)
    chunks = []
    for number, seed in ((1, 43), (0, 42)):
        _, result = answered(replace(job, chunk=SeedChunk(number, (seed,))), child)
        path, _, executions = result["chunk"]
        assert executions == 1
        chunks.append(Path(path))
    calls = len(simulator.calls)
    events, assembled = answered(replace(job, executions=tuple(chunks)), child)
    assert len(simulator.calls) == calls
    for part in ("bundle", "bundle_identity", "artifacts"):
        assert assembled[part] == whole[part]
    for report in (whole["report"], assembled["report"]):
        report["exact"]["wall_s"] = report["attempt_log"] = []
    assert assembled["report"] == whole["report"]
    assert snapshots.left[0] == snapshots.left[1]
    # The chunks' own findings were heard by nobody.
    assert sum(event["type"] == "stage.log" for event in events) == 2


@pytest.mark.parametrize("found", ["moved", "inconclusive", "no baseline"])
def test_on_a_server_a_stage_names_the_routes_that_decide_and_no_command_of_this_machine(
    job: StageJob, child: ChildTools, snapshots: Any, comparison: Any, found: str
) -> None:
    compare = {**job.suite, "stages": {**job.suite["stages"], "snapshot-compare": {}}}
    identity = "f" * 64
    job = replace(
        job,
        stage="snapshot-compare",
        only=("snapshot-compare",),
        suite=compare,
        bundle_identity=identity,
    )
    if found != "no baseline":
        (job.project_root / "snapshots/golden").mkdir(parents=True)
    verdict, deltas = (Verdict.FAIL, 2) if found == "moved" else (Verdict.INCONCLUSIVE, 0)
    fix = "review the run, then `testops snapshot approve /data/runs/1/run.tar.gz --why REASON`"
    snapshots.comparison = comparison(verdict, deltas=deltas, reason="it moved", fix=fix)
    _, result = answered(job, child)
    said = "; ".join(StageReport.from_json(result["report"]).notes)
    assert f"POST /v1/snapshots/{identity}/approve" in said
    assert ("POST /v1/snapshots/reviews/ID/decisions" in said) == (found == "moved")
    assert "testops snapshot" not in said


def test_a_chunk_that_lost_an_execution_is_an_error(
    job: StageJob, child: ChildTools, simulator: Any
) -> None:
    simulator.missing = 1
    _, result = answered(replace(job, chunk=SeedChunk(0, (42,))), child)
    assert (result["error"], result["message"]) == (
        "InternalError",
        "0 of 1 executions came back",
    )


# --- how much is told ---------------------------------------------------------------------------


class Hand:
    """A clock that moves by hand."""

    at_s = 0.0

    def elapsed_s(self) -> float:
        return self.at_s


def told() -> tuple[Told, Hand, Lines]:
    lines: Lines = []
    hand = Hand()
    return Told("sim", hand, lines.append), hand, lines  # type: ignore[arg-type] # only this is asked


def progress(part: str, done: int, *, ok: bool = True) -> StageProgress:
    return StageProgress(StageName.SIM, done, 1000, part, done, 1000, part_ok=ok)


def test_progress_of_a_key_is_told_four_times_a_second_and_at_the_end() -> None:
    tell, hand, lines = told()
    for number in range(1, 1001):
        hand.at_s += 0.01
        tell(progress("a", number))
    tell.flush()
    assert 40 <= len(lines) <= 42
    assert lines[-1]["done"] == 1000


def test_a_key_does_not_wait_for_another() -> None:
    tell, hand, lines = told()
    tell(progress("a", 1))
    tell(progress("b", 1))
    tell(progress("a", 2))
    assert [line["key"] for line in lines] == ["sim/a", "sim/b"]
    hand.at_s = 1
    tell(progress("b", 2))
    assert sorted(line["key"] for line in lines[2:]) == ["sim/a", "sim/b"]


def test_a_part_that_failed_once_stays_failed_until_the_next_try() -> None:
    tell, hand, lines = told()
    tell(progress("a", 1, ok=False))
    hand.at_s = 1
    tell(progress("a", 2))
    tell(StageStarted(StageName.SIM, 2))
    hand.at_s = 2
    tell(progress("a", 1))
    assert [line["part_ok"] for line in lines if "part_ok" in line] == [False, False, True]


def test_logs_are_told_up_to_a_bound_and_the_rest_is_counted() -> None:
    tell, _, lines = told()
    tell(StageFound(StageName.SIM, Finding("a.py:1", "broke")))
    for number in range(LOGS_MAX + 10):
        tell(StageLog(StageName.LINT, str(number)))
    tell.flush()
    assert lines[0]["finding"]["where"] == "a.py:1"
    assert len(lines) == LOGS_MAX + 1
    assert (lines[-1]["stage"], lines[-1]["text"]) == ("sim", "11 more lines are left out")
