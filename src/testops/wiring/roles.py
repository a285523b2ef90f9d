"""Puts the platform together: one store, and the runner that works on it."""

import contextlib
import fcntl
import functools
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testops import engine
from testops.domain.errors import BadInput
from testops.domain.execution import Artifact, Executor, Taken
from testops.runner.budget import Budget
from testops.runner.files import make_folder, not_writable
from testops.runner.projects import project_around
from testops.runner.stage_process import run_stage
from testops.runner.versions import refusal_of
from testops.runner.worker import Worker
from testops.runner.worker_ports import WorkerPorts
from testops.snapshots.objects.s3 import S3Shelf
from testops.storage.belonging import belongs, claim
from testops.storage.blobs import BlobStore, artifact_shelf, blobs_of
from testops.storage.chunks import ChunkStore
from testops.storage.database import Database, open_database
from testops.storage.durable import DurableQueue, Submitter
from testops.storage.events import EventStore
from testops.storage.executions import ExecutionsStore
from testops.storage.leases import LeaseStore
from testops.storage.migrate import SchemaState, migrate, state
from testops.storage.places import LocalPlaces, media_type_of
from testops.storage.retention import Retention
from testops.storage.runs import RunsStore
from testops.storage.snapshot_gc import BundleCollector
from testops.storage.snapshot_places import BaselinePlaces
from testops.storage.wakeups import Wakeups
from testops.storage.workspaces import WorkspaceStore, as_planned
from testops.telemetry.clock import SystemClock
from testops.wiring import cpu_count
from testops.wiring.gates import StoredGrounds
from testops.wiring.versions import matrix, require_qualified, running

log = logging.getLogger("testops.store")

# SQLite has one runner, and what it was executing is its own again when it is started anew.
_ONLY_RUNNER = "local"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a process of the platform keeps things, and what it may use."""

    data: Path
    database_url: str
    project: Path
    cores: int
    memory_mb: int
    runs_at_once: int
    # Of all runners together; None: as many as they have places.
    runs_everywhere: int | None = None
    # Where contents are, if not on this machine or in the database.
    artifacts: S3Shelf | None = None


def settings_for(
    folder: Path,
    environment: Mapping[str, str],
    *,
    data: Path | None = None,
    cores: int | None = None,
    runs_at_once: int | None = None,
) -> Settings:
    """What was asked for, else the environment's, else what suits this machine."""
    project = project_around(folder).root
    given = data or environment.get("TESTOPS_DATA")
    root = (folder / given).absolute() if given else project / ".testops"
    url = environment.get("TESTOPS_DATABASE_URL") or f"sqlite:///{root}/testops.db"
    own_cores = cores or cpu_count()
    return Settings(
        data=root,
        database_url=url,
        project=project,
        cores=own_cores,
        memory_mb=_memory_mb(),
        runs_at_once=runs_at_once or max(2, own_cores),
        runs_everywhere=_count(environment, "TESTOPS_RUNS_EVERYWHERE"),
        artifacts=artifact_shelf(environment),
    )


def _count(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or not int(text):
        raise BadInput(f"{text[:20]!r} is no count", where=name, fix="give 1 or more, or unset it")
    return int(text)


def _memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000


@dataclass(frozen=True, slots=True)
class Store:
    """Everything that is kept, open."""

    settings: Settings
    database: Database
    events: EventStore
    runs: RunsStore
    executions: ExecutionsStore
    chunks: ChunkStore
    leases: LeaseStore
    wakeups: Wakeups
    blobs: BlobStore
    workspaces: WorkspaceStore
    submitter: Submitter

    def keep(self, path: Path, shown: str) -> Artifact:
        """Put a file into the shared store; how the run that left it names it."""
        sha256 = self.blobs.put(path)
        return Artifact(shown, sha256, path.stat().st_size, media_type_of(path))


@contextlib.contextmanager
def open_store(settings: Settings, *, may_migrate: bool) -> Iterator[Store]:
    """The store of `settings`; brought to our shape, or refused where that is the operator's."""
    require_qualified()
    try:
        make_folder(settings.data).chmod(0o700)
        # It may lie in a project, and what is kept there is no change of the project.
        (settings.data / ".gitignore").write_text("*\n")
    except OSError as error:
        raise not_writable(settings.data, error) from error
    database = open_database(settings.database_url)
    try:
        _shape(database, may_migrate=may_migrate)
        if not claim(database, settings.data):
            log.warning(
                "%s is of another database: what lies there is not tidied up; give each its own"
                " (TESTOPS_DATA)",
                settings.data,
            )
        submitter = Submitter(database)
        blobs = blobs_of(database, settings.data, settings.artifacts)
        yield Store(
            settings,
            database,
            EventStore(database),
            RunsStore(database, submitter.submit),
            ExecutionsStore(database),
            ChunkStore(database, submitter.submit_chunk),
            LeaseStore(database),
            Wakeups(database),
            blobs,
            WorkspaceStore(database, blobs, settings.data),
            submitter,
        )
    finally:
        database.close()


def _shape(database: Database, *, may_migrate: bool) -> None:
    found = state(database)
    if found is SchemaState.CURRENT:
        return
    if database.is_sqlite or may_migrate:
        migrate(database)
        return
    raise BadInput(
        f"the database is {found}",
        where="TESTOPS_DATABASE_URL",
        fix="run `testops migrate` once, then start the others",
    )


@contextlib.contextmanager
def only_runner(settings: Settings, database: Database) -> Iterator[None]:
    """On SQLite, be the only runner of the database as long as the block lasts."""
    if not database.is_sqlite:
        yield
        return
    file = Path(str(database.engine.url.database)).resolve()
    # Beside the database, too: two data folders may name one.
    with _only_one(settings.data / "runner.lock"), _only_one(Path(f"{file}.runner-lock")):
        yield


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise BadInput(
                "another runner works on this SQLite database, which can have one",
                where=str(path.parent),
                fix="end the other, or use PostgreSQL (TESTOPS_DATABASE_URL) for several",
            ) from None
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Beside:
    """What a runner does beside executing."""

    duties: Sequence[Callable[[], None]] = ()
    ended: Callable[[str, int], None] = lambda _run_id, _attempt: None


def runner_of(store: Store, draw_token: str, beside: Beside) -> Worker:
    """A runner on `store`; `draw_token` tells its starts apart."""
    settings, host = store.settings, socket.gethostname()
    name = _ONLY_RUNNER if store.database.is_sqlite else f"{host}-{draw_token}"
    executor = Executor(
        executor_id=name,
        kind="runner",
        host=host,
        pid=os.getpid(),
        cores=settings.cores,
        version=engine.ENGINE_VERSION,
    )
    places = LocalPlaces(
        settings.data,
        store.blobs,
        lambda taken: _root_of(store, taken),
        store.runs.artifacts,
        BaselinePlaces(store.database, store.blobs, settings.data).baselines,
    )
    ports = WorkerPorts(
        executions=store.executions,
        chunks=store.chunks,
        leases=store.leases,
        queue=DurableQueue(store.database, name, settings.runs_everywhere),
        places=places,
        # What a suite runs must not reach the database that judges it.
        run_stage=functools.partial(run_stage, hidden=(settings.data,)),
        clock=SystemClock(),
        grounds=StoredGrounds(store.database),
        duties=(*beside.duties, *_sweeps(store)),
        ended=beside.ended,
        refusal=lambda run: refusal_of(run, matrix(), running()),
    )
    budget = Budget(cores=settings.cores, memory_mb=settings.memory_mb)
    return Worker(
        executor,
        ports,
        budget,
        runs_at_once=settings.runs_at_once,
        chunks_at_once=settings.cores,
    )


def collector_of(store: Store) -> BundleCollector:
    """What removes the bundles of `store` that nobody holds."""
    settings = store.settings
    retention = Retention(
        store.database, settings.data, store.submitter.forget, shelf=settings.artifacts
    )
    return BundleCollector(store.database, retention.remove_contents)


def _sweeps(store: Store) -> Sequence[Callable[[], None]]:
    # In the folder of another database the copies of its attempts look like those of nobody.
    own = belongs(store.database, store.settings.data)
    return (store.workspaces.sweep_copies,) if own else ()


def _root_of(store: Store, taken: Taken) -> Path:
    """The folder of the run's workspace on this machine."""
    found = store.workspaces.get(taken.run.workspace)
    if found is None:
        raise BadInput(f"there is no workspace {taken.run.workspace}", where="workspace")
    return store.workspaces.root_for(
        as_planned(found, taken.run.build), taken.run.run_id, taken.run.attempt
    )
