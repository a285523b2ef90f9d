"""`testops retention`, in the process, on both databases."""

import json
from pathlib import Path

import pytest
from tests.support.rows import row_of

from testops.cli import main
from testops.storage.database import Moment, open_database
from testops.storage.tables import run


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(str(ended.value.code))


@pytest.fixture(autouse=True)
def with_two_runs(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTOPS_DATABASE_URL", database_url)
    for name in ("DAYS", "COUNT", "MB", "EVENT_DAYS"):
        monkeypatch.delenv(f"TESTOPS_KEEP_{name}", raising=False)
    database = open_database(database_url)
    with database.write() as connection:
        now = database.moment(connection).ms
        for run_id, days in (("a" * 16, 0), ("b" * 16, 50)):
            ended = Moment(now - days * 86_400_000)
            facts = {"state": "finished", "created_ms": ended.ms, "finished_at": ended.text}
            connection.execute(run.insert().values(row_of(run, run_id=run_id, **facts)))
    database.close()


def test_a_dry_run_names_what_would_go_and_removes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(2):
        assert command("retention", "--older-than", "30", "--dry-run") == 0
        said = capsys.readouterr().out
        assert f"{'b' * 16}  1  0 bytes  older than 30 days" in said
        assert "1 runs would go; nothing was removed" in said


def test_a_pass_says_what_it_removed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("retention", "--older-than", "30") == 0
    assert "removed 1 runs" in capsys.readouterr().out
    assert command("retention", "--older-than", "30", "--json") == 0
    body = json.loads(capsys.readouterr().out)
    assert body["runs"] == []
    assert body["bytes_freed"] == body["bytes_before"] - body["bytes_after"]


def test_without_a_limit_no_run_goes(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("retention") == 0
    assert "removed 0 runs" in capsys.readouterr().out


def test_the_environments_limit_holds_and_a_wrong_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TESTOPS_KEEP_COUNT", "1")
    assert command("retention", "--dry-run", "--json") == 0
    (only,) = json.loads(capsys.readouterr().out)["runs"]
    assert only["why"] == "more than 1 runs"
    for wrong in ("many", "-1", "nan"):
        monkeypatch.setenv("TESTOPS_KEEP_COUNT", wrong)
        assert command("retention") == 2
        assert "TESTOPS_KEEP_COUNT" in capsys.readouterr().err


def test_a_database_that_is_not_migrated_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TESTOPS_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    assert command("retention") == 2
    assert "testops migrate" in capsys.readouterr().err
