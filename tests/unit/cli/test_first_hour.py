"""What goes wrong in the first hour is answered in a line that says what to do."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testops.cli import main
from testops.wiring.access import SERVER_URL_FILE, known_url

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    (tmp_path / "suites").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "DATABASE_URL", "API_KEY", "URL", "PUBLIC_URL", "HOST", "PORT"):
        monkeypatch.delenv(f"TESTOPS_{name}", raising=False)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out + captured.err

    return run


def test_a_server_that_does_not_answer_is_exit_4(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTOPS_URL", "http://127.0.0.1:1")
    code, said = say("run", "default")
    assert code == 4
    assert "TESTOPS_URL http://127.0.0.1:1: the server does not answer" in said


def test_an_address_that_is_none_is_exit_2(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTOPS_URL", "nonsense")
    code, said = say("run", "default")
    assert code == 2
    assert "TESTOPS_URL nonsense: it is no address" in said


@pytest.mark.parametrize("group", ["workspaces", "keys", "audit", "snapshot"])
def test_a_group_without_a_command_shows_its_help_in_lines(say: Say, group: str) -> None:
    code, said = say(group)
    assert code == 2
    assert said.startswith(f"Usage: testops {group} ")
    assert "\nCommands:\n" in said


def test_a_folder_without_a_name_does_not_become_the_default_workspace(say: Say) -> None:
    code, said = say("workspaces", "add", "/")
    assert code == 2
    assert "--name" in said
    assert "there is none" in say("workspaces", "list")[1]


@pytest.mark.parametrize("command", [["runner"], ["workspaces", "list"], ["run"]])
def test_a_file_that_is_no_database_is_no_bug_of_ours(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    other = tmp_path / "other.db"
    other.write_text("no database, but long enough to be looked at by SQLite\n" * 40)
    (tmp_path / "suites" / "default.yaml").write_text(
        "schema: 1\nname: default\nseeds: {sim: 1, chaos: 2}\nstages:\n  unit: {paths: [tests]}\n"
    )
    monkeypatch.setenv("TESTOPS_DATABASE_URL", f"sqlite:///{other}")
    code, said = say(*command)
    assert code == 4
    assert "file is not a database" in said


def test_the_link_leads_to_where_the_last_server_was(say: Say, tmp_path: Path) -> None:
    (tmp_path / ".testops").mkdir()
    (tmp_path / ".testops" / SERVER_URL_FILE).write_text("http://127.0.0.1:9123\n")
    assert say("login-link")[1].startswith("http://127.0.0.1:9123/login?token=")
    port = {"TESTOPS_PORT": "7000"}
    assert known_url(port, tmp_path / ".testops") == "http://127.0.0.1:7000"


def test_an_interruption_while_the_commands_are_imported_is_one_line() -> None:
    """The modules are held up for the signal to arrive in the middle of them."""
    code = (
        "import sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'testops.cli.commands':\n"
        "            print('importing', flush=True)\n"
        "            time.sleep(30)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from testops.cli import main\n"
        "main(['versions'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.startswith("interrupted: ")
    assert len(said.splitlines()) == 1
