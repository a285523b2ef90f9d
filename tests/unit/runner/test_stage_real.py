"""The real stage process over a small project: what it measures, refuses, and leaves alone."""

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from testops.runner.stage_process import Limits, Result, StageDone, StageJob, run_stage
from testops.telemetry.clock import SystemClock

TESTS = """\
import os, socket, subprocess, sys, tempfile
import pytest

INSIDE = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)"


def test_itself():
    with pytest.raises(PermissionError):
        socket.create_connection(("192.0.2.1", 80), timeout=2)


def test_another_program():
    done = subprocess.run([sys.executable, "-c", INSIDE], capture_output=True, text=True)
    assert "refused" in done.stderr


def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_places():
    own = os.path.dirname(os.environ["TMPDIR"])
    assert os.environ["HYPOTHESIS_STORAGE_DIRECTORY"].startswith(own)
    assert tempfile.gettempdir() == os.environ["TMPDIR"]
    assert "TESTOPS_API_KEY" not in os.environ


def test_property():
    from hypothesis import given, strategies as st

    @given(st.integers())
    def holds(number):
        assert number == number

    holds()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    (root / "suites").mkdir()
    (root / "tests" / "test_it.py").write_text(TESTS)
    return root


def job_in(project: Path, output: Path, stage: str, fields: Mapping[str, Any]) -> StageJob:
    suite = {
        "schema": 1,
        "name": "core",
        "seeds": {"sim": 42, "chaos": 7},
        "stages": {stage: fields},
    }
    return StageJob(
        run_id="ab" * 8,
        attempt=1,
        stage=stage,
        project_root=project,
        output=output,
        suite=suite,
        suite_shown="core",
        profile={"schema": 1, "name": "offline"},
        sim_seed=42,
        chaos_seed=7,
        sim_seeds=(),
        only=(stage,),
        limits=Limits(wall_s=100),
    )


def run(job: StageJob, heard: list[dict[str, Any]] | None = None) -> StageDone:
    sink: list[dict[str, Any]] = [] if heard is None else heard
    result: Result = run_stage(job, on_event=sink.append, stop=lambda: None, clock=SystemClock())
    assert isinstance(result, StageDone), result
    return result


def test_unit_tests_in_the_sandbox_are_measured_and_what_they_try_is_counted(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTOPS_API_KEY", "key")
    heard: list[dict[str, Any]] = []
    before = sorted(project.rglob("*"))
    done = run(job_in(project, tmp_path / "out", "unit", {"timeout_s": 60.0}), heard)
    metrics = done.report["metrics"]
    assert (metrics["tests"], metrics["passed"]) == (5, 5), done.report
    # The test's own attempt is the plugin's to count, the other program's ours.
    assert metrics["outbound_attempts"] == 1
    assert done.refused_count == 1
    assert "192.0.2.1" in done.refused[0]
    left = ["reports/junit.xml", "reports/ctrf.json", "reports/tests.json"]
    assert done.report["artifacts"] == left
    assert list(done.artifacts) == [tmp_path / "out" / name for name in left]
    assert [event["type"] for event in heard[:1]] == ["stage.started"]
    assert sorted(project.rglob("*")) == before


def test_lint_stages_of_one_project_at_once_leave_it_alone(project: Path, tmp_path: Path) -> None:
    (project / "mine.py").write_text("import os\n\nx: int = 'text'\n")
    (project / ".mypy_cache").mkdir()
    before = sorted(project.rglob("*"))
    jobs = [
        job_in(
            project,
            tmp_path / str(n),
            "lint",
            {"ruff": {"paths": ["mine.py"]}, "mypy": {"paths": ["mine.py"]}},
        )
        for n in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, jobs))
    for number, done in enumerate(results):
        metrics = done.report["metrics"]
        assert (metrics["ruff_findings"], metrics["mypy_errors"]) == (1, 1), done.report
        assert list(done.artifacts) == [tmp_path / str(number) / "reports" / "lint.sarif"]
    assert results[0].report["findings"] == results[1].report["findings"]
    assert sorted(project.rglob("*")) == before


def test_what_the_tool_lacks_is_said_as_on_the_command_line(project: Path, tmp_path: Path) -> None:
    fields = {"python": "bin/nothing", "attempts_max": 1}
    done = run(job_in(project, tmp_path / "out", "unit", fields))
    assert done.report["state"] == "tool_error"
    assert "bin/nothing" in done.report["reason"]
    assert sys.executable not in done.report["reason"]
