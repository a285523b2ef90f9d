"""Readers are woken when a log grows, also after the database was away."""

import queue
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.platform import Stores, new_run

from testops.storage.database import open_database
from testops.storage.wakeups import Wakeups


@pytest.fixture
def stores(database_url: str) -> Iterator[Stores]:
    database = open_database(database_url)
    yield Stores(database)
    database.close()


def test_a_reader_is_woken_for_the_run_that_changed(stores: Stores) -> None:
    heard: queue.Queue[str | None] = queue.Queue()
    with Wakeups(stores.database).listen(heard.put):
        assert heard.get(timeout=10) is None  # whatever happened while nobody listened
        stores.runs.create(new_run("b" * 16))
        assert heard.get(timeout=10) in ("b" * 16, None)


def test_a_change_that_is_rolled_back_names_no_run(stores: Stores) -> None:
    heard: queue.Queue[str | None] = queue.Queue()
    failing = Stores(stores.database)

    def refuse(*_: object) -> None:
        raise RuntimeError("the queue is full")

    failing.runs._submit = refuse
    with Wakeups(stores.database).listen(heard.put):
        assert heard.get(timeout=10) is None
        with pytest.raises(RuntimeError):
            failing.runs.create(new_run("b" * 16))
        stores.runs.create(new_run("c" * 16))
        assert heard.get(timeout=10) in ("c" * 16, None)
    assert stores.runs.get("b" * 16) is None


def test_readers_are_woken_again_after_an_error_of_the_database_itself(
    migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "testops.db").write_bytes(migrated_sqlite.read_bytes())
    database = open_database(f"sqlite:///{tmp_path}/testops.db")
    look, failed = Wakeups._poll, threading.Event()

    def fail_first(self: Wakeups, *given: Any) -> None:
        if not failed.is_set():
            failed.set()
            # A disk that fails for a moment: none does here on command.
            raise sqlite3.OperationalError("disk I/O error")
        look(self, *given)

    monkeypatch.setattr(Wakeups, "_poll", fail_first)
    heard: queue.Queue[str | None] = queue.Queue()
    with Wakeups(database).listen(heard.put):
        assert heard.get(timeout=10) is None
    database.close()
