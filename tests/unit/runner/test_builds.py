"""A build is the commit and what differs from it; what a run leaves behind is not part of it."""

import subprocess
from pathlib import Path

import pytest

from testops.runner.builds import build_of


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, timeout=30)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_clean_commit_has_no_dirt(repository: Path) -> None:
    build = build_of(repository)
    assert build.commit is not None
    assert len(build.commit) == 40
    assert build.dirty is None


def test_a_change_an_addition_and_a_removal_are_each_another_build(repository: Path) -> None:
    seen = {build_of(repository).dirty}
    (repository / "a.py").write_text("x = 2\n")
    seen.add(build_of(repository).dirty)
    (repository / "b.py").write_text("y = 1\n")
    seen.add(build_of(repository).dirty)
    (repository / "a.py").unlink()
    seen.add(build_of(repository).dirty)
    assert len(seen) == 4


def test_a_staged_change_counts(repository: Path) -> None:
    (repository / "a.py").write_text("x = 2\n")
    before = build_of(repository).dirty
    git(repository, "add", ".")
    assert build_of(repository).dirty == before is not None


def test_what_a_run_leaves_is_not_part_of_the_build(repository: Path) -> None:
    for folder in ("snapshots", "reports"):
        (repository / folder).mkdir()
        (repository / folder / "x.json").write_text("{}")
    assert build_of(repository).dirty is None


def test_variables_of_a_hook_do_not_lead_to_another_repository(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = build_of(repository)
    monkeypatch.setenv("GIT_DIR", str(tmp_path_factory.mktemp("other")))
    assert build_of(repository) == own


def test_outside_git_the_sources_are_the_build(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    first = build_of(tmp_path)
    assert first.commit is None
    (tmp_path / "venv" / "b.py").write_text("installed = True\n")
    assert build_of(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2\n")
    assert build_of(tmp_path) != first
