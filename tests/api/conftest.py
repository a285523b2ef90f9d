"""The whole API over real SQLite: real keys, real runs, real files; only nobody executes a run."""

import contextlib
import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml

from testops.access.audit import Signer
from testops.access.guard import Guard
from testops.access.keys import Keys, WantedKey
from testops.access.sessions import Sessions
from testops.access.settings import AccessSettings
from testops.api.application import LOGIN, create_api
from testops.api.auth_routes import AccessServices
from testops.api.ports import ApiServices, Check
from testops.domain.access import Principal, Role
from testops.domain.execution import Artifact, Ending, StageRecord, Submission
from testops.domain.run import Build, RunState
from testops.domain.run_view import RunView
from testops.domain.snapshot import NewBundle
from testops.domain.verdict import ExitCode, Verdict
from testops.runner.builds import SharedBuilds
from testops.runner.kernel_names import functions_in
from testops.runner.left_bundles import left_bundle
from testops.runner.planning import Means
from testops.sse_gateway.server import config_for
from testops.storage.access import AccessTables
from testops.storage.api_store import IdempotencyStore, ScheduleStore
from testops.storage.blobs import FolderBlobs
from testops.storage.database import Database, open_database
from testops.storage.executions import ExecutionsStore
from testops.storage.history import WorkspaceHistory
from testops.storage.leases import LeaseStore
from testops.storage.policies import PolicyStore
from testops.storage.retention import Retention
from testops.storage.runs import RunsStore
from testops.storage.snapshot_gc import BundleCollector
from testops.storage.snapshots import SnapshotStore
from testops.storage.waivers import WaiverStore
from testops.storage.workspaces import WorkspaceStore
from testops.telemetry.clock import SystemClock
from testops.wiring.certificates import kept_key
from testops.wiring.versions import in_force

ClientOf = Callable[..., httpx.Client]
ROOT = Principal("root", "system", "root", Role.SECURITY)
SUITE = """\
schema: 1
name: core
description: One kernel.
seeds: {sim: 42, chaos: 7}
stages:
  sim:
    seed_count: 2
    kernels:
      echo: {run: "sim/echo.py::echo"}
"""


@dataclass
class World:
    """Everything that a test may look at from behind."""

    database: Database
    services: ApiServices
    access: AccessServices
    blobs: FolderBlobs
    keys: Keys
    root: Path
    submitted: list[Submission]
    tokens: dict[str, str] = field(default_factory=dict)
    builds_read: list[Path] = field(default_factory=list)
    # Of a thousand executions, in every run.
    identical: int | None = 1000

    def commit(self, workspace: str, name: str) -> None:
        """The project is at another commit from now on."""
        (self.root / workspace / "COMMIT").write_text(name)

    def token(self, role: Role, workspaces: frozenset[str] | None = None) -> str:
        name = f"{role.value}-{'-'.join(sorted(workspaces or {'all'}))}"
        if name not in self.tokens:
            made = self.keys.create(WantedKey(name, role, workspaces), by=ROOT)
            self.tokens[name] = made.token
        return self.tokens[name]

    def audited(self) -> list[Any]:
        self.access.guard.close()
        return [row.entry for row in reversed(self.access.audit.newest(before=None, limit=10_000))]

    def execute(
        self,
        run_id: str,
        verdict: Verdict = Verdict.PASS,
        *,
        files: Mapping[str, bytes] | None = None,
        state: RunState = RunState.FINISHED,
        identity: str | None = None,
    ) -> None:
        """What a runner does to a queued run, in one go."""
        executions = ExecutionsStore(self.database)
        view = self.services.runs.get(run_id)
        assert view is not None
        taken = executions.take(run_id, view.attempt, "test-runner")
        assert taken is not None
        artifacts = [self.keep(path, content) for path, content in (files or {}).items()]
        for stage in taken.run.question["stages"]:
            report = {
                "name": stage,
                "state": "ran",
                "verdict": verdict.value,
                "attempts": 1,
                "attempt_log": [],
                "metrics": {"kernels": 1},
                "findings": [],
                "artifacts": [one.path for one in artifacts],
                "notes": [],
                "reason": "",
            }
            executions.begin_stage(taken, stage, "test-runner")
            record = StageRecord(stage, report, [], artifacts)
            if identity is not None:
                record = replace(record, bundle=self.bundle(taken.run, record))
            executions.record(taken, record)
            artifacts = []
        executions.finish(taken, Ending(state, verdict, ExitCode.HOLDS, bundle_identity=identity))

    def bundle(self, run: RunView, record: StageRecord) -> NewBundle | None:
        """What the runner registers: it reads the file that the stage has left, if it left one."""
        name = f"snapshots/run-{run.run_id}.tar.gz"
        left = next((one for one in record.artifacts if one.path == name), None)
        if left is None:
            return None
        file = self.root / "bundle-of-a-stage.tar.gz"
        self.blobs.fetch(left.sha256, file)
        measured = {"executions": 1000, "identical": self.identical, "kernels_inconclusive": 0}
        report = {**record.report, "name": "sim", "metrics": measured}
        return left_bundle(run, file, left, None, report, record.gates)

    def keep(self, path: str, content: bytes) -> Artifact:
        file = self.root / "left-by-a-stage"
        file.write_bytes(content)
        sha256 = self.blobs.put(file)
        kinds = {".html": "text/html", ".json": "application/json", ".txt": "text/plain"}
        kind = kinds.get(Path(path).suffix, "application/gzip")
        return Artifact(path, sha256, len(content), kind)


def make_project(root: Path) -> Path:
    (root / "suites").mkdir(parents=True)
    (root / "sim").mkdir()
    (root / "suites" / "core.yaml").write_text(SUITE)
    (root / "sim" / "echo.py").write_text("raise SystemExit('imported')\ndef echo(): ...\n")
    return root


@pytest.fixture
def world(tmp_path: Path, migrated_sqlite: Path) -> Iterator[World]:
    (tmp_path / "data").mkdir()
    shutil.copyfile(migrated_sqlite, tmp_path / "data" / "testops.db")
    yield from make_world(tmp_path, f"sqlite:///{tmp_path}/data/testops.db")


def make_world(tmp_path: Path, url: str, **settings: Any) -> Iterator[World]:
    """A world on the database at `url`, which has our tables."""
    many = "1000000/minute"
    usual = {"principal_rate": many, "address_rate": many, "failure_rate": many}
    access = AccessSettings(**(usual | {"hosts": ("testserver",)} | settings))
    database = open_database(url)
    clock = SystemClock()
    store = AccessTables(database, Signer(None))
    guard = Guard(store, clock, access)
    blobs = FolderBlobs(tmp_path / "blobs", database)
    workspaces = WorkspaceStore(database, blobs, tmp_path / "data")
    for name in ("default", "other", "third"):
        workspaces.add_path(name, make_project(tmp_path / name), allow_commands=False, by="test")
    submitted: list[Submission] = []
    builds: list[Path] = []

    def read(root: Path) -> Build:
        builds.append(root)
        time.sleep(0.002)
        commit = root / "COMMIT"
        return Build(commit.read_text() if commit.exists() else "c" * 40, None)

    draws = iter(range(1, 1_000_000))

    def draw(count: int) -> bytes:
        return hashlib.sha256(str(next(draws)).encode()).digest()[:count]

    policies = PolicyStore(database)
    services = ApiServices(
        guard=guard,
        audit=store,
        runs=RunsStore(database, lambda _, submission: submitted.append(submission)),
        snapshots=SnapshotStore(database),
        collector=BundleCollector(
            database, Retention(database, tmp_path, lambda _: None).remove_contents
        ),
        contents=blobs,
        history_of=lambda workspace: WorkspaceHistory(database, workspace),
        workspaces=workspaces,
        schedules=ScheduleStore(database),
        idempotency=IdempotencyStore(database),
        leases=LeaseStore(database),
        policies=policies,
        waivers=WaiverStore(database),
        means=Means(
            kernels_in=functions_in,
            engine_version="toron-v2.5H+.2",
            draw_seed=lambda: 1000 + next(draws),
            build_of=SharedBuilds(read).build_of,
            run_command=lambda _: "testops run",
            policy_called=policies.called,
        ),
        clock=clock,
        checks=lambda: [Check("database", ok=True), Check("runner", ok=False, required=False)],
        metrics=lambda: (b"# EOF\n", "application/openmetrics-text; version=1.0.0"),
        version="0.1.0",
        versions=in_force(),
        signing_key=lambda: kept_key(tmp_path / "data", {}, may_draw=True).key,
    )
    keys = Keys(store, clock, draw)
    sessions = Sessions(store, clock, draw, access)
    held = AccessServices(guard, keys, sessions, store, access, clock)
    yield World(database, services, held, blobs, keys, tmp_path, submitted, builds_read=builds)
    guard.close()
    database.close()


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """The application behind a real server on loopback; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # As the platform serves it: its own bounds on the head of a request are the first.
        server = uvicorn.Server(config_for(app, lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def app(world: World) -> Any:
    made = create_api(world.services, more=LOGIN, body_s_max=0.5)
    made.state.access = world.access
    made.state.oidc = None
    return made


@pytest.fixture
def address(app: Any) -> Iterator[str]:
    with serving(app) as address:
        yield address


@pytest.fixture
def client_of(world: World, address: str) -> Iterator[ClientOf]:
    """A client that holds a key of the role."""
    with contextlib.ExitStack() as open_ones:

        def make(
            role: Role = Role.MAINTAINER, workspaces: frozenset[str] | None = None
        ) -> httpx.Client:
            held = {"authorization": f"Bearer {world.token(role, workspaces)}"}
            client = httpx.Client(base_url=address, headers=held, timeout=30, trust_env=False)
            return open_ones.enter_context(client)

        yield make


@pytest.fixture
def client(client_of: ClientOf) -> httpx.Client:
    return client_of()


def definition(**changes: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(SUITE)
    return loaded | changes


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem of a response, which is one in every respect."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert body["type"] == f"urn:testops:problem:{slug}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body
