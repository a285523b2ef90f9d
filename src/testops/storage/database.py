"""One database behind everything: SQLite in a file, or PostgreSQL by TCP.

The two differ here and nowhere else. On SQLite a write transaction begins IMMEDIATE: it waits for
its turn at the beginning, and never fails in the middle because somebody else wrote first.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from testops.domain.errors import BadInput, StoreUnavailable

BUSY_TIMEOUT_S = 30
_POOL_SIZE = 10
CONNECT_ARGS: Mapping[str, Any] = {
    "connect_timeout": 5,
    "application_name": "testops",
    # A machine that vanished must not hold a statement, or one that listens, for ever.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}

_SQLITE_NOW_MS = sa.literal_column(
    "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)", sa.BigInteger
)
_POSTGRES_NOW_MS = sa.literal_column(
    "(extract(epoch from clock_timestamp()) * 1000)::bigint", sa.BigInteger
)


class Database:
    """An open database; `engine` is what the durable queue shares."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        # SQLite lets writers of one process fight by sleeping and looking again, for which some
        # wait for half a minute beside others that come and go. Here they wait in a line.
        self._line = threading.Lock()

    @property
    def is_gone(self) -> bool:
        """Whether the file that this is about was removed."""
        return self.is_sqlite and not Path(self.engine.url.database or "").exists()

    @property
    def now_ms(self) -> sa.ColumnElement[int]:
        """The database's own clock, as an expression: milliseconds since 1970."""
        return _SQLITE_NOW_MS if self.is_sqlite else _POSTGRES_NOW_MS

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that may write; it is committed when the block ends without an error."""
        line = self._line if self.is_sqlite else contextlib.nullcontext()
        with answering(), line, self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            with _commit(connection):
                yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One transaction that only reads: everything in it is of one moment."""
        with answering(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            try:
                yield connection
            finally:
                connection.rollback()

    def moment(self, connection: sa.Connection) -> "Moment":
        """What time it is, by the database."""
        return Moment(int(connection.execute(sa.select(self.now_ms)).scalar_one()))

    def close(self) -> None:
        self.engine.dispose()


class Moment:
    """A moment by the database's clock."""

    __slots__ = ("ms",)

    def __init__(self, ms: int) -> None:
        self.ms = ms

    @property
    def text(self) -> str:
        """RFC 3339 in UTC, to the millisecond."""
        seconds, ms = divmod(self.ms, 1000)
        stamp = datetime.fromtimestamp(seconds, UTC)
        return f"{stamp:%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """A database that is away is not the same as a wrong statement: it can come back."""
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        if "no such " in str(error):
            # SQLite's word for a table or column that the migrations did not make.
            raise
        raise StoreUnavailable(_first_line(error)) from error
    except sa.exc.DBAPIError as error:
        # Nothing more special than DatabaseError: SQLite's word for a file that is no database.
        if not error.connection_invalidated and type(error) is not sa.exc.DatabaseError:
            raise
        raise StoreUnavailable(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return f"the database does not answer: {(str(error).splitlines() or [''])[0]}"


@contextlib.contextmanager
def _commit(connection: sa.Connection) -> Iterator[None]:
    """A transaction that was begun by hand."""
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def column_text(text: str) -> str:
    """`text` as every database can keep it: PostgreSQL has no NUL, and UTF-8 no lone surrogates.

    A tool that prints the name of a file may say either. What cannot be kept is spelled as JSON
    would, so JSON stays what it says.
    """
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode("utf-8")


def open_database(url: str, *, pool_size: int = _POOL_SIZE) -> Database:
    """The database at `url`: `sqlite:////PATH` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise BadInput(
            "is not the address of a database", where="TESTOPS_DATABASE_URL", fix=_FORMS
        ) from error
    match parsed.get_backend_name():
        case "sqlite":
            return Database(_sqlite(parsed, pool_size))
        case "postgresql":
            return Database(_postgres(parsed, pool_size))
        case other:
            raise BadInput(f"{other} is not supported", where="TESTOPS_DATABASE_URL", fix=_FORMS)


_FORMS = "give sqlite:////PATH/testops.db or postgresql://USER:PASSWORD@HOST:PORT/NAME"


def _sqlite(url: sa.URL, pool_size: int) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise BadInput("needs a file", where="TESTOPS_DATABASE_URL", fix=_FORMS)
    _make_lasting(Path(url.database).parent)
    engine = sa.create_engine(
        url,
        # What DBOS begins on this engine must wait for its turn at the beginning, too.
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": "IMMEDIATE"},
        pool_size=pool_size,
        max_overflow=pool_size,
        poolclass=sa.QueuePool,
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _make_lasting(folder: Path) -> None:
    """Make `folder` where it is missing, and let its name outlive a power cut.

    SQLite syncs the names of its own files, and a commit is of no use in a folder that is gone.
    Synced when it was there, too: whoever made it may not have come so far.
    """
    if not folder.is_dir():
        _make_lasting(folder.parent)
        folder.mkdir(exist_ok=True)
    # A parent that nobody may list, or a system that cannot sync a folder: then it has to do.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # Before the first table, or it does nothing: retention gives pages back to the file system. And
    # only then, because it waits for the write lock, which somebody may hold for long.
    if cursor.execute("PRAGMA page_count").fetchone() == (0,):
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    # The mode is kept in the file: setting it again is free, and takes no lock.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
    cursor.close()


def _postgres(url: sa.URL, pool_size: int) -> sa.Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=30,
        connect_args=CONNECT_ARGS,
    )
