import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from tests.support.postgres import DEMANDED, NoPostgres, Postgres, skip_or_fail

ROOT = Path(__file__).resolve().parents[3]


def test_what_was_committed_outlives_the_kill_of_the_server(postgres: Postgres) -> None:
    url = postgres.fresh_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    for round_number in range(3):
        with psycopg.connect(url) as open_session:
            open_session.execute("INSERT INTO kept VALUES (99)")
            postgres.kill()
            with pytest.raises(psycopg.OperationalError):
                open_session.execute("SELECT 1")
        postgres.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)], round_number


def test_it_syncs_as_a_real_one_does_and_wants_the_password(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url()) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url().replace(postgres.password, "wrong"))


def test_a_template_is_made_once_and_its_copies_are_apart(postgres: Postgres) -> None:
    made = []

    def prepare(url: str) -> None:
        made.append(url)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE t (n int)")

    first = postgres.copy_of("test", prepare)
    second = postgres.copy_of("test", prepare)
    with psycopg.connect(first) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert len(made) == 1


def test_nothing_is_left_when_pytest_itself_is_killed() -> None:
    program = (
        "from tests.support.postgres import running_postgres\n"
        "with running_postgres() as server:\n"
        "    print(server.folder, server._server.pid, flush=True)\n"
        "    input()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    folder, pid = child.stdout.readline().split()
    child.kill()
    child.communicate()
    limit = time.monotonic() + 20
    while (Path(folder).exists() or _runs(int(pid))) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not _runs(int(pid))


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_where_none_can_run_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEMANDED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="not run: no wheel"):
        skip_or_fail(NoPostgres("no wheel"))
    monkeypatch.setenv(DEMANDED, "1")
    with pytest.raises(pytest.fail.Exception, match="no wheel"):
        skip_or_fail(NoPostgres("no wheel"))


def test_a_signal_from_the_keyboard_does_not_reach_the_server(postgres: Postgres) -> None:
    assert postgres._server is not None
    assert os.getpgid(postgres._server.pid) != os.getpgid(0)
