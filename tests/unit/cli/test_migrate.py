"""`testops migrate`, in the process, on both databases."""

from collections.abc import Callable
from pathlib import Path

import pytest

from testops.cli import main

Run = Callable[..., int]


@pytest.fixture
def command(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTOPS_DATABASE_URL", empty_database_url)
    return run


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(str(ended.value.code))


def test_check_up_check_down_check(command: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("migrate", "--check") == 1
    assert ": empty (" in capsys.readouterr().out
    assert command("migrate") == 0
    assert "migrated, it was empty" in capsys.readouterr().out
    assert command("migrate") == 0
    assert "was current" in capsys.readouterr().out
    assert command("migrate", "--check") == 0
    assert ": current (revision " in capsys.readouterr().out
    assert command("migrate", "--down", "base") == 2
    assert "--yes" in capsys.readouterr().err
    assert command("migrate", "--check") == 0
    assert command("migrate", "--down", "base", "--yes") == 0
    assert command("migrate", "--check") == 1


def test_check_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TESTOPS_DATABASE_URL", raising=False)
    monkeypatch.delenv("TESTOPS_DATA", raising=False)
    assert run("migrate", "--check") == 1
    assert list(tmp_path.iterdir()) == []
    assert run("migrate", "--data", "here") == 0
    assert (tmp_path / "here/testops.db").exists()


def test_a_database_that_does_not_answer_is_inconclusive_and_its_password_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTOPS_DATABASE_URL", "postgresql://me:hush-hush@127.0.0.1:1/nowhere")
    assert run("migrate") == 4
    said = capsys.readouterr().err
    assert "does not answer" in said
    assert "hush-hush" not in said


def test_a_file_that_is_no_database_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "testops.db").write_text("something else entirely\n" * 100)
    monkeypatch.setenv("TESTOPS_DATABASE_URL", f"sqlite:///{tmp_path}/testops.db")
    assert run("migrate") == 4
    assert "not a database" in capsys.readouterr().err
