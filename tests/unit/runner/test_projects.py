"""A project's files are found and named from its root, what a run leaves from the run's output."""

from pathlib import Path

import pytest

from testops.domain.errors import BadInput
from testops.runner.projects import Project


def test_without_an_output_everything_is_in_the_project(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert (project.snapshots, project.reports) == (tmp_path / "snapshots", tmp_path / "reports")
    assert project.shown(project.reports / "junit.xml") == "reports/junit.xml"


@pytest.mark.parametrize(
    ("root", "output"),
    [("project", "out"), ("project", "project/.testops/runs/1"), ("data/copies/1", "data/runs/1")],
)
def test_an_output_holds_what_a_run_leaves_and_is_named_alike(
    tmp_path: Path, root: str, output: str
) -> None:
    project = Project(tmp_path / root, output=tmp_path / output)
    assert project.suites == tmp_path / root / "suites"
    assert project.snapshots == tmp_path / output / "snapshots"
    # The same words as on the command line, wherever it is: a report must not depend on it.
    assert project.shown(project.reports / "junit.xml") == "reports/junit.xml"
    assert project.shown(project.suites / "core.yaml") == "suites/core.yaml"
    assert project.shown(tmp_path / "else") == str(tmp_path / "else")


def test_a_project_inside_an_output_is_named_from_its_own_root(tmp_path: Path) -> None:
    project = Project(tmp_path / "out" / "project", output=tmp_path / "out")
    assert project.shown(project.root / "src" / "a.py") == "src/a.py"
    assert project.shown(project.reports / "junit.xml") == "reports/junit.xml"


def test_a_baseline_is_read_from_the_project(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", output=tmp_path / "out")
    golden = project.inside("snapshots/golden", where="/stages/snapshot-compare/golden")
    assert golden == tmp_path / "project" / "snapshots" / "golden"
    with pytest.raises(BadInput, match="leaves the project"):
        project.inside("../out", where="/stages/snapshot-compare/golden")
