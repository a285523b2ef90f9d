"""Every run of the command line leaves its page, however it ends; later it is asked for by id."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.support.report_pages import checked

from testops import wiring
from testops.cli import main

SUITE = """\
schema: 1
name: core
seeds: {sim: 42, chaos: 7}
stages:
  sim:
    seed_count: 1
    kernels:
      echo: {run: "sim/echo.py::echo"}
"""
KERNEL = """\
import toron


@toron.kernel
async def echo(world):
    await world.sleep(1)
"""
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "core.yaml").write_text(SUITE)
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "echo.py").write_text(KERNEL)
    monkeypatch.chdir(tmp_path)
    for name in ("SIM_SEED", "CHAOS_SEED", "TESTOPS_DEBUG", "TESTOPS_URL", "TESTOPS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def say(project: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out, captured.err

    return run


def page(project: Path, name: str = "run.html") -> str:
    return checked((project / "reports" / name).read_text()).words


def simulating(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def simulate(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(wiring.ToronSimulator, "simulate", simulate)


def test_a_run_leaves_its_page_and_is_reported_again_by_id(say: Say, project: Path) -> None:
    code, out, _ = say("run", "core")
    assert code == 0
    assert "page     reports/run.html" in out
    said = page(project)
    assert "Pass · go" in said
    assert "100% 1 of 1 executions repeated" in said
    # The source of a metric is in no record, so it was taken from the run itself.
    assert "sim · determinism_percent 100% reports/determinism.json" in said
    assert "echo 1 1 100%" in said
    record = next((project / "snapshots" / "runs").iterdir())
    code, out, err = say("report", "run", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["run"]["run_id"] == record.name
    code, out, _ = say("report", "run", record.name[:6])
    assert f"wrote {project}/reports/run-{record.name}.html" in out
    assert "Pass · go" in page(project, f"run-{record.name}.html")
    beside = checked((project / "reports" / "run.html").read_text())
    assert "determinism.json" in beside.loads
    assert say("report", "run", "--out", "elsewhere/run.html")[0] == 0
    # Away from its artifacts the page names them, and leads nowhere.
    away = checked((project / "elsewhere" / "run.html").read_text())
    assert "determinism.json" not in away.loads
    assert "reports/determinism.json" in away.words
    code, out, _ = say("report", "run", "--markdown", "--out", "comment.md")
    assert (code, out) == (0, "wrote comment.md\n")
    assert (project / "comment.md").read_text().startswith("## ✅ Pass · go\n")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "Cancelled · no-go, evidence is missing interrupted"),
        (RuntimeError("the engine broke"), 70, "Errored · no-go, evidence is missing RuntimeError"),
    ],
)
def test_a_run_that_was_ended_leaves_the_page_of_its_end(
    say: Say, project: Path, monkeypatch: pytest.MonkeyPatch, error: Any, code: int, says: str
) -> None:
    simulating(monkeypatch, error)
    assert say("run", "core")[0] == code
    assert says in page(project)
    assert say("report", "run", "--markdown")[1].startswith("## ❔ ")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_page_that_cannot_be_written_is_one_line_and_changes_no_verdict(
    say: Say, project: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    (project / "reports" / "run.html").mkdir(parents=True)
    code, out, err = say("run", "core", *["--json"] * as_json)
    assert code == 0
    assert err.count("warning: this run has no report page: ") == 1
    assert "run.html" in err
    assert "Traceback" not in err
    if as_json:
        assert json.loads(out)["verdict"] == "pass"
    else:
        assert "page     " not in out


def test_a_bug_of_the_page_is_a_warning_and_changes_no_verdict(
    say: Say, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from testops.wiring import reporting

    def broken(*_: object) -> NoReturn:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(reporting, "write_pages", broken)
    assert say("run", "core")[0] == 0
    assert "the run goes on without it" in caplog.text


def test_a_killed_run_leaves_no_page_of_another_run(project: Path) -> None:
    (project / "reports").mkdir()
    (project / "reports" / "run.html").write_text("the page of an earlier run that passed")
    slow = KERNEL.replace("await world.sleep(1)", "import time\n    while True: pass")
    (project / "sim" / "echo.py").write_text(slow)
    command = [sys.executable, "-m", "testops", "run", "core"]
    running = subprocess.Popen(command, cwd=project, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while "Running" not in (project / "reports" / "run.html").read_text():
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.02)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(20)
    said = page(project)
    assert "Running It has not ended: there is no verdict yet" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "run"], "there is no record of run"),
        (["report", "run", "ffff"], "RUN: there is no run 'ffff'"),
        (["report", "run", "../.."], "RUN: there is no run '../..'"),
        (["report", "run", "--json", "--markdown"], "--json, --markdown: two formats"),
    ],
)
def test_what_is_not_there_is_exit_2_with_what_to_do(
    say: Say, arguments: list[str], says: str
) -> None:
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_an_id_that_is_several_runs_is_refused_and_the_newest_is_meant_without_one(
    say: Say, project: Path
) -> None:
    for name, began in (("aa11", "2026-01-02"), ("aa22", "2026-01-03"), ("bb33", "2026-01-01")):
        folder = project / "snapshots" / "runs" / name
        folder.mkdir(parents=True)
        record = {"run_id": name, "attempt": 1, "started_at": f"{began}T00:00:00+00:00"}
        (folder / "attempt-1.json").write_text(json.dumps(record))
        (folder / "attempt-2.json").write_text("{ half a rec")
    assert "'aa' is several runs (aa11, aa22); give more of the id" in say("report", "run", "aa")[2]
    assert json.loads(say("report", "run", "--json")[1])["run"]["run_id"] == "aa22"
    assert json.loads(say("report", "run", "bb", "--json")[1])["run"]["run_id"] == "bb33"
    assert (
        "there is no record of run aa11 attempt 2"
        in say("report", "run", "aa11", "--attempt", "2")[2]
    )


RECORDED = Path(__file__).parents[2] / "fixtures" / "reports"


def measured(project: Path, values: list[float]) -> None:
    """Records of runs that measured `values`, one after the other."""
    for number, value in enumerate(values):
        folder = project / "snapshots" / "runs" / f"{number:016x}"
        folder.mkdir(parents=True)
        record = {
            "run_id": folder.name,
            "attempt": 1,
            "suite": "core",
            "profile": "offline",
            "state": "finished",
            "verdict": "pass",
            "started_at": f"2026-11-{1 + number:02d}T00:00:00+00:00",
            "finished_at": f"2026-11-{1 + number:02d}T00:01:00+00:00",
            "build": {"commit": f"{number:040x}", "dirty": None},
            "engine_version": "toron-v2.5H+.2",
            "stages": [{"name": "load", "metrics": {"p95_ms": value}}],
            "gates": [
                {
                    "stage": "load",
                    "metric": "p95_ms",
                    "op": "<=",
                    "threshold": 150,
                    "severity": "block",
                    "verdict": "pass",
                    "value": value,
                    "reason": "x",
                }
            ],
        }
        path = folder / "attempt-1.json"
        path.write_text(json.dumps(record))
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))


def test_trends_are_a_page_whose_points_lead_to_records_that_are_there(
    say: Say, project: Path
) -> None:
    measured(project, [100.0 + n % 3 + (60 if n >= 12 else 0) for n in range(20)])
    code, out, _ = say("report", "trends")
    assert (code, out) == (0, f"wrote {project}/reports/trends.html: 20 runs, 1 changes\n")
    drawn = checked((project / "reports" / "trends.html").read_text())
    assert "1 of 1 metrics changed level" in drawn.words
    assert "gate ≤ 150 ms" in drawn.words
    links = [url for url in drawn.loads if url.endswith("attempt-1.json")]
    assert len(set(links)) == 20
    assert all((project / "reports" / link).is_file() for link in links)
    shown = json.loads(say("report", "trends", "core", "--json", "--metric", "load.p95_ms")[1])
    assert [change["index"] for change in shown["series"][0]["changes"]] == [12]
    assert len(say("report", "trends", "--csv", "--runs", "5")[1].splitlines()) == 6
    code, out, _ = say("report", "trends", "--out", "deep/er/t.html")
    assert "../../snapshots/runs/" in (project / "deep" / "er" / "t.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trends", "nope"], "no run of suite 'nope' has ended here; name one of core"),
        (["trends", "--metric", "load.x"], "no run measured 'load.x'; name one of load.p95_ms"),
        (["trends", "--csv", "--json"], "--csv, --json: two formats"),
        (["trends", "--runs", "0"], "--runs"),
        (["trends", "core", "--profile", "no"], "--profile: no run of suite 'core' has ended here"),
        (["performance", "nope.json"], "nope.json: cannot be read"),
        (["performance", str(RECORDED / "ruff.sarif")], "it is sarif, and no load test"),
        (["hardening", str(RECORDED / "pytest-junit.xml")], "not valid JSON"),
        (["hardening", str(RECORDED / "hyperfoil.json")], "it is not of schema 1"),
    ],
)
def test_what_cannot_be_reported_is_exit_2_with_what_to_do(
    say: Say, project: Path, arguments: list[str], says: str
) -> None:
    measured(project, [1.0, 2.0])
    code, out, err = say("report", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert not (project / "reports").exists()


def test_recorded_load_tests_become_a_page_against_the_runs_of_a_suite(
    say: Say, project: Path
) -> None:
    measured(project, [5.0 + n % 2 for n in range(8)])
    code, out, _ = say(
        "report", "performance", str(RECORDED / "k6-handle-summary.json"), "--suite", "core"
    )
    assert code == 0
    assert "performance.html" in out
    said = page(project, "performance.html")
    assert "p95_ms 13.99 ms" in said
    assert "higher than usual" in said
    assert json.loads((project / "reports" / "performance.json").read_text())["tests"]


def test_what_the_load_stage_of_a_run_measured_is_a_page_at_its_end(project: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from testops.domain.performance import Latency, Performance
    from testops.domain.run import Build, Run, RunState
    from testops.domain.seeds import Seeds
    from testops.domain.stage import StageName, StageReport, StageState
    from testops.reports.performance_page import performance_json
    from testops.runner.projects import Project
    from testops.wiring.reporting import write_pages

    (project / "reports").mkdir()
    told = Performance("checkout", "testops", Latency(((95.0, 44.0),)))
    (project / "reports" / "performance.json").write_text(performance_json([told]))
    artifacts = ("reports/performance.json",)
    ended = Run(
        run_id="a" * 16,
        attempt=1,
        state=RunState.FINISHED,
        suite="core",
        profile="offline",
        seeds=Seeds(1, 2),
        build=Build(None, None),
        engine_version="x",
        reproduce="testops run core",
        stages=(StageReport(StageName.LOAD, StageState.RAN, artifacts=artifacts),),
        started_at=(datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
        finished_at=datetime.now(UTC).isoformat(),
    )
    write_pages(ended, Project(project))
    assert "Latency p95 44 ms" in page(project, "performance.html")


def test_hardening_is_told_phase_by_phase(say: Say, project: Path) -> None:
    results = {
        "schema": 1,
        "checks": [
            {"phase": 6, "name": "sast", "verdict": "fail", "at": "2026-11-25T18:00:00+00:00"}
        ],
    }
    (project / "results.json").write_text(json.dumps(results))
    code, out, _ = say("report", "hardening", "results.json")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "4 engine             not measured  0 of 5 checks"
    assert lines[2] == "6 security and PII   fail          1 of 7 checks"
    assert json.loads((project / "reports" / "hardening.json").read_text())["schema"] == 1
    shown = json.loads(say("report", "hardening", "results.json", "--json")[1])
    assert [one["verdict"] for one in shown["phases"]] == [None, None, "fail", None, None, None]
