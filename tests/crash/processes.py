"""The platform as real processes, that a sweep starts, kills with SIGKILL and starts again."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.support.postgres import Postgres

from testops.runner import leash as leash_file

Layout = Literal["sqlite", "serve", "postgres"]

READY_S = 60.0
KEY = "tops-crash-sweep-key-of-a-maintainer-0123456789"
# What a layout consists of; `serve` is one tree, with the runner as its child.
ROLES: dict[Layout, tuple[str, ...]] = {
    "sqlite": ("api", "gateway", "runner-1"),
    "serve": ("serve",),
    "postgres": ("api", "gateway", "runner-1", "runner-2", "runner-3"),
}
_ERRORS = (OSError, http.client.HTTPException, json.JSONDecodeError)


class NotReady(Exception):
    """A process did not become ready; what it said is in the message."""


@dataclass(slots=True)
class Role:
    """One process, and how it is started."""

    name: str
    port: int
    log: Path
    popen: subprocess.Popen[bytes] | None = None
    kills: int = 0

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid


@dataclass(slots=True)
class System:
    """All processes of one layout on one database."""

    layout: Layout
    folder: Path
    project: Path
    database_url: str
    postgres: Postgres | None = None
    roles: dict[str, Role] = field(default_factory=dict)
    _starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def api(self) -> Role:
        return self.roles.get("api") or self.roles["serve"]

    @property
    def gateway(self) -> Role:
        return self.roles.get("gateway") or self.roles["serve"]

    def start(self) -> None:
        """Start everything, and return when all of it answers."""
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        self._call("migrate")
        if self.layout != "serve":
            project = str(self.project)
            self._call("workspaces", "add", "--name", "default", "--allow-commands", project)
        for name in ROLES[self.layout]:
            self.roles[name] = Role(name, free_port(), self.folder / f"{name}.log")
            self.launch(name)
        self.wait_ready()

    def stop(self) -> None:
        """End everything in order; a process that does not go in 20 s is a finding."""
        for role in self.roles.values():
            if role.popen is not None and role.popen.poll() is None:
                role.popen.send_signal(signal.SIGTERM)
        slow = []
        for role in self.roles.values():
            if role.popen is None:
                continue
            try:
                role.popen.wait(20)
            except subprocess.TimeoutExpired:
                slow.append(role.name)
                role.popen.kill()
                role.popen.wait()
        self._starter.shutdown()
        assert not slow, f"{slow} did not end within 20 s of SIGTERM"

    def launch(self, name: str) -> None:
        """Start one process; it is not waited for."""
        # From one thread that lives as long as we do: the kernel ends a leashed process when the
        # thread that started it ends, and cases are played by threads that come and go.
        self.roles[name].popen = self._starter.submit(self._start, self.roles[name]).result()

    def _start(self, role: Role) -> subprocess.Popen[bytes]:
        leash = [sys.executable, str(Path(leash_file.__file__)), str(os.getpid())]
        role_name = role.name.partition("-")[0]
        words = [sys.executable, "-m", "testops", role_name, "--data", str(self.data)]
        with role.log.open("ab") as log:
            return subprocess.Popen(
                [*leash, *words],
                cwd=self.project,
                env=self._environment(role.port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """SIGKILL one process, and reap it."""
        role = self.roles[name]
        assert role.popen is not None
        role.popen.kill()
        role.popen.wait()
        role.kills += 1

    def runner_child(self) -> int | None:
        """The runner that `serve` started; None while there is none."""
        for pid in _children(self.roles["serve"].pid):
            if b"runner" in _cmdline(pid):
                return pid
        return None

    def wait_ready(self) -> None:
        """Return when every process that listens answers `/readyz`."""
        limit = time.monotonic() + READY_S
        for role in self.roles.values():
            assert role.popen is not None
            while role.popen.poll() is None and time.monotonic() < limit:
                # A runner has no port; its run says whether it works.
                if role.name.startswith("runner") or _answers(role.port):
                    break
                time.sleep(0.05)
            else:
                raise NotReady(f"{role.name} is not ready: {self.said(role.name)}")

    def said(self, name: str) -> str:
        """The end of what a process wrote."""
        return self.roles[name].log.read_text(errors="replace")[-4000:]

    def ask(self, salt: str) -> str:
        """Ask for the run of `salt`, until somebody answers; its id. Asking twice is one run."""
        body = json.dumps({"suite": "tiny", "salt": salt}).encode()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

        def post() -> str | None:
            connection = http.client.HTTPConnection("127.0.0.1", self.api.port, timeout=35)
            try:
                connection.request("POST", "/v1/test-runs", body, headers)
                answer = connection.getresponse()
                said = answer.read()
            finally:
                connection.close()
            # 503: the database is away, which is part of the game.
            assert answer.status in (200, 202, 503), (answer.status, said)
            found: Any = json.loads(said)
            return None if answer.status == 503 else str(found["run_id"])

        return str(insist(post))

    def leftovers(self) -> list[str]:
        """Processes of stages: they carry our folder in their environment, and are no role."""
        ours = {role.pid for role in self.roles.values() if role.popen is not None}
        trees = ours | {pid for root in ours for pid in _descendants(root)}
        mark = str(self.folder).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) in trees:
                continue
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes():
                    found.append(f"{entry.name}: {_cmdline(int(entry.name))!r}")
        return found

    def _environment(self, port: int) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "TESTOPS_DATABASE_URL": self.database_url,
            "TESTOPS_DATA": str(self.data),
            "TESTOPS_HOST": "127.0.0.1",
            "TESTOPS_PORT": str(port),
            "TESTOPS_API_KEY": KEY,
            "TESTOPS_LOG": "json",
            "TESTOPS_RATE_LIMIT": "1000000/minute",
            # Stages work below it, which is how those that outlive their runner are found.
            "TMPDIR": str(self.folder / "tmp"),
        }

    def _call(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "testops", *words, "--data", str(self.data)],
            cwd=self.project,
            env=self._environment(1),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def insist(attempt: Callable[[], Any], *, limit_s: float = 60.0) -> Any:
    """What `attempt` answers, as soon as it is something; errors of the network are tried again."""
    limit = time.monotonic() + limit_s
    while True:
        try:
            found = attempt()
        except _ERRORS as error:
            found, why = None, repr(error)
        else:
            why = "no answer yet"
        if found is not None:
            return found
        if time.monotonic() > limit:
            raise AssertionError(f"nothing in {limit_s:.0f} s: {why}")
        time.sleep(0.1)


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        # A gateway has nothing at /readyz, and says so when it is ready.
        return connection.getresponse().status in (200, 401, 404)
    except _ERRORS:
        return False
    finally:
        connection.close()


def _children(pid: int) -> Sequence[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def _descendants(pid: int) -> list[int]:
    below = []
    for child in _children(pid):
        below += [child, *_descendants(child)]
    return below


def _cmdline(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    return b""
