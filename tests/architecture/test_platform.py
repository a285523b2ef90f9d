"""The platform's own files agree: pins, schema, suites, and the list of commands."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from testops.runner.suites import known_names, load_profile, load_suite, suite_schema

ROOT = Path(__file__).resolve().parents[2]


def test_constraints_are_exact_versions_without_addresses() -> None:
    pinned = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][^\s;]*( ; .+)?")
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(lines) > 30
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_every_dependency_is_pinned_by_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        asked += extra
    names = {re.split(r"[\[<>=~! ]", one)[0].lower() for one in asked} - {"toron"}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert names - {line.partition("==")[0] for line in lines} == set()


def test_the_platform_asks_for_exactly_our_own_toron() -> None:
    version = tomllib.loads((ROOT / "engine" / "pyproject.toml").read_text())["project"]["version"]
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"toron=={version}" in asked


def test_the_checked_in_schema_is_the_one_that_files_are_read_by() -> None:
    schema = json.loads((ROOT / "suites" / "suite.schema.json").read_text())
    assert schema == suite_schema(), "refresh: testops suites schema > suites/suite.schema.json"


@pytest.mark.parametrize("name", known_names(ROOT / "suites"))
def test_every_suite_here_is_valid_with_its_profile(name: str) -> None:
    loaded = load_suite(name, working_folder=ROOT)
    assert load_profile(loaded.suite.profile, loaded.project).network.policy == "loopback-only"


def test_full_asks_the_simulation_what_regression_core_asks() -> None:
    full = load_suite("full", working_folder=ROOT).suite
    core = load_suite("regression_core", working_folder=ROOT).suite
    # One baseline serves both, so a bundle of one must be a bundle of the other.
    assert (full.seeds, full.profile) == (core.seeds, core.profile)
    assert full.stages.sim is not None
    assert full.stages.sim.suite == "regression_core"
    demanded = [gate for gate in full.gates if gate.metric == "determinism_percent"]
    assert demanded == [gate for gate in core.gates if gate.metric == "determinism_percent"]
    assert [gate.threshold for gate in demanded] == [100]


def test_every_kernel_of_regression_core_is_in_the_suite() -> None:
    folder = ROOT / "sim" / "kernels" / "regression_core"
    files = {path.relative_to(ROOT).as_posix() for path in folder.glob("[a-z]*.py")}
    stage = load_suite("regression_core", working_folder=ROOT).suite.stages.sim
    assert stage is not None
    assert {kernel.file for kernel in stage.kernels.values()} == files


def test_bare_make_lists_every_command() -> None:
    listed = subprocess.run(
        ["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    commands = re.findall(r"^  make (\S+)", listed, re.MULTILINE)
    expected = "help testops-regression up test test-long lint openapi release-notes crash-sweep"
    assert commands == [*expected.split(), "bench", "fuzz", "compat", "zoo", "clean"]
    assert listed.splitlines()[-1] == "exit 0"
