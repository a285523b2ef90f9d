"""The commands that keep running: `testops serve`, `api`, `gateway` and `runner`."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import FrameType

import testops
from testops import wiring
from testops.cli.retention import policy_of
from testops.domain.errors import BadInput
from testops.domain.run import DEFAULT_WORKSPACE
from testops.domain.verdict import ExitCode
from testops.domain.workspace import WorkspaceKind
from testops.runner import leash
from testops.runner.files import write_atomically
from testops.runner.worker import Worker
from testops.telemetry.clock import SystemClock
from testops.wiring import duties, roles
from testops.wiring.access import SERVER_URL_FILE, local_operator, server_url
from testops.wiring.gates import server_policies
from testops.wiring.planning import means
from testops.wiring.server import Address, Served

log = logging.getLogger("testops.serving")

Echo = Callable[[str], None]

# How long a runner may take to end what it executes before it is ended itself.
RUNNER_GRACE_S = 10.0
_LOOK_S = 0.25
_OTHER_RUNNER_TRIES = 9
_RESTART_FIRST_S, _RESTART_LAST_S = 0.5, 10.0
# A runner that lived so long was well: the next start is not delayed for the ones before it.
_WELL_S = 30.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which role is to be played, and where it is reached."""

    settings: roles.Settings
    address: Address
    environment: Mapping[str, str]
    with_api: bool = True
    with_runner: bool = False


def serve_server(wanted: Wanted, *, echo: Echo) -> None:
    """Answer requests, and with a runner beside execute runs, until a signal says otherwise."""
    with roles.open_store(wanted.settings, may_migrate=wanted.with_runner) as store:
        if wanted.with_runner:
            _no_other_runner(store)
            _own_workspace(store)
        served = Served(store, wanted.environment, with_api=wanted.with_api)
        if wanted.with_api:
            served.access.keys.install(
                wanted.environment.get("TESTOPS_API_KEY") or None, by=local_operator()
            )

        def ready(port: int) -> None:
            place = {"TESTOPS_HOST": wanted.address.host, "TESTOPS_PORT": str(port)}
            url = server_url({**wanted.environment, **place})
            echo(f"ready at {url}")
            if wanted.with_api:
                write_atomically(wanted.settings.data / SERVER_URL_FILE, f"{url}\n".encode())
                echo(f"log in, once, within 10 minutes: {url}{served.login_path()}")
                threading.Thread(target=store.submitter.warm, name="warm", daemon=True).start()

        beside = RunnerBeside(wanted.settings) if wanted.with_runner else None
        served.run(wanted.address, ready, beside)


def _no_other_runner(store: roles.Store) -> None:
    """Refuse at once what the runner beside would be refused again and again.

    The runner of a server that was just killed is on its way out, and gets a moment for it.
    """
    nap = threading.Event()
    for tries_left in reversed(range(_OTHER_RUNNER_TRIES)):
        try:
            with roles.only_runner(store.settings, store.database):
                return
        except BadInput:
            if not tries_left:
                raise
            nap.wait(_LOOK_S)


def _own_workspace(store: roles.Store) -> None:
    """The project that we were started in is a workspace, and its operator may run commands."""
    known = store.workspaces.get(DEFAULT_WORKSPACE)
    if known is None or (
        known.kind is WorkspaceKind.PATH and known.place != str(store.settings.project)
    ):
        store.workspaces.add_path(
            DEFAULT_WORKSPACE,
            store.settings.project,
            allow_commands=True,
            by=local_operator().name,
        )


class RunnerBeside:
    """A runner in a process of its own, started again whenever it ends."""

    def __init__(self, settings: roles.Settings) -> None:
        self._settings = settings

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """As long as the block lasts there is a runner, or one about to be started."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = _RESTART_FIRST_S
        while True:
            began = loop.time()
            said = await self._one()
            wait_s = _RESTART_FIRST_S if loop.time() - began > _WELL_S else 2 * wait_s
            wait_s = min(wait_s, _RESTART_LAST_S)
            log.error("the runner %s; the next starts in %g s", said, wait_s)
            await asyncio.sleep(wait_s)

    async def _one(self) -> str:
        """Have one runner until it ends; what became of it."""
        try:
            # From this thread, which lives as long as we do: the kernel ends the runner with it.
            process = self._start()
        except OSError as error:
            # No process, no memory, no descriptor just now: without the next try runs would wait
            # behind a server that looks well.
            return f"could not be started: {error}"
        try:
            await _ended(process)
        finally:
            await asyncio.shield(_end(process))
        return f"ended with {process.returncode}"

    def _start(self) -> subprocess.Popen[bytes]:
        settings = self._settings
        program = [sys.executable, "-P", "-m", testops.__name__, "runner"]
        options = ["--data", str(settings.data), "--cores", str(settings.cores)]
        options += ["--runs-at-once", str(settings.runs_at_once)]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *program, *options],
            cwd=settings.project,
            stdin=subprocess.DEVNULL,
            # A terminal's Ctrl-C is for the server, which ends its runner itself.
            start_new_session=True,
            env={**os.environ, "TESTOPS_DATABASE_URL": settings.database_url},
        )


async def _ended(process: subprocess.Popen[bytes]) -> None:
    # Not asyncio's own subprocess: that one is waited for by a thread or a signal, and started by
    # whichever thread; ours must be started by this one.
    while process.poll() is None:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_S)


async def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    for _ in range(int(RUNNER_GRACE_S / _LOOK_S)):
        if process.poll() is not None:
            return
        await asyncio.sleep(_LOOK_S)
    process.kill()
    process.wait()


def serve_runner(settings: roles.Settings, environment: Mapping[str, str], *, echo: Echo) -> None:
    """Execute what is queued until a signal says otherwise; leaves no process behind."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with (
        roles.open_store(settings, may_migrate=False) as store,
        roles.only_runner(settings, store.database),
    ):
        beside = roles.Beside(
            duties=(
                duties.schedules(store, means(server_policies(store.database))),
                duties.tidying(store, policy_of({}, environment), SystemClock()),
            ),
            ended=duties.traced(store, environment, wiring.installed_versions()["ryuzen-testops"]),
        )
        worker = roles.runner_of(store, f"{wiring.draw_seed():016x}"[:8], beside)
        code = _work_until(worker, stop, lambda: echo(_ready(settings)))
    logging.shutdown()
    # Threads that executed are parked on purpose, and must not be waited for.
    os._exit(code)


def _ready(settings: roles.Settings) -> str:
    return f"runner ready: {settings.cores} cores, {settings.runs_at_once} runs at once"


def _work_until(worker: Worker, stop: threading.Event, ready: Callable[[], None]) -> int:
    """Work until `stop` is set; the exit code of the process."""
    try:
        worker.start()
        ready()
        while not stop.wait(0.5):
            pass
        worker.stop()
    except Exception:
        # It must not get further up: the interpreter would wait for the queue's threads, for ever.
        log.exception("the runner ends by an error")
        return int(ExitCode.INTERNAL)
    return 0
