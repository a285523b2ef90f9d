"""Real kernels in the sandbox of a runner: whatever holds or divides them, one bundle."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from testops.runner.sandbox import Sandbox
from testops.runner.stage_process import Limits, Result, SeedChunk, StageDone, StageJob, run_stage
from testops.runner.suites import load_profile, load_suite
from testops.telemetry.clock import SystemClock

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (42, 43, 44, 45)


def job_for(output: Path, kernels: Sequence[str] = (), seeds: Sequence[int] = SEEDS) -> StageJob:
    suite_file = load_suite("regression_core", working_folder=ROOT)
    profile = load_profile("offline", suite_file.project)
    suite: Mapping[str, Any] = suite_file.suite.model_dump(mode="json", by_alias=True)
    every = suite["stages"]["sim"]["kernels"]
    suite["stages"]["sim"]["kernels"] = {
        k: v for k, v in every.items() if not kernels or k in kernels
    }
    return StageJob(
        run_id="0123456789abcdef",
        attempt=1,
        stage="sim",
        project_root=ROOT,
        output=output,
        suite=suite,
        suite_shown="regression_core",
        profile=profile.model_dump(mode="json", by_alias=True),
        sim_seed=seeds[0],
        chaos_seed=7,
        sim_seeds=tuple(seeds),
        only=("sim",),
        jobs=2,
        limits=Limits(wall_s=100, memory_mb=3000),
    )


def run(job: StageJob, walls: Sandbox | None = None) -> Result:
    return run_stage(
        job, on_event=lambda _: None, stop=lambda: None, clock=SystemClock(), walls=walls
    )


def done(result: Result) -> StageDone:
    assert isinstance(result, StageDone), result
    return result


def bundle_of(result: StageDone) -> bytes:
    assert result.bundle is not None
    return result.bundle.read_bytes()


def test_every_kernel_of_regression_core_runs_in_the_sandbox(tmp_path: Path) -> None:
    """As they do without one: same identity, and no execution that moves."""
    inside = done(run(job_for(tmp_path / "inside", seeds=SEEDS[:1])))
    assert inside.report["metrics"]["identical"] == inside.report["metrics"]["executions"] == 13
    assert inside.report["metrics"]["kernels_failed"] == 0
    bare = done(run(job_for(tmp_path / "bare", seeds=SEEDS[:1]), walls=Sandbox(())))
    assert inside.bundle_identity == bare.bundle_identity
    assert bundle_of(inside) == bundle_of(bare)


def test_a_divided_simulation_has_the_bundle_of_an_undivided_one(tmp_path: Path) -> None:
    kernels = ("bank_transfers", "fastapi_orders", "redis_counter")
    whole = job_for(tmp_path / "whole", kernels)
    undivided = done(run(whole))
    divided = replace(whole, output=tmp_path / "divided")
    chunks = [
        SeedChunk(0, SEEDS[:1]),
        SeedChunk(1, SEEDS[1:], kernels[:2]),
        SeedChunk(2, SEEDS[1:], kernels[2:]),
    ]
    # Each executed somewhere else.
    files = []
    for chunk in reversed(chunks):
        part = replace(divided, output=tmp_path / f"runner-{chunk.number}", chunk=chunk)
        left = done(run(part)).chunk
        assert left is not None
        files.append(left.path)
    assembled = done(run(replace(divided, executions=tuple(files))))
    assert bundle_of(assembled) == bundle_of(undivided)
    assert assembled.bundle_identity == undivided.bundle_identity
    report = "reports/determinism.json"
    texts = [(folder / report).read_text() for folder in (whole.output, divided.output)]
    assert texts[0] == texts[1]
    first, second = dict(assembled.report["metrics"]), dict(undivided.report["metrics"])
    # How long an execution took is of the machine, and of the moment.
    assert first.pop("execution_wall_s") > 0 < second.pop("execution_wall_s")
    assert first == second
    short = run(replace(divided, executions=tuple(files[1:]), output=tmp_path / "short"))
    assert not isinstance(short, StageDone)
    assert "are in no chunk" in str(short)


def test_two_runs_of_one_project_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    before = sorted(path for path in (ROOT / "snapshots").rglob("*") if path.is_file())
    kernels = ("bank_transfers", "leader_election")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda n: done(run(job_for(tmp_path / str(n), kernels))), range(2)))
    assert results[0].bundle_identity == results[1].bundle_identity
    assert bundle_of(results[0]) == bundle_of(results[1])
    assert sorted(path for path in (ROOT / "snapshots").rglob("*") if path.is_file()) == before
