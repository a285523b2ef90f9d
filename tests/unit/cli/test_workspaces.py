"""`testops workspaces` says what there is, and how to allow what is not allowed."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from testops.cli import main


@pytest.fixture
def say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    root = tmp_path / "My Shop"
    (root / "suites").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    monkeypatch.chdir(root)
    for name in ("TESTOPS_DATA", "TESTOPS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["workspaces", *arguments])
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out + captured.err

    return run


def test_a_workspace_from_its_beginning_to_its_end(say: Callable[..., tuple[int, str]]) -> None:
    assert say("list") == (0, "there is none; add one: testops workspaces add FOLDER\n")
    code, said = say("add", ".")
    assert code == 0
    assert "workspace my-shop: path " in said
    assert "testops workspaces allow-commands my-shop" in said
    assert "no commands" in say("list")[1]
    assert say("allow-commands", "my-shop") == (0, "suites of workspace my-shop may run commands\n")
    assert "no commands" not in say("list")[1]
    assert "not run" in say("allow-commands", "my-shop", "--no")[1]
    assert say("remove", "my-shop")[0] == 0
    code, said = say("remove", "my-shop")
    assert code == 2
    assert "name one of: none" in said


def test_an_archive_is_named_by_its_content(say: Callable[..., tuple[int, str]]) -> None:
    code, said = say("add", ".", "--archive", "--name", "shop", "--allow-commands")
    assert code == 0
    assert said.startswith("workspace shop: archive ")
    assert len(said.split()[-1]) == 64


def test_the_data_folder_is_no_change_of_the_project(
    say: Callable[..., tuple[int, str]],
) -> None:
    say("add", ".")
    status = ["git", "status", "--porcelain", "--untracked-files=all"]
    done = subprocess.run(status, capture_output=True, text=True, check=True)
    assert done.stdout == ""
