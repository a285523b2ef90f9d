"""A release is written from evidence, or not at all; in a repository that was made for it."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.finished import (
    ENGINE,
    RUN_ID,
    Finished,
    finished_project,
    write_run_bundle,
)
from tools import release_notes

from testops.domain.versions import DOCUMENT, matrix_of, row_text
from testops.snapshots import approve
from testops.snapshots.approve import record_path
from testops.warroom.certificate import read_certificate
from testops.wiring.certificates import kept_key

ROOT = Path(__file__).parents[3]
VERSION = "0.1.0"


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def document() -> str:
    """The real one, before a release of anything."""
    text = (ROOT / DOCUMENT).read_text()
    head = text[: text.index(release_notes.MARKER)] + release_notes.MARKER
    last = matrix_of(text).rows[-1]
    unreleased = replace(last, qualified_by="not released")
    return head.replace(row_text(last), row_text(unreleased))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of version 0.1.0 with two fragments and three baselines, in which full has passed."""
    root = tmp_path_factory.mktemp("template")
    project = (ROOT / "pyproject.toml").read_text()
    towncrier = project[project.index("[tool.towncrier]") :]
    (root / "pyproject.toml").write_text(f'[project]\nversion = "{VERSION}"\n\n{towncrier}')
    (root / DOCUMENT).write_text(document())
    (root / "changes").mkdir()
    (root / "changes/one.feature.md").write_text("Runs are certified.\n")
    (root / "changes/two.determinism.md").write_text("Timers fire in another order.\n")
    ignored = "reports/\nsnapshots/runs/\nsnapshots/run-*\n.testops/\nsuites/\n"
    (root / ".gitignore").write_text(ignored)
    for python in ("3.11", "3.12", "3.13"):
        bundle = root.parent / f"{python}.tar.gz"
        write_run_bundle(bundle, python=python)
        at = datetime(2026, 11, 25, tzinfo=UTC)
        approve(bundle, root / "snapshots/golden", who="ada", why="first", at=at)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "all")
    finished_project(root, suite="full", commit=git(root, "rev-parse", "HEAD"))
    return root


@pytest.fixture
def repository(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    monkeypatch.delenv("TESTOPS_DATA", raising=False)
    monkeypatch.delenv("TESTOPS_SIGNING_KEY", raising=False)
    shutil.copytree(template, tmp_path / "tree")
    monkeypatch.chdir(tmp_path / "tree")
    return Finished(tmp_path / "tree")


Release = Callable[..., tuple[int, str, str]]


@pytest.fixture
def release(capsys: pytest.CaptureFixture[str]) -> Release:
    def command(*arguments: str) -> tuple[int, str, str]:
        code = release_notes.main(arguments or (VERSION,))
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def untouched(made: Finished) -> bool:
    return not git(made.root, "status", "--porcelain")


def test_the_notes_hold_fragments_and_evidence(repository: Finished, release: Release) -> None:
    code, _, error = release()

    assert (code, error) == (0, "")
    text = (repository.root / DOCUMENT).read_text()
    notes = text[text.index(release_notes.MARKER) :]
    assert f"## {VERSION} (" in notes
    assert "Runs are certified." in notes
    assert "Timers fire in another order." in notes
    assert f"by run `{RUN_ID}` (suite full, attempt 1" in notes
    assert git(repository.root, "rev-parse", "HEAD") in notes
    assert repository.record["bundle_identity"] in notes
    assert "determinism 100 %, gates 1 of 1 hold" in notes
    certificate = repository.root / f"reports/certificate-{RUN_ID}.json"
    assert hashlib.sha256(certificate.read_bytes()).hexdigest() in notes
    key = kept_key(repository.data, {}, may_draw=False).key.public
    assert read_certificate(certificate.read_bytes(), [key]).run_id == RUN_ID
    assert key.key_id in notes
    # The row says which run has qualified it, and what reads the matrix still can.
    assert matrix_of(text).rows[-1].qualified_by == f"run {RUN_ID} ({VERSION})"
    assert not list((repository.root / "changes").iterdir())


def test_a_draft_is_printed_and_nothing_else_happens(
    repository: Finished, release: Release
) -> None:
    (repository.root / "new.txt").write_text("not committed")
    code, said, _ = release(VERSION, "--draft")
    assert code == 0
    assert "Runs are certified." in said
    assert f"by run `{RUN_ID}`" in said
    (repository.root / "new.txt").unlink()
    assert untouched(repository)
    assert not (repository.root / "reports").exists()


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (lambda one: one.record_file.unlink(), 4, "no run of suite full at commit"),
        (lambda one: one.change(suite="other"), 4, "no run of suite full at commit"),
        (lambda one: one.change(build={"commit": "d" * 40, "dirty": None}), 4, "no run of suite"),
        (
            lambda one: one.change(build={**one.record["build"], "dirty": "e" * 16}),
            4,
            "no run of suite full",
        ),
        (
            lambda one: one.change(build={**one.record["build"], "stated": True}),
            4,
            "no run of suite full",
        ),
        (lambda one: one.change(verdict="fail", reason="unit: 3 failed"), 1, "unit: 3 failed"),
        (lambda one: one.change(verdict="warn"), 4, "is finished, warn"),
        (lambda one: one.change(verdict="inconclusive"), 4, "is finished, inconclusive"),
        (lambda one: one.change(state="running", verdict=None), 4, "is running"),
        (lambda one: one.record_file.write_text("{"), 4, "cannot be read"),
        (lambda one: one.bundle.unlink(), 4, "is missing"),
        (lambda one: one.bundle.write_bytes(b"\x1f\x8b"), 4, "is damaged"),
    ],
)
def test_without_passing_evidence_for_this_commit_nothing_is_written(
    repository: Finished,
    release: Release,
    damage: Callable[[Finished], object],
    code: int,
    said: str,
) -> None:
    damage(repository)
    answered, out, error = release()

    assert (answered, out) == (code, "")
    assert said in error
    assert f"{VERSION} is not qualified" in error
    assert untouched(repository)


def test_a_draft_without_evidence_shows_the_notes_and_says_what_is_in_the_way(
    repository: Finished, release: Release
) -> None:
    repository.change(verdict="fail", reason="unit: 3 failed")
    code, said, error = release(VERSION, "--draft")
    assert code == 1
    assert "Runs are certified." in said
    assert "unit: 3 failed" in error


def stages(record: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    return [stage | changes if stage["name"] == "sim" else stage for stage in record["stages"]]


def test_a_part_of_the_suite_is_not_the_suite(repository: Finished, release: Release) -> None:
    asked = repository.record["stages"]
    asked[0] |= {"state": "not_asked", "verdict": None}
    repository.change(stages=asked)
    code, _, said = release()
    assert code == 4
    assert "was not asked for lint" in said


def test_the_newest_run_counts_whatever_an_older_one_said(
    repository: Finished, release: Release
) -> None:
    newer = repository.record | {
        "run_id": "f" * 16,
        "verdict": "fail",
        "reason": "later",
        "started_at": "2026-11-25T19:00:00+00:00",
    }
    folder = repository.root / f"snapshots/runs/{'f' * 16}"
    folder.mkdir()
    (folder / "attempt-1.json").write_text(json.dumps(newer))
    code, _, said = release()
    assert code == 1
    assert "later" in said


@pytest.mark.parametrize("measured", [97.9, None])
def test_too_little_determinism_is_no_release(
    repository: Finished, release: Release, measured: float | None
) -> None:
    numbers = {} if measured is None else {"determinism_percent": measured}
    repository.change(stages=stages(repository.record, metrics=numbers))
    code, _, said = release()
    assert code == 1
    assert f"determinism is {measured} %, and 98 % is the least" in said
    assert untouched(repository)


BASELINE = f"snapshots/golden/core/offline/{ENGINE}-py3.12.tar.gz"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda at: at.unlink(), "there is none"),
        (lambda at: record_path(at).unlink(), "nobody has approved"),
        (lambda at: write_run_bundle(at, python="3.11"), "of another key"),
        (lambda at: write_run_bundle(at, python="3.12", digest="b" * 64), "is not the bundle"),
        (lambda at: at.write_bytes(b"\x1f\x8b"), "cut off"),
    ],
)
def test_a_new_engine_needs_an_approved_baseline_on_every_python(
    repository: Finished, release: Release, damage: Callable[[Path], object], said: str
) -> None:
    damage(repository.root / BASELINE)
    git(repository.root, "commit", "-qam", "another baseline")
    head = git(repository.root, "rev-parse", "HEAD")
    repository.change(build={"commit": head, "dirty": None})
    code, _, error = release()
    assert code == 4
    assert f"engine {ENGINE} is new" in error
    assert "Python 3.12" in error
    assert said in error
    assert untouched(repository)


def test_an_engine_that_was_released_needs_no_new_baseline(
    repository: Finished, release: Release
) -> None:
    file = repository.root / DOCUMENT
    [row] = matrix_of(file.read_text()).rows
    older = replace(row, testops="0.0", qualified_by=f"run {'9' * 16} (0.0.1)")
    lines = file.read_text().replace(row_text(row), f"{row_text(older)}\n{row_text(row)}")
    file.write_text(lines)
    git(repository.root, "rm", "-qr", "snapshots/golden")
    git(repository.root, "add", "-A")
    git(repository.root, "commit", "-qm", "next")
    head = git(repository.root, "rev-parse", "HEAD")
    repository.change(build={"commit": head, "dirty": None})
    assert release()[0] == 0


def test_a_tree_that_is_not_committed_is_not_released(
    repository: Finished, release: Release
) -> None:
    (repository.root / "new.txt").write_text("x")
    code, _, said = release()
    assert code == 2
    assert "new.txt" in said


@pytest.mark.parametrize("version", ["", "0.2.0", "0.1", "v0.1.0", "00.1.0", "0.1.0; rm -rf"])
def test_another_version_than_the_trees_is_refused(
    repository: Finished, release: Release, version: str
) -> None:
    code, _, said = release(version)
    assert code == 2
    assert "not the version of this tree, which is 0.1.0" in said


def test_a_version_is_released_once(repository: Finished, release: Release) -> None:
    assert release()[0] == 0
    git(repository.root, "add", "-A")
    git(repository.root, "commit", "-qm", "release")
    code, _, said = release()
    assert code == 2
    assert "0.1.0 has its notes" in said


def test_a_version_without_a_row_is_refused(repository: Finished, release: Release) -> None:
    file = repository.root / DOCUMENT
    file.write_text(file.read_text().replace(f"| {ENGINE} |", "| toron-v2.5H+.99 |"))
    git(repository.root, "commit", "-qam", "another engine")
    code, _, said = release()
    assert code == 2
    assert f"engine {ENGINE}" in said
    assert "no row" in said


def test_without_a_signing_key_there_is_no_release(repository: Finished, release: Release) -> None:
    (repository.data / "certificate.key").unlink()
    code, _, said = release()
    assert code == 2
    assert "testops certificate key" in said
    assert untouched(repository)
