"""Real kernels in Toron: a planted regression is exit 1, a planted pid in an output is exit 3."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from testops.cli import main, snapshot_compare_main

SUITE = """\
schema: 1
name: core
seeds: {sim: 42, chaos: 7}
stages:
  sim:
    kernels:
      echo: {run: "sim/echo.py::echo"}
  snapshot-compare: {}
gates:
  - {stage: sim, metric: determinism_percent, op: ">=", threshold: 0}
"""
KERNEL = """\
import os

import toron


@toron.kernel
async def echo(world):
    await world.sleep(1)
    world.record("answer", VALUE)
"""
BOTH = ("--base", "snapshots/golden", "--target", "snapshots/dev")
PID = "os.getpid()"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "core.yaml").write_text(SUITE)
    (tmp_path / "sim").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("SIM_SEED", "CHAOS_SEED", "TESTOPS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path, "1000")
    assert command("run", "core") == 4
    assert command("snapshot", "approve", "snapshots/dev", "--who", "Ada", "--why", "first") == 0
    return tmp_path


def write(project: Path, value: str) -> None:
    (project / "sim" / "echo.py").write_text(KERNEL.replace("VALUE", value))


def code_of(entry: Callable[[list[str]], None], *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        entry(list(arguments))
    return int(str(ended.value.code))


def command(*arguments: str) -> int:
    return code_of(main, *arguments)


def compare(*arguments: str) -> int:
    return code_of(snapshot_compare_main, *BOTH, *arguments)


def test_a_regression_is_one_and_a_replay_of_it_holds_until_the_code_moves(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, "10")
    assert command("run", "core") == 1
    assert "cause: regression" in capsys.readouterr().out
    assert compare("--json") == 1
    assert json.loads(capsys.readouterr().out)["cause"] == "regression"
    assert command("snapshot", "replay", "snapshots/dev") == 0
    write(project, "11")
    capsys.readouterr()
    assert command("snapshot", "replay", "snapshots/dev", "--json") == 1
    assert json.loads(capsys.readouterr().out)["not_reached"][0]["cause"] == "changed code"
    # The target was recorded from other code than is here: nothing is proved about it.
    assert compare() == 1
    assert "the code here is no longer what the target was recorded from" in capsys.readouterr().out
    (project / "sim" / "echo.py").unlink()
    assert command("snapshot", "replay", "snapshots/dev") == 2
    assert "sim/echo.py::echo is not in this project" in capsys.readouterr().err
    assert compare("--no-reexecute") == 1


def test_nondeterminism_is_three_in_the_stage_in_the_script_and_in_a_replay(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, PID)
    assert command("run", "core") == 3
    said = capsys.readouterr().out
    assert "nondeterministic is 1, wanted == 0" in said
    assert compare() == 3
    assert "cause: nondeterminism: echo, seed 42" in capsys.readouterr().out
    assert compare("--no-reexecute") == 1
    assert "cause: unknown: not executed again" in capsys.readouterr().out
    capsys.readouterr()
    assert command("snapshot", "replay", "snapshots/dev", "--json") == 3
    [left] = json.loads(capsys.readouterr().out)["not_reached"]
    assert left["where"] == "sim/echo.py:9 in echo"


@pytest.mark.parametrize("limit", ["nan", "inf", "0"])
def test_a_limit_that_is_no_time_is_bad_input(
    limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("snapshot", "replay", "snapshots/dev", "--wall-limit", limit) == 2
    assert "--wall-limit" in capsys.readouterr().err


def test_a_suite_may_do_without(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "suites" / "core.yaml").write_text(
        SUITE.replace("snapshot-compare: {}", "snapshot-compare: {reexecute: false}")
    )
    write(project, PID)
    assert command("run", "core") == 1
    assert "cause: unknown: not executed again" in capsys.readouterr().out


def test_a_bundle_does_not_choose_what_runs_here(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, "10")
    assert command("run", "core") == 1
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "echo.py").write_text("open('/tmp/never', 'w')\n\n\nasync def echo(): ...\n")
    (project / "suites" / "core.yaml").unlink()
    kernel = project / "snapshots/dev/kernels/echo/42-7.json"
    kernel.write_text(kernel.read_text().replace("sim/echo.py", f"../{outside.name}/echo.py"))
    manifest = project / "snapshots/dev/manifest.json"
    body = json.loads(manifest.read_text())
    content = kernel.read_bytes()
    body["files"] = [
        {
            "path": "kernels/echo/42-7.json",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        }
    ]
    manifest.write_text(json.dumps(body))
    capsys.readouterr()
    assert compare() == 1
    assert "leaves the project" in capsys.readouterr().out
    shutil.rmtree(outside)
