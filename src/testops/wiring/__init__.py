"""The one place that chooses adapters: the real clock, Toron, the snapshots, and real chance."""

import contextlib
import getpass
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testops import engine, reports, snapshots
from testops.domain.errors import BadInput, OutputNotWritable, StoreUnavailable
from testops.domain.run import Run
from testops.domain.seeds import Seeds
from testops.domain.suite import Suite
from testops.runner.planning import Planned
from testops.runner.ports import Comparison, Delta, Execution
from testops.runner.projects import Project, project_around
from testops.runner.service import Request, Tools
from testops.runner.service import answer as answer_request
from testops.runner.stages.context import Commands
from testops.runner.suites import ResolvedKernel, load_suite, resolve_sim
from testops.snapshots import CompareResult, compare_command
from testops.telemetry.clock import SystemClock
from testops.telemetry.events import Listener, Tell, all_of, unharmed

PYTHON_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


class ToronSimulator:
    """`runner.ports.Simulator` by Toron."""

    engine_version = engine.ENGINE_VERSION

    def kernels_in(self, path: Path) -> Sequence[str]:
        return engine.kernels_in(path)

    def simulate(
        self,
        kernels: Sequence[ResolvedKernel],
        *,
        sim_seeds: Sequence[int],
        chaos_seed: int,
        jobs: int,
        wall_limit_s: float,
    ) -> Iterator[Execution]:
        specs = [
            engine.KernelSpec(kernel.name, kernel.path, kernel.function, _verify(kernel.verify))
            for kernel in kernels
        ]
        return engine.simulate(
            specs,
            sim_seeds=sim_seeds,
            chaos_seed=chaos_seed,
            jobs=jobs,
            clock=SystemClock(),
            wall_limit_s=wall_limit_s,
        )


def _verify(name: str) -> Literal["varied", "fixed"]:
    return "varied" if name == "varied" else "fixed"


class FileSnapshots:
    """`runner.ports.Snapshots` by bundles on the disk."""

    def leave(
        self,
        executions: Sequence[Execution],
        *,
        target: Path,
        unpacked: Path,
        suite: str,
        profile: str,
        seeds: Seeds,
        sources: Mapping[str, str],
        masks: Path | None,
    ) -> str:
        header = snapshots.BundleHeader(
            suite=suite,
            profile=profile,
            sim_seed=seeds.sim,
            chaos_seed=seeds.chaos,
            engine_version=engine.ENGINE_VERSION,
            python=PYTHON_MINOR,
            masks_version=snapshots.masks_version(masks),
        )
        files = snapshots.execution_files(executions, sources=sources)
        identity = snapshots.write_bundle(target, header, files)
        snapshots.unpack_bundle(target, unpacked)
        return identity

    def report_determinism(self, executions: Sequence[Execution], folder: Path) -> Path:
        return reports.write_determinism(executions, folder)

    def compare(self, base: Path, target: Path, *, masks: Path | None, reports: Path) -> Comparison:
        result = _compare(base, target, masks=masks, folder=reports, strict=False)
        found = result.comparison
        return Comparison(
            verdict=found.verdict,
            reason=found.reason,
            fix=found.fix,
            delta_count=found.delta_count,
            executions_compared=found.compared_count,
            deltas=tuple(
                Delta(f"{delta.execution.text()}: {delta.field}", delta.what(), delta.reproduce)
                for delta in found.deltas
            ),
            findings=tuple(str(finding["message"]) for finding in found.findings),
            reports=tuple(result.reports),
        )


def answer(request: Request, *, listener: Listener, told: Tell, door: str | None) -> Run:
    """The run that answers `request`, on this machine; `door` is how its caller starts it."""
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
    )


def check_suite(asked: str, *, working_folder: Path) -> Suite:
    """The suite, every kernel of it found; `BadInput` says what is wrong with it."""
    suite_file = load_suite(asked, working_folder=working_folder)
    if suite_file.suite.stages.sim is not None:
        resolve_sim(suite_file, engine.kernels_in)
    return suite_file.suite


def compare(
    base: Path, target: Path, *, masks: Path | None, folder: Path, strict: bool
) -> CompareResult:
    """Compare two bundles and write the reports into `folder`."""
    return _compare(base, target, masks=masks, folder=folder, strict=strict)


def _compare(
    base: Path, target: Path, *, masks: Path | None, folder: Path, strict: bool
) -> CompareResult:
    return compare_command(
        base,
        target,
        masks=masks,
        strict=strict,
        report=lambda comparison: reports.write_snapshot_diff(comparison, folder),
    )


@dataclass(frozen=True, slots=True)
class Approved:
    """What became the baseline, and who decided so."""

    source: str
    baseline: str
    who: str
    why: str


def approve(
    source: str, *, who: str | None, why: str, allow_failing: bool, working_folder: Path
) -> Approved:
    """Make a run or a bundle the baseline of its key."""
    project = project_around(working_folder)
    path = _bundle_called(source, project, working_folder)
    who = who or person()
    baseline = snapshots.approve(
        path,
        project.snapshots / "golden",
        who=who,
        why=why,
        at=SystemClock().now(),
        allow_failing=allow_failing,
    )
    return Approved(project.shown(path), project.shown(baseline), who, why)


def _bundle_called(source: str, project: Project, working_folder: Path) -> Path:
    """A path, a bundle's file name, a run id or the beginning of one."""
    for path in (working_folder / source, project.snapshots / source):
        if path.exists():
            return path
    prefix = source.removeprefix("run-").removesuffix(".tar.gz")
    safe = prefix.isalnum()
    found = sorted(project.snapshots.glob(f"run-{prefix}*.tar.gz")) if safe else []
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found[:5])
        raise BadInput(f"{source!r} is several runs ({names})", fix="give more of the run id")
    raise BadInput(
        f"there is no run or bundle {source!r} (looked in {project.snapshots})",
        fix="name a file, or a run id that `testops run` printed",
    )


def person() -> str:
    """Who we are: git's user, or the system's."""
    git = shutil.which("git")
    if git is not None:
        done = subprocess.run(
            [git, "config", "user.name"], capture_output=True, text=True, timeout=10, check=False
        )
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise BadInput("nobody knows who you are", where="--who", fix="give your name") from None


def versions() -> Mapping[str, str]:
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


def cpu_count() -> int:
    """The processors that this process may use: in a container the machine's are not ours."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
