"""A run from request to record, with a simulator and snapshots that are told what to find."""

import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testops.domain.errors import BadInput, OutputNotWritable
from testops.domain.review import Cause
from testops.domain.run import Run, RunState
from testops.domain.stage import StageName, StageState
from testops.domain.suite import SnapshotCompareStage
from testops.domain.verdict import ExitCode, Verdict
from testops.runner.projects import Project
from testops.runner.service import Request, Tools, answer
from testops.telemetry.events import Event, RunFinished, StageFinished, StageProgress

COMPARE = "  snapshot-compare: {}\n"


def run(request: Request, tools: Tools, heard: list[Event] | None = None) -> Run:
    sink = heard if heard is not None else []
    return answer(request, tools, listener=sink.append, told=lambda _: None)


def record(project: Project, done: Run) -> dict[str, Any]:
    path = project.snapshots / "runs" / done.run_id / f"attempt-{done.attempt}.json"
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def stage(done: Run, name: StageName) -> Any:
    return next(report for report in done.stages if report.name is name)


def test_a_green_run_finishes_and_its_record_says_the_same(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    done = run(request_for(), tools)
    assert (done.state, done.verdict, done.exit_code) == (RunState.FINISHED, Verdict.PASS, 0)
    kept = record(project, done)
    environment = kept.pop("environment")
    assert kept == done.to_full_json()
    assert environment["python"] == platform.python_version()
    assert {**kept, "stages": 0, "gates": 0} == {**done.to_json(), "stages": 0, "gates": 0}
    assert done.bundle == f"snapshots/run-{done.run_id}.tar.gz"
    assert done.reproduce == "testops run core --profile offline --seed 42 --chaos-seed 7"


def test_stages_to_come_are_listed_without_a_verdict(
    tools: Tools, request_for: Callable[..., Request]
) -> None:
    done = run(request_for(), tools)
    assert [report.name for report in done.stages] == list(StageName)
    for name in (StageName.HARDENING, StageName.CHAOS, StageName.LOAD, StageName.LINT):
        report = stage(done, name)
        assert (report.state, report.verdict) == (StageState.NOT_IN_SUITE, None)
        assert report.to_json()["state"] == "not in this suite"


def test_the_same_question_is_the_same_run_and_executes_again(
    tools: Tools, simulator: Any, request_for: Callable[..., Request]
) -> None:
    first, second = run(request_for(), tools), run(request_for(), tools)
    assert second.run_id == first.run_id
    assert (first.attempt, second.attempt) == (1, 2)
    assert simulator.calls == [((42, 43), 7), ((42, 43), 7)]


def test_the_seeds_of_the_environment_change_the_run_and_are_recorded(
    project: Project, tools: Tools, simulator: Any, request_for: Callable[..., Request]
) -> None:
    usual = run(request_for(), tools)
    other = run(request_for(environment={"SIM_SEED": "5", "CHAOS_SEED": "6"}), tools)
    assert other.run_id != usual.run_id
    assert record(project, other)["seeds"] == {"sim": 5, "chaos": 6}
    assert simulator.calls[1] == ((5, 6), 6)


def test_a_failing_kernel_fails_the_run_with_a_command_that_shows_it(
    tools: Tools, simulator: Any, request_for: Callable[..., Request]
) -> None:
    simulator.verdicts = {"echo": "fail"}
    done = run(request_for(), tools)
    assert (done.verdict, done.exit_code) == (Verdict.FAIL, ExitCode.FAILED)
    finding = stage(done, StageName.SIM).findings[0]
    assert finding.where == "sim/echo.py:3 in echo"
    assert "property 'balance' after 1.500 virtual seconds: went below zero" in finding.message
    assert finding.reproduce == "toron run sim/echo.py::echo --seed 42 --chaos-seed 7"


def test_executions_that_disagree_are_exit_3_with_their_line(
    tools: Tools, simulator: Any, request_for: Callable[..., Request]
) -> None:
    simulator.moving = {43}
    simulator.verdicts = {"echo": "fail"}
    done = run(request_for(), tools)
    assert done.exit_code is ExitCode.NONDETERMINISM
    moved = [f for f in stage(done, StageName.SIM).findings if f.rule == "nondeterminism"]
    assert [finding.where for finding in moved] == ["sim/echo.py:4 in echo"]
    assert moved[0].reproduce.startswith("toron verify sim/echo.py::echo --seeds 43:44")


def test_an_inconclusive_kernel_blocks(
    tools: Tools, simulator: Any, request_for: Callable[..., Request]
) -> None:
    simulator.verdicts = {"echo": "inconclusive"}
    assert run(request_for(), tools).exit_code is ExitCode.INCONCLUSIVE


def test_a_warning_holds_unless_strict(
    tools: Tools, simulator: Any, request_for: Callable[..., Request]
) -> None:
    simulator.verdicts = {"echo": "warn"}
    assert run(request_for(), tools).exit_code is ExitCode.HOLDS
    assert run(request_for(strict=True), tools).exit_code is ExitCode.FAILED


def test_lost_executions_are_tried_again_and_then_inconclusive(
    tools: Tools, simulator: Any, request_for: Callable[..., Request]
) -> None:
    simulator.missing = 1
    done = run(request_for(), tools)
    report = stage(done, StageName.SIM)
    assert (report.state, report.verdict) == (StageState.TOOL_ERROR, Verdict.INCONCLUSIVE)
    assert [attempt.outcome for attempt in report.attempts] == ["tool_error", "tool_error"]
    assert done.exit_code is ExitCode.INCONCLUSIVE


def test_a_finding_is_never_tried_again(
    tools: Tools, simulator: Any, request_for: Callable[..., Request]
) -> None:
    simulator.verdicts = {"echo": "fail"}
    assert len(stage(run(request_for(), tools), StageName.SIM).attempts) == 1
    assert len(simulator.calls) == 1


def with_compare(project: Project) -> None:
    path = project.suites / "core.yaml"
    path.write_text(path.read_text() + COMPARE)


def test_without_a_baseline_the_run_is_inconclusive_and_says_how_to_approve(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    with_compare(project)
    done = run(request_for(), tools)
    assert done.exit_code is ExitCode.INCONCLUSIVE
    reason = stage(done, StageName.SNAPSHOT_COMPARE).reason
    assert f"testops snapshot approve run-{done.run_id}.tar.gz" in reason


@pytest.mark.parametrize(
    ("verdict", "deltas", "code"),
    [(Verdict.PASS, 0, 0), (Verdict.FAIL, 3, 1), (Verdict.INCONCLUSIVE, 0, 4)],
)
def test_what_the_comparison_finds_decides(
    project: Project,
    tools: Tools,
    snapshots: Any,
    comparison: Callable[..., Any],
    request_for: Callable[..., Request],
    verdict: Verdict,
    deltas: int,
    code: int,
) -> None:
    with_compare(project)
    (project.snapshots / "golden").mkdir(parents=True)
    snapshots.comparison = comparison(verdict, deltas=deltas, reason="no counterpart")
    assert run(request_for(), tools).exit_code == code


def test_what_differs_is_executed_again_by_the_same_simulator_unless_the_suite_says_no(
    project: Project,
    tools: Tools,
    simulator: Any,
    snapshots: Any,
    comparison: Callable[..., Any],
    request_for: Callable[..., Request],
) -> None:
    with_compare(project)
    (project.snapshots / "golden").mkdir(parents=True)
    snapshots.comparison = comparison(Verdict.PASS, deltas=0, reason="equal")
    run(request_for(), tools)
    assert snapshots.again.simulator is simulator
    assert [kernel.name for kernel in snapshots.again.kernels] == ["echo"]
    path = project.suites / "core.yaml"
    path.write_text(path.read_text().replace("compare: {}", "compare: {reexecute: false}"))
    run(request_for(), tools)
    assert snapshots.again is None


def test_a_suite_that_says_the_default_of_a_later_field_is_the_same_question() -> None:
    plain = SnapshotCompareStage()
    assert "reexecute" not in plain.model_dump()
    assert SnapshotCompareStage(reexecute=True).model_dump() == plain.model_dump()
    assert SnapshotCompareStage(reexecute=False).model_dump() != plain.model_dump()


def test_nondeterminism_found_by_executing_again_is_exit_3_and_no_invitation_to_approve(
    project: Project,
    tools: Tools,
    snapshots: Any,
    comparison: Callable[..., Any],
    request_for: Callable[..., Request],
) -> None:
    with_compare(project)
    (project.snapshots / "golden").mkdir(parents=True)
    found = comparison(Verdict.FAIL, deltas=3, reason="3 deltas")
    cause = {"cause": Cause.NONDETERMINISM, "why": "two executions part at a.py:4"}
    snapshots.comparison = replace(found, fix="make a.py:4 give one value", **cause)
    assert run(request_for(), tools).exit_code is ExitCode.FAILED
    snapshots.comparison = replace(snapshots.comparison, nondeterministic=1)
    done = run(request_for(), tools)
    assert done.exit_code is ExitCode.NONDETERMINISM
    notes = "; ".join(stage(done, StageName.SNAPSHOT_COMPARE).notes)
    assert "cause: nondeterminism: two executions part at a.py:4; make a.py:4 give" in notes
    assert "approve" not in notes


def test_only_the_stages_asked_for_run_and_it_is_another_question(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    with_compare(project)
    whole = run(request_for(), tools)
    part = run(request_for(only=frozenset({StageName.SIM})), tools)
    assert stage(part, StageName.SNAPSHOT_COMPARE).state is StageState.NOT_ASKED
    assert part.exit_code is ExitCode.HOLDS
    assert part.run_id != whole.run_id


def test_asking_for_a_stage_that_the_suite_lacks_is_bad_input(
    tools: Tools, request_for: Callable[..., Request]
) -> None:
    with pytest.raises(BadInput, match="no stage unit"):
        run(request_for(only=frozenset({StageName.UNIT})), tools)


def test_what_is_kept_does_not_depend_on_which_execution_was_faster(
    tools: Tools, simulator: Any, snapshots: Any, request_for: Callable[..., Request]
) -> None:
    plain = simulator.simulate
    simulator.simulate = lambda *a, **k: iter(list(plain(*a, **k))[::-1])
    run(request_for(), tools)
    assert snapshots.left[0]["order"] == [("echo", 42), ("echo", 43)]


def test_an_interruption_is_recorded_as_cancelled_and_the_next_run_works(
    project: Project, tools: Tools, simulator: Any, request_for: Callable[..., Request]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    simulator.during = interrupt
    heard: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        run(request_for(), tools, heard)
    last = heard[-1]
    assert isinstance(last, RunFinished)
    kept = record(project, last.run)
    assert (kept["state"], kept["verdict"], kept["exit_code"]) == ("cancelled", "inconclusive", 130)
    simulator.during = lambda: None
    assert run(request_for(), tools).attempt == 2


def test_a_full_disk_is_recorded_as_errored_and_inconclusive(
    project: Project, tools: Tools, snapshots: Any, request_for: Callable[..., Request]
) -> None:
    snapshots.full_disk = True
    heard: list[Event] = []
    with pytest.raises(OutputNotWritable, match="no space left"):
        run(request_for(), tools, heard)
    last = heard[-1]
    assert isinstance(last, RunFinished)
    assert record(project, last.run)["exit_code"] == 4
    assert record(project, last.run)["state"] == "errored"


def test_a_record_left_by_a_killed_run_is_buried_by_the_next(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    killed = run(request_for(), tools)
    path = project.snapshots / "runs" / killed.run_id / "attempt-1.json"
    path.write_text(json.dumps({**record(project, killed), "state": "running", "verdict": None}))
    half_written = project.snapshots / ".tmp-abc"
    half_written.write_text("half")
    said: list[str] = []
    answer(request_for(), tools, listener=lambda _: None, told=said.append)
    buried = json.loads(path.read_text())
    assert (buried["state"], buried["verdict"]) == ("errored", "inconclusive")
    assert said == [
        f"run {killed.run_id} attempt 1 had ended without a verdict; it is now recorded as errored"
    ]
    assert not half_written.exists()


def test_a_file_in_the_place_of_snapshots_is_output_not_writable(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    project.snapshots.write_text("in the way")
    with pytest.raises(OutputNotWritable, match="snapshots"):
        run(request_for(), tools)


def test_a_display_that_breaks_does_not_hurt_the_run(
    tools: Tools, request_for: Callable[..., Request], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Event) -> None:
        raise RuntimeError("the terminal went away")

    done = answer(request_for(), tools, listener=broken, told=lambda _: None)
    assert done.verdict is Verdict.PASS
    assert "the run goes on without it" in caplog.text


def test_progress_is_told_for_each_execution_and_kernel(
    tools: Tools, request_for: Callable[..., Request]
) -> None:
    heard: list[Event] = []
    run(request_for(), tools, heard)
    progress = [event for event in heard if isinstance(event, StageProgress)]
    assert [(e.done, e.total, e.part, e.part_done) for e in progress] == [
        (1, 2, "echo", 1),
        (2, 2, "echo", 2),
    ]
    assert sum(isinstance(event, StageFinished) for event in heard) == len(StageName)


def test_a_run_works_in_the_projects_folder_and_comes_back(
    project: Project,
    tools: Tools,
    simulator: Any,
    request_for: Callable[..., Request],
) -> None:
    before, seen = Path.cwd(), []
    simulator.during = lambda: seen.append(Path.cwd())
    run(request_for(), tools)
    assert set(seen) == {project.root.resolve()}
    assert Path.cwd() == before
