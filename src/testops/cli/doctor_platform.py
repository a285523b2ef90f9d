"""What `testops doctor` finds of the platform: its data folder, database, runner, walls and port.

It looks and changes nothing: no file is made, no table, no lock is taken.
"""

import fcntl
import importlib.metadata
import os
import socket
import sqlite3
import stat
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import sqlalchemy as sa

from testops.cli.checks import Check
from testops.cli.places import Places
from testops.domain.errors import BadInput, StoreUnavailable
from testops.domain.execution import LEASE_MS
from testops.runner.sandbox import sandbox
from testops.storage.database import Database, open_database
from testops.storage.leases import LeaseStore
from testops.storage.measures import Measures
from testops.storage.migrate import SchemaState, revision_of, state
from testops.telemetry.clock import SystemClock

SKEW_MS_MAX = 2000
QUEUE_AGE_S_MAX = 60
# RETURNING came with 3.35, and the durable queue uses it.
_SQLITE_MIN = (3, 35, 0)
_POSTGRES_MIN = 13
# A lock or a shared memory of one machine does not hold on another's disk.
_REMOTE = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph-fuse",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "virtiofs",
    ]
)
_FLOCK = "hhqqi"


def platform_checks(at: Places, environment: Mapping[str, str]) -> Iterator[Check]:
    """Everything that `testops serve` and `testops runner` need."""
    yield from _data(at)
    yield from _database(at)
    yield from _walls()
    yield _port(environment)
    for name in ("dbos", "sqlalchemy", "fastapi", "uvicorn"):
        yield Check(name, ok=True, found=importlib.metadata.version(name))


def _data(at: Places) -> Iterator[Check]:
    place = next(path for path in (at.data, *at.data.parents) if path.exists())
    kind = file_system_of(place)
    yield Check(
        "disk of the data",
        kind not in _REMOTE,
        f"{kind or 'unknown'} at {place}",
        "a database in a file needs a local disk: give another --data, or use PostgreSQL",
        needed=at.database_url.startswith("sqlite"),
    )
    if place != at.data:
        may = os.access(place, os.W_OK | os.X_OK)
        yield Check("data folder", may, f"{at.data} is not there yet", f"permit writing in {place}")
        return
    found = at.data.stat()
    mode = stat.S_IMODE(found.st_mode)
    mine = found.st_uid == os.geteuid()
    yield Check(
        "data folder",
        mine and not mode & 0o077,
        f"{at.data}, mode {mode:03o}" + ("" if mine else f", of user {found.st_uid}"),
        f"others may read keys and results there: chmod 700 {at.data}, as its owner",
        needed=False,
    )
    yield _runner_lock(at.data / "runner.lock")


def _runner_lock(path: Path) -> Check:
    if not path.exists() or sys.platform != "linux":
        return Check("runner", ok=True, found="none holds the data folder")
    # Asking who holds it, unlike taking it, cannot make a runner that starts right now fail.
    with path.open("rb") as file:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    if answer[0] == fcntl.F_UNLCK:
        return Check("runner", ok=True, found="none holds the data folder")
    return Check("runner", ok=True, found=f"process {answer[4]} holds the data folder")


def _database(at: Places) -> Iterator[Check]:
    try:
        shown = sa.make_url(at.database_url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        shown = "no address"
    try:
        if at.has_no_file:
            yield Check("database", ok=True, found=f"{shown} is not there yet")
            return
        database = open_database(at.database_url)
    except (BadInput, sa.exc.ArgumentError) as error:
        yield Check("database", ok=False, found=shown, fix=str(error))
        return
    try:
        yield from _answers(database, shown)
    except (StoreUnavailable, sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        said = (str(error).splitlines() or [""])[0]
        yield Check("database", ok=False, found=f"{shown}: {said}", fix="start it, or correct it")
    finally:
        database.close()


def _answers(database: Database, shown: str) -> Iterator[Check]:
    found = state(database)
    yield Check(
        "database",
        found in (SchemaState.CURRENT, SchemaState.EMPTY),
        f"{shown} is {found} (revision {revision_of(database) or 'none'})",
        "run: testops migrate" if found is SchemaState.BEHIND else "see: testops migrate",
    )
    yield from _sqlite(database) if database.is_sqlite else _postgres(database)
    yield _clock(database)
    if found is SchemaState.CURRENT:
        yield from _work(database)


def _sqlite(database: Database) -> Iterator[Check]:
    version = sqlite3.sqlite_version_info
    yield Check("SQLite", version >= _SQLITE_MIN, sqlite3.sqlite_version, "use 3.35 or newer")
    with database.read() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        vacuum = connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one()
    yield Check("journal", mode == "wal", str(mode), "readers wait for writers: use a local disk")
    yield Check(
        "space given back",
        vacuum == 2,
        "auto_vacuum is incremental" if vacuum == 2 else "auto_vacuum is off",
        "retention cannot make this file smaller: VACUUM it with auto_vacuum=INCREMENTAL",
        needed=False,
    )


def _postgres(database: Database) -> Iterator[Check]:
    with database.read() as connection:
        number = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
        fsync = connection.exec_driver_sql("SHOW fsync").scalar_one()
        host = database.engine.url.host
    yield Check(
        "PostgreSQL",
        number // 10_000 >= _POSTGRES_MIN,
        f"{number // 10_000}.{number % 10_000}",
        f"use {_POSTGRES_MIN} or newer",
    )
    yield Check("fsync", fsync == "on", fsync, "a power cut loses runs: set fsync=on")
    yield Check(
        "connection",
        bool(host) and not str(host).startswith("/"),
        f"by TCP to {host}" if host else "by a Unix socket",
        "the durable queue does not try again on a socket: give HOST:PORT",
        needed=False,
    )


def _clock(database: Database) -> Check:
    before = SystemClock().now().timestamp() * 1000
    with database.read() as connection:
        theirs = database.moment(connection).ms
    after = SystemClock().now().timestamp() * 1000
    skew = theirs - (before + after) / 2
    allowed = SKEW_MS_MAX + (after - before) / 2
    return Check(
        "clock",
        abs(skew) <= allowed,
        f"the database's is {abs(skew):.0f} ms {'ahead' if skew >= 0 else 'behind'}",
        "keys and sessions end at the wrong moment: synchronise both machines",
        needed=False,
    )


def _work(database: Database) -> Iterator[Check]:
    leases = LeaseStore(database).all()
    good = [one for one in leases if one.silent_ms <= LEASE_MS]
    shown = ", ".join(f"{one.executor.executor_id} ({one.executor.kind})" for one in good)
    yield Check("executors", ok=True, found=shown or "none runs")
    waited = Measures(database).read().oldest_queued_s
    yield Check(
        "queue",
        waited is None or waited < QUEUE_AGE_S_MAX or bool(good),
        "empty" if waited is None else f"a run has waited {waited:.0f} s",
        "no executor lives: start testops serve or testops runner",
        needed=False,
    )


def _walls() -> Iterator[Check]:
    found = sandbox()
    yield Check(
        "stage sandbox",
        not found.problems or bool(found.namespaces),
        "; ".join(found.enforced),
        "; ".join(found.problems),
        needed=False,
    )


def _port(environment: Mapping[str, str]) -> Check:
    host = environment.get("TESTOPS_HOST") or "127.0.0.1"
    text = environment.get("TESTOPS_PORT") or "8080"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        return Check("port", ok=False, found=f"TESTOPS_PORT={text}", fix="give 1 to 65535")
    try:
        family = socket.getaddrinfo(host, int(text), type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(text)))
    except OSError as error:
        found = f"{host}:{text} cannot be taken ({error.strerror})"
        fix = "a server runs there already, or give another TESTOPS_PORT"
        return Check("port", ok=False, found=found, fix=fix, needed=False)
    return Check("port", ok=True, found=f"{host}:{text} is free")


def file_system_of(path: Path, mounts: str | None = None) -> str:
    """The kind of the file system that `path` lies on, by the longest mount; '' if not known."""
    try:
        lines = (Path("/proc/self/mounts").read_text() if mounts is None else mounts).splitlines()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        words = line.split(" ")
        # A space in a path is written \\040 there.
        point = Path(words[1].encode().decode("unicode_escape"))
        # The last of equal ones: it was mounted over the others.
        if path.resolve().is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), words[2]
    return kind
