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
    assert "warning: this run has no report page: " in err
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
