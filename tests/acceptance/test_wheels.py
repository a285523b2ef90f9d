"""The two wheels in an environment of their own: from nothing to a first green run."""

import re
import signal
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import httpx
import pytest
from tests.acceptance.test_doors import ROOT, SERVICE, run_in
from tests.acceptance.test_platform import Server
from tests.crash.processes import free_port

FIRST_RUN_S_MAX = 60.0


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheels")
    for source in (ROOT / "engine", ROOT):
        build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
        done = run_in(folder, [sys.executable, *build, "-w", str(folder), str(source)])
        assert done.returncode == 0, done.stderr
    found = sorted(str(path) for path in folder.glob("*.whl"))
    assert [Path(path).name.partition("-")[0] for path in found] == ["ryuzen_testops", "toron"]
    # Without it no version would be known to be qualified, and nothing would start.
    inside = zipfile.ZipFile(found[0]).namelist()
    assert "testops/VERSIONING_AND_RELEASE_NOTES.md" in inside
    # Without them a run would have no page, and say so in a warning that nobody reads.
    templates = ROOT / "src" / "testops" / "reports" / "templates"
    assert {f"testops/reports/templates/{path.name}" for path in templates.iterdir()} <= {*inside}
    page = ROOT / "engine" / "src" / "toron" / "search" / "traces" / "page"
    of_toron = zipfile.ZipFile(found[1]).namelist()
    assert {f"toron/search/traces/page/{path.name}" for path in page.iterdir()} <= {*of_toron}
    return found


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """The Python of a new environment with pip and nothing else."""
    venv.create(tmp_path / "venv", with_pip=True)
    return tmp_path / "venv" / "bin" / "python"


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    done = run_in(python.parent, [*command, *arguments])
    assert done.returncode == 0, done.stderr


def first_green_run(python: Path, folder: Path) -> float:
    """What README says to do, and the moment when the page of the link shows a green run."""
    project = folder / "shop"
    project.mkdir()
    (project / "main.py").write_text(SERVICE)
    testops = str(python.parent / "testops")
    written = run_in(project, [testops, "init"])
    assert written.returncode == 0, written.stderr
    server = Server(project, free_port(), [testops])
    try:
        link = server.said(r"(http://\S+/login\?token=\S+)").group(1)
        with httpx.Client(follow_redirects=True) as browser:
            assert "Runs" in browser.get(link).text
            ran = server.testops("run", "default", TESTOPS_URL=server.url)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            assert re.search(r"PASS  default", ran.stdout)
            page = browser.get(f"{server.url}/").text
            seen_s = time.monotonic()
        assert "default" in page
        assert ">pass<" in page
    finally:
        code = server.stop(signal.SIGTERM)
    assert code == 0, server.lines
    return seen_s


def test_the_wheels_hold_everything_that_a_first_run_needs(
    wheels: list[str], empty: Path, tmp_path: Path
) -> None:
    """Needs no index: what others wrote is taken from the environment of this test."""
    pip(empty, "--no-index", "--no-deps", *wheels)
    site = next((empty.parent.parent / "lib").glob("python*/site-packages"))
    # Plain paths: the links to this working tree in there are not followed.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = "import testops, toron; print(testops.__file__, toron.__file__)"
    shown = subprocess.run([empty, "-c", where], capture_output=True, text=True, check=True).stdout
    assert shown.count(str(site)) == 2, shown
    first_green_run(empty, tmp_path)


@pytest.mark.long
def test_from_pip_install_to_a_green_run_takes_less_than_a_minute(
    wheels: list[str], empty: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    pip(empty, "-c", str(ROOT / "constraints.txt"), *wheels)
    assert first_green_run(empty, tmp_path) - began <= FIRST_RUN_S_MAX
