"""What we ask of DBOS by names that it does not promise, held to what it did when we chose it."""

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.platform import new_run

from testops.storage.database import Database, open_database
from testops.storage.durable import Submitter
from testops.storage.runs import RunsStore

ROOT = Path(__file__).parents[3]
RUN = "a" * 16


class Child:
    """A durable queue in another process."""

    def __init__(self, url: str, executor: str, what: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.durable_child", url, executor, what],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.heard: list[str] = []

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())

    def hears(self, beginning: str) -> str:
        """The next line that begins so; what else it said is in `heard`."""
        while True:
            line = self._lines.get(timeout=40)
            self.heard.append(line)
            if line.startswith(beginning):
                return line

    def call(self, line: str, beginning: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.hears(beginning)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.kill()


def url_of(database: Database) -> str:
    return database.engine.url.set(
        drivername="sqlite" if database.is_sqlite else "postgresql"
    ).render_as_string(hide_password=False)


def statuses(database: Database) -> sa.Table:
    schema = None if database.is_sqlite else "dbos"
    return sa.Table("workflow_status", sa.MetaData(), schema=schema, autoload_with=database.engine)


def test_the_work_of_a_dead_executor_is_taken_by_another(
    database: Database, children: list[Child]
) -> None:
    RunsStore(database, Submitter(database).submit).create(new_run())
    dead = Child(url_of(database), "dead", "hold")
    children.append(dead)
    assert dead.hears("take") == f"take {RUN} 1"
    dead.process.send_signal(signal.SIGKILL)
    dead.process.wait()
    alive = Child(url_of(database), "alive", "finish")
    children.append(alive)
    alive.hears("ready")
    assert alive.call(f"ended {RUN}-1", "ended") == "ended"

    assert alive.call("recover dead", "recovered") == "recovered 1"
    assert alive.hears("take") == f"take {RUN} 1"
    # Whoever comes second finds nothing to do.
    assert alive.call("recover dead", "recovered") == "recovered 0"
    while alive.call(f"ended {RUN}-1", "ended") == "ended":
        pass


def test_a_row_that_no_thread_executes_is_adopted_at_the_second_look(
    database: Database, children: list[Child]
) -> None:
    alive = Child(url_of(database), "alive", "finish")
    children.append(alive)
    alive.hears("ready")
    table = statuses(database)
    submitter = Submitter(database)

    def orphaned(connection: sa.Connection, submission: object) -> None:
        submitter.submit(connection, submission)  # type: ignore[arg-type]
        connection.execute(sa.update(table).values(status="PENDING", executor_id="alive"))

    RunsStore(database, orphaned).create(new_run())

    assert alive.call("adopt", "adopted") == "adopted 0"
    assert alive.call("adopt", "adopted") == "adopted 1"
    assert alive.hears("take") == f"take {RUN} 1"


def test_an_attempt_that_the_queue_does_not_know_counts_as_ended(
    database: Database, children: list[Child]
) -> None:
    alive = Child(url_of(database), "alive", "hold")
    children.append(alive)
    RunsStore(database, Submitter(database).submit).create(new_run())
    alive.hears("take")

    assert alive.call(f"ended {RUN}-1 {'b' * 16}-1", "ended") == f"ended {'b' * 16}-1"


def test_a_creation_that_is_rolled_back_queues_nothing(database: Database) -> None:
    submitter = Submitter(database)

    def refuse(connection: sa.Connection, submission: object) -> None:
        submitter.submit(connection, submission)  # type: ignore[arg-type]
        raise RuntimeError("full")

    with pytest.raises(RuntimeError):
        RunsStore(database, refuse).create(new_run())

    with database.read() as connection:
        assert connection.execute(sa.select(statuses(database))).all() == []
