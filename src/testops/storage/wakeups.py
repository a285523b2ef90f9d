"""Wakes the readers of event logs. The tables are the truth: a lost wake-up costs only time.

PostgreSQL says which run changed (LISTEN/NOTIFY). SQLite has nothing like it, but counts the
transactions of others: `PRAGMA data_version` is one comparison in shared memory, 20 times a second.
"""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import sqlalchemy as sa

from testops.storage.database import CONNECT_ARGS, Database
from testops.storage.events import CHANNEL

log = logging.getLogger("testops.storage.wakeups")

POLL_S = 0.05
_RECONNECT_S = 0.5
_LISTEN_TURN_S = 1.0

# Called with the run that changed; None: any may have.
Changed = Callable[[str | None], None]


class Wakeups:
    """`sse_gateway.ports.Wakeups` by the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextlib.contextmanager
    def listen(self, changed: Changed) -> Iterator[None]:
        """Call `changed` from a thread whenever the log of a run may have grown."""
        stop = threading.Event()
        work = self._poll if self._database.is_sqlite else self._hear
        thread = threading.Thread(
            target=self._keep_on, args=(work, changed, stop), name="wakeups", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=5)

    def _keep_on(
        self,
        work: Callable[[Changed, threading.Event], None],
        changed: Changed,
        stop: threading.Event,
    ) -> None:
        while not stop.is_set():
            try:
                work(changed, stop)
            # SQLite's own errors too: the look below goes past SQLAlchemy.
            except (sa.exc.SQLAlchemyError, psycopg.Error, sqlite3.Error, OSError) as error:
                log.warning("the database does not answer, trying again: %s", _first_line(error))
                stop.wait(_RECONNECT_S)

    def _poll(self, changed: Changed, stop: threading.Event) -> None:
        with self._database.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            seen: int | None = None
            while not stop.is_set():
                (version,) = raw.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    seen = version
                    changed(None)
                stop.wait(POLL_S)

    def _hear(self, changed: Changed, stop: threading.Event) -> None:
        url = self._database.engine.url.set(drivername="postgresql")
        address = url.render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True, **CONNECT_ARGS) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            # Whatever happened while nobody listened.
            changed(None)
            while not stop.is_set():
                for notice in connection.notifies(timeout=_LISTEN_TURN_S):
                    changed(notice.payload)
                    if stop.is_set():
                        return


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
