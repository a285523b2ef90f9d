"""The one place that chooses adapters: the real clock, Toron, the snapshots, and real chance."""

import contextlib
import importlib.metadata
import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from testops import engine
from testops.domain.errors import BadInput, OutputNotWritable, StoreUnavailable
from testops.domain.run import Run
from testops.domain.suite import Suite
from testops.runner.planning import Planned
from testops.runner.projects import Project, project_around
from testops.runner.service import Request, Tools
from testops.runner.service import answer as answer_request
from testops.runner.stages.context import Commands
from testops.runner.suites import load_suite, resolve_sim
from testops.telemetry.clock import SystemClock
from testops.telemetry.events import Listener, Tell, all_of, unharmed
from testops.wiring.machine import cpu_count, programs
from testops.wiring.person import person
from testops.wiring.simulator import ToronSimulator
from testops.wiring.snapshots import FileSnapshots
from testops.wiring.versions import require_qualified

__all__ = [
    "FileSnapshots",
    "ToronSimulator",
    "answer",
    "check_suite",
    "commands_in",
    "cpu_count",
    "draw_seed",
    "installed_versions",
    "person",
]


def answer(request: Request, *, listener: Listener, told: Tell, door: str | None) -> Run:
    """The run that answers `request`, on this machine; `door` is how its caller starts it."""
    require_qualified()
    with contextlib.ExitStack() as open_ones:
        tools = _tools(request, door, _keepers(request, open_ones, told))
        return answer_request(request, tools, listener=listener, told=told)


def _keepers(
    request: Request, open_ones: contextlib.ExitStack, told: Tell
) -> Callable[[Planned], Listener]:
    """What keeps the run beside its record: its page always, the store where there is one."""
    from testops.wiring.reporting import page_keeper

    page, store = page_keeper(told), _keeper(request, open_ones, told)

    def keeper(planned: Planned) -> Listener:
        kept = [unharmed(page(planned))]
        return all_of([*kept, unharmed(store(planned))] if store is not None else kept)

    return keeper


def _keeper(
    request: Request, open_ones: contextlib.ExitStack, told: Tell
) -> Callable[[Planned], Listener] | None:
    """What keeps the run in the store, where there is one; without it the run goes on as well."""
    if not _store_is_there(request.working_folder, request.environment):
        return None
    from testops.wiring.recording import keeping

    try:
        return open_ones.enter_context(
            keeping(
                request.working_folder,
                request.environment,
                token=f"{draw_seed():016x}",
                who=person(),
            )
        )
    except (BadInput, OutputNotWritable, StoreUnavailable) as error:
        told(f"this run is on the disk only, the store does not take it: {error}")
        return None


def _store_is_there(folder: Path, environment: Mapping[str, str]) -> bool:
    """Whether somebody made a store for this project: a run of the command line makes none."""
    data = environment.get("TESTOPS_DATA") or project_around(folder).root / ".testops"
    return bool(environment.get("TESTOPS_DATABASE_URL")) or (folder / data / "testops.db").is_file()


def _tools(
    request: Request, door: str | None, keeper: Callable[[Planned], Listener] | None
) -> Tools:
    return Tools(
        simulator=ToronSimulator(),
        snapshots=FileSnapshots(),
        clock=SystemClock(),
        draw_seed=draw_seed,
        pause=_pause,
        python=sys.executable,
        commands_in=lambda project: commands_in(project, request.working_folder, door),
        keeper=keeper,
        programs=programs(),
    )


def check_suite(asked: str, *, working_folder: Path) -> Suite:
    """The suite, every kernel of it found; `BadInput` says what is wrong with it."""
    suite_file = load_suite(asked, working_folder=working_folder)
    if suite_file.suite.stages.sim is not None:
        resolve_sim(suite_file, engine.kernels_in)
    return suite_file.suite


def installed_versions() -> Mapping[str, str]:
    """Everything that a result depends on."""
    return {
        "ryuzen-testops": importlib.metadata.version("ryuzen-testops"),
        "toron": importlib.metadata.version("toron"),
        "engine": engine.ENGINE_VERSION,
        "bundle schema": "1",
        "deflate": importlib.metadata.version("deflate"),
        "python": platform.python_version(),
    }


def commands_in(project: Project, working_folder: Path, door: str | None) -> Commands:
    """How our programs are started from where the person stands."""
    if door is not None:
        return Commands(
            _program("testops", working_folder), _program("toron", working_folder), door
        )
    testops = _program("testops", working_folder)
    return Commands(testops, _program("toron", working_folder), f"{testops} run")


def _program(name: str, working_folder: Path) -> str:
    """The bare name where the shell would find this very program, or else its path."""
    own = Path(sys.executable).parent / name
    found = shutil.which(name)
    if not own.exists() or (found is not None and Path(found).absolute() == own.absolute()):
        return name
    inside = own.is_relative_to(working_folder)
    return own.relative_to(working_folder).as_posix() if inside else str(own)


def draw_seed() -> int:
    """A new seed, the one thing here that is not asked for by number."""
    return int.from_bytes(os.urandom(8), "big")


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
