"""The commands of the mission as a person types them, in a clone of this repository."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
RUN_SUITE = "sim/run_suite.py"
SMALL = ("--profile", "offline", "--suite", "regression_core", "--seeds", "42:43")

Shell = Callable[..., subprocess.CompletedProcess[str]]


def environment(**changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not re.match("SIM_|CHAOS_|TESTOPS_|MAKE", k)}
    return {**kept, **changes}


def run_in(
    folder: Path, command: Sequence[str], **changes: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(command),
        cwd=folder,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked and new files of this working tree, somewhere else."""
    target = tmp_path_factory.mktemp("copy") / "ryuzen"
    listing = run_in(ROOT, ["git", "ls-files", "-coz", "--exclude-standard"]).stdout
    for name in filter(None, listing.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


@pytest.fixture
def python(copy: Path) -> Shell:
    return lambda *arguments, **changes: run_in(copy, [sys.executable, *arguments], **changes)


def test_run_suite_leaves_what_the_mission_says(copy: Path, python: Shell) -> None:
    done = python(RUN_SUITE, *SMALL, "--json")
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert (copy / body["bundle"]).is_file()
    assert (copy / "snapshots/dev/manifest.json").is_file()
    report = json.loads((copy / "reports/determinism.json").read_text())
    assert report["executions"] == report["identical"] == len(report["kernels"]) >= 8
    assert report["determinism_percent"] == 100


def test_the_same_command_executes_again_and_gives_the_same_bytes(
    copy: Path, python: Shell, tmp_path: Path
) -> None:
    first = json.loads(python(RUN_SUITE, *SMALL, "--json").stdout)
    bundle = copy / first["bundle"]
    before = bundle.read_bytes()
    bundle.unlink()
    second = json.loads(python(RUN_SUITE, *SMALL, "--json").stdout)
    assert second["attempt"] == first["attempt"] + 1
    assert bundle.read_bytes() == before
    assert second["bundle_identity"] == first["bundle_identity"]


def test_seeds_change_the_run_and_are_recorded(copy: Path, python: Shell) -> None:
    usual = json.loads(python(RUN_SUITE, *SMALL, "--json").stdout)
    other = json.loads(
        python(
            RUN_SUITE,
            "--suite",
            "regression_core",
            "--json",
            SIM_SEED="1001",
            CHAOS_SEED="1002",
        ).stdout
    )
    assert other["seeds"] == {"sim": 1001, "chaos": 1002}
    assert other["bundle_identity"] != usual["bundle_identity"]
    manifest = json.loads((copy / "snapshots/dev/manifest.json").read_text())
    assert (manifest["sim_seed"], manifest["chaos_seed"]) == (1001, 1002)


def test_a_door_becomes_the_environment_when_testops_is_not_importable(copy: Path) -> None:
    link = copy / ".venv"
    link.symlink_to(BIN.parent)
    try:
        done = run_in(copy, [f"{sys.base_prefix}/bin/python3", RUN_SUITE, "--help"])
    finally:
        link.unlink()
    assert done.returncode == 0, done.stderr
    assert "Simulate a suite" in done.stdout


def test_a_door_without_an_environment_says_what_makes_one(copy: Path) -> None:
    done = run_in(copy, [f"{sys.base_prefix}/bin/python3", RUN_SUITE, "--help"])
    assert done.returncode == 2
    assert "make testops-regression" in done.stderr


def test_an_unknown_suite_is_exit_2_in_one_line(python: Shell) -> None:
    done = python(RUN_SUITE, "--suite", "nope", "--profile", "offline")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "known: full, regression_core" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_a_folder_that_works(
    copy: Path, python: Shell, number: signal.Signals
) -> None:
    whole = ["--suite", "regression_core", "--seeds", "0:2000"]
    process = subprocess.Popen(
        [sys.executable, RUN_SUITE, *whole],
        cwd=copy,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "[sim] started" in line:
            break
    time.sleep(1)
    process.send_signal(number)
    assert process.wait(timeout=30) == (130 if number is signal.SIGINT else -signal.SIGKILL)
    process.stderr.close()
    assert python(RUN_SUITE, *SMALL).returncode == 0
    states = {
        json.loads(path.read_text())["state"]
        for path in (copy / "snapshots/runs").glob("*/attempt-*.json")
    }
    assert states <= {"finished", "cancelled", "errored"}
    assert ("cancelled" if number is signal.SIGINT else "errored") in states
    assert not list((copy / "snapshots").glob(".tmp-*"))


def test_a_full_disk_is_exit_4_and_leaves_nothing_half_written(copy: Path, python: Shell) -> None:
    shutil.rmtree(copy / "snapshots" / "dev", ignore_errors=True)
    for bundle in (copy / "snapshots").glob("run-*.tar.gz"):
        bundle.unlink()
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048));"
    code = (
        f"{limit} sys.argv[0] = {RUN_SUITE!r}; runpy.run_path({RUN_SUITE!r}, run_name='__main__')"
    )
    done = python("-c", code, *SMALL)
    assert done.returncode == 4, done.stderr
    assert "error: " in done.stderr
    left = sorted(path.name for path in (copy / "snapshots").glob("run-*"))
    assert left == []


def test_init_and_run_qualify_another_project_and_find_a_planted_bug(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SERVICE)
    testops = str(BIN / "testops")
    written = run_in(tmp_path, [testops, "init"])
    assert "FastAPI app: main:app, answers GET /stock" in written.stdout
    first = run_in(tmp_path, [testops, "run"])
    assert first.returncode == 0, first.stdout + first.stderr
    (tmp_path / "main.py").write_text(SERVICE.replace("count < 1000", "count < 3"))
    second = run_in(tmp_path, [testops, "run"])
    assert second.returncode == 1, second.stdout + second.stderr
    assert "no server error" in second.stdout
    command = next(
        line.partition("reproduce: ")[2]
        for line in second.stdout.splitlines()
        if "reproduce: " in line
    )
    replayed = run_in(tmp_path, command.split())
    assert replayed.returncode == 1, replayed.stdout + replayed.stderr
    assert "no server error" in replayed.stdout


SERVICE = """\
from fastapi import FastAPI

app = FastAPI()
count = 0


@app.get("/stock")
async def stock() -> dict[str, int]:
    global count
    count += 1
    assert count < 1000, "sold out"
    return {"count": count}
"""
