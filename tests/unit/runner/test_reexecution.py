"""Executing again stays within its bounds, and finds kernels only where they may be."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.unit.snapshots.building import FakeExecution, Recipe

from testops.domain.errors import BadInput
from testops.runner.projects import Project
from testops.runner.reexecution import (
    Bounds,
    SimulatorAgain,
    kernels_of_plan,
    kernels_of_project,
    recorded_builds,
)
from testops.runner.suites import ResolvedKernel
from testops.snapshots import BundleHeader, ExecutionId
from testops.snapshots.executions import ExecutionRecord


class Simulator:
    """Answers at once; `broken` cannot be imported, `seconds` is what one execution takes."""

    engine_version = "toron-v2.5H+.1"

    def __init__(self, clock: Any, *, broken: bool = False, seconds: float = 0.0) -> None:
        self.clock = clock
        self.broken = broken
        self.seconds = seconds
        self.calls: list[tuple[list[str], list[int], int]] = []
        self.closed = 0

    def kernels_in(self, path: Path) -> Sequence[str]:
        return ()

    def simulate(
        self,
        kernels: Sequence[ResolvedKernel],
        *,
        sim_seeds: Sequence[int],
        chaos_seed: int,
        jobs: int,
        wall_limit_s: float,
    ) -> Iterator[Any]:
        self.calls.append(([kernel.name for kernel in kernels], list(sim_seeds), chaos_seed))
        try:
            if self.broken:
                raise BadInput("sim/a.py does not import", where="kernels", fix="mend it")
            for kernel in kernels:
                for seed in sim_seeds:
                    self.clock.now_s += self.seconds
                    yield FakeExecution(kernel.name, seed, chaos_seed, {})
        finally:
            self.closed += 1


class Clock:
    now_s = 100.0

    def elapsed_s(self) -> float:
        return self.now_s


KERNELS = [ResolvedKernel(name, Path(f"{name}.py"), f"{name}.py", name, "fixed") for name in "ab"]
HEADER: BundleHeader = Recipe().header()


def record(kernel: str, seed: int, chaos: int = 3, source: str | None = None) -> ExecutionRecord:
    document: dict[str, Any] = {} if source is None else {"source": source}
    return ExecutionRecord(
        ExecutionId(kernel, seed, chaos), f"kernels/{kernel}/{seed}-{chaos}.json", document, None
    )


def again_by(simulator: Any, **bounds: Any) -> SimulatorAgain:
    return SimulatorAgain(
        simulator,
        kernels_of_plan(KERNELS),
        python="3.11",
        clock=simulator.clock,
        bounds=Bounds(2, **bounds),
        is_same_code=lambda _: None,
    )


def test_kernels_with_the_same_seeds_are_executed_in_one_go() -> None:
    simulator = Simulator(Clock())
    asked = [record("a", 1), record("b", 1), record("a", 2), record("b", 2), record("a", 1, 9)]
    found = again_by(simulator).again(HEADER, asked)
    assert simulator.calls == [(["a", "b"], [1, 2], 3), (["a"], [1], 9)]
    assert list(found) == [one.id for one in asked]
    assert not any(isinstance(item, str) for item in found.values())


def test_the_limit_on_real_time_is_for_all_calls_and_ends_the_processes() -> None:
    simulator = Simulator(Clock(), seconds=4.0)
    executor = again_by(simulator, wall_limit_s=10.0)
    found = executor.again(HEADER, [record("a", seed) for seed in range(5)])
    late = [item for item in found.values() if isinstance(item, str)]
    assert len(late) == 2
    assert late[0] == "the limit of 10 s for all of them was reached"
    assert simulator.closed == 1
    later = executor.again(HEADER, [record("b", 1)])
    assert list(later.values()) == late[:1]
    assert len(simulator.calls) == 1


def test_a_kernel_that_does_not_import_is_a_reason_and_no_crash() -> None:
    found = again_by(Simulator(Clock(), broken=True)).again(HEADER, [record("a", 1)])
    assert "sim/a.py does not import" in str(found[ExecutionId("a", 1, 3)])


def test_a_kernel_that_the_plan_lacks_is_a_reason() -> None:
    executor = again_by(Simulator(Clock()))
    assert executor.missing(HEADER, record("a", 1)) == ""
    assert "no kernel c" in executor.missing(HEADER, record("c", 1))
    assert "no kernel c" in str(executor.again(HEADER, [record("c", 1)])[ExecutionId("c", 1, 3)])


def test_a_kernel_is_found_by_its_suite_and_then_by_its_source(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "k.py").write_text("async def here(): ...\n")
    (tmp_path / "suites" / "regression_core.yaml").write_text(
        "schema: 1\nname: regression_core\nseeds: {sim: 1, chaos: 2}\n"
        "stages:\n  sim:\n    kernels:\n"
        '      ledger: {run: "sim/k.py::here", verify: varied}\n'
    )
    find = kernels_of_project(Project(tmp_path))
    listed = find(HEADER, record("ledger", 1))
    assert isinstance(listed, ResolvedKernel)
    assert (listed.path, listed.verify) == (tmp_path / "sim" / "k.py", "varied")
    stood = find(HEADER, record("other", 1, source="sim/k.py::here"))
    assert isinstance(stood, ResolvedKernel)
    for source, why in (
        (None, "does not say where"),
        ("sim/k.py::gone", "has no function gone"),
        ("sim/absent.py::here", "is not in this project"),
        ("../k.py::here", "leaves the project"),
        ("/etc/passwd::here", "leaves the project"),
        ("suites/regression_core.yaml::here", "is not in this project"),
    ):
        assert why in str(find(HEADER, record("other", 1, source=source)))


def test_a_build_is_known_by_the_identity_that_its_run_left() -> None:
    build = {"commit": "c", "dirty": None}
    records: list[dict[str, Any]] = [
        {"bundle_identity": "i", "build": build},
        {"bundle_identity": "j", "build": {"commit": "d", "dirty": None}},
        {"bundle_identity": "i", "build": None},
    ]
    assert recorded_builds(records, "i") == [build]
