"""Executes what a bundle recorded once more, within bounds; what that means is `snapshots.causes`.

Only code of this project is executed: kernels that a suite of it lists, or, for a bundle that knows
another suite, files inside it that define such a function. A bundle that came from elsewhere names
files, and must not choose what runs here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testops.domain.errors import BadInput, InternalError
from testops.runner.kernel_names import functions_in
from testops.runner.ports import Execution, Simulator
from testops.runner.projects import Project
from testops.runner.suites import ResolvedKernel, resolve_sim, suite_named
from testops.snapshots import BundleHeader, ExecutionId
from testops.snapshots.executions import ExecutionRecord
from testops.telemetry.clock import Clock

WALL_LIMIT_S = 60.0

# A kernel by its name, or why there is none.
Kernels = Callable[[BundleHeader, ExecutionRecord], ResolvedKernel | str]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much executing again may take: processes at a time, and real seconds for all of it."""

    jobs: int
    wall_limit_s: float = WALL_LIMIT_S


class SimulatorAgain:
    """`snapshots.causes.Reexecutor` by the simulator of the pipeline."""

    def __init__(
        self,
        simulator: Simulator,
        kernels: Kernels,
        *,
        python: str,
        clock: Clock,
        bounds: Bounds,
        is_same_code: Callable[[str], bool | None],
    ) -> None:
        self._simulator = simulator
        self._kernels = kernels
        self._python = python
        self._clock = clock
        self._bounds = bounds
        self._is_same_code = is_same_code
        self._deadline: float | None = None

    @property
    def engine_version(self) -> str:
        return self._simulator.engine_version

    @property
    def python(self) -> str:
        return self._python

    def missing(self, header: BundleHeader, record: ExecutionRecord) -> str:
        """Why there is no kernel for `record`; empty when there is one."""
        kernel = self._kernels(header, record)
        return kernel if isinstance(kernel, str) else ""

    def is_same_code(self, identity: str) -> bool | None:
        return self._is_same_code(identity)

    def again(
        self, header: BundleHeader, records: Sequence[ExecutionRecord]
    ) -> Mapping[ExecutionId, Execution | str]:
        """Every record's execution, or a sentence that says why there is none.

        The limit on real time begins with the first call.
        """
        found: dict[ExecutionId, Execution | str] = {}
        asked: dict[ExecutionId, ResolvedKernel] = {}
        for record in records:
            kernel = self._kernels(header, record)
            if isinstance(kernel, str):
                found[record.id] = kernel
            else:
                asked[record.id] = kernel
        if self._deadline is None:
            self._deadline = self._clock.elapsed_s() + self._bounds.wall_limit_s
        for batch in _batches(asked):
            self._execute(batch, self._deadline, found)
        late = f"the limit of {self._bounds.wall_limit_s:g} s for all of them was reached"
        return {record.id: found.get(record.id, late) for record in records}

    def _execute(
        self, batch: "_Batch", deadline: float, found: dict[ExecutionId, Execution | str]
    ) -> None:
        left_s = deadline - self._clock.elapsed_s()
        if left_s <= 0:
            return
        executions = self._simulator.simulate(
            batch.kernels,
            sim_seeds=batch.sim_seeds,
            chaos_seed=batch.chaos_seed,
            jobs=self._bounds.jobs,
            wall_limit_s=left_s,
        )
        try:
            for execution in executions:
                identity = ExecutionId(execution.kernel, execution.sim_seed, execution.chaos_seed)
                found[identity] = execution
                if self._clock.elapsed_s() > deadline:
                    break
        except (BadInput, InternalError) as error:
            for identity in batch.identities():
                found.setdefault(identity, str(error))
        finally:
            close = getattr(executions, "close", None)
            if close is not None:  # a generator: its processes end now, and not some day
                close()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Kernels of which the same seeds are asked for: what one call of the simulator can do."""

    kernels: Sequence[ResolvedKernel]
    sim_seeds: tuple[int, ...]
    chaos_seed: int

    def identities(self) -> Iterator[ExecutionId]:
        return (
            ExecutionId(kernel.name, seed, self.chaos_seed)
            for kernel in self.kernels
            for seed in self.sim_seeds
        )


def _batches(asked: Mapping[ExecutionId, ResolvedKernel]) -> Iterator[_Batch]:
    seeds: dict[tuple[str, int], list[int]] = {}
    for identity in asked:
        seeds.setdefault((identity.kernel, identity.chaos_seed), []).append(identity.sim_seed)
    kernel_of = {identity.kernel: kernel for identity, kernel in asked.items()}
    alike: dict[tuple[int, tuple[int, ...]], list[ResolvedKernel]] = {}
    for (kernel, chaos_seed), sim_seeds in seeds.items():
        alike.setdefault((chaos_seed, tuple(sim_seeds)), []).append(kernel_of[kernel])
    for (chaos_seed, listed), kernels in alike.items():
        yield _Batch(kernels, listed, chaos_seed)


def kernels_of_plan(kernels: Sequence[ResolvedKernel]) -> Kernels:
    """The kernels that a run has already found."""
    by_name = {kernel.name: kernel for kernel in kernels}
    return lambda _, record: by_name.get(
        record.id.kernel, f"the suite has no kernel {record.id.kernel}"
    )


def kernels_of_project(project: Project) -> Kernels:
    """The kernels of whatever suite a bundle names, as they are in `project` now."""
    suites: dict[str, Mapping[str, ResolvedKernel]] = {}

    def find(header: BundleHeader, record: ExecutionRecord) -> ResolvedKernel | str:
        if header.suite not in suites:
            suites[header.suite] = _kernels_of_suite(project, header.suite)
        return suites[header.suite].get(record.id.kernel) or _kernel_at_source(project, record)

    return find


def _kernels_of_suite(project: Project, name: str) -> Mapping[str, ResolvedKernel]:
    """Its kernels by name; none for a suite that is not here any more, or cannot be read."""
    try:
        suite_file = suite_named(name, project)
        if suite_file.suite.stages.sim is None:
            return {}
        plan = resolve_sim(suite_file, functions_in)
    except BadInput:
        return {}  # the source in the record says where each kernel stood
    return {kernel.name: kernel for kernel in plan.kernels}


def _kernel_at_source(project: Project, record: ExecutionRecord) -> ResolvedKernel | str:
    if record.source is None:
        return "the bundle does not say where its kernel stands, and no suite here lists it"
    file, _, function = record.source.partition("::")
    try:
        path = project.inside(file, where=record.path)
        if path.suffix != ".py" or not path.is_file():
            return f"{record.source} is not in this project"
        if function not in functions_in(path):
            return f"{file} has no function {function} any more"
    except BadInput as error:
        return str(error)
    return ResolvedKernel(record.id.kernel, path, file, function, "fixed")


def recorded_builds(records: Iterable[Mapping[str, Any]], identity: str) -> list[Mapping[str, Any]]:
    """The builds of every recorded run that left the bundle `identity`."""
    return [
        record["build"]
        for record in records
        if record.get("bundle_identity") == identity and isinstance(record.get("build"), dict)
    ]
