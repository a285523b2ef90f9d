"""Bundles and baselines on this machine's disk: for the pipeline, and for `testops snapshot`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from testops import engine, reports, snapshots
from testops.domain.errors import BadInput
from testops.domain.seeds import Seeds
from testops.runner.ports import Comparison, Delta, Execution, Reexecution
from testops.runner.projects import Project, project_around
from testops.snapshots import Chosen, CompareResult, Replay, compare_command
from testops.snapshots.causes import Reexecutor
from testops.snapshots.locate import target_at
from testops.snapshots.memory import Memory
from testops.snapshots.origins import Here
from testops.snapshots.store.opening import tree_index_home
from testops.wiring.executing import PYTHON_MINOR, executor_of_project, executor_of_run
from testops.wiring.machine import programs
from testops.wiring.reviewing import opened
from testops.wiring.run_bundles import run_bundle_called
from testops.wiring.versions import require_comparable, require_qualified


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

    def compare(
        self,
        base: Path,
        target: Path,
        *,
        masks: Path | None,
        reports: Path,
        again: Reexecution | None,
    ) -> Comparison:
        executor = None if again is None else executor_of_run(again)
        result = _compare(
            base, target, masks, reports, strict=False, executor=executor, is_origin=True
        )
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
            cause=found.cause,
            why=found.why,
            nondeterministic=found.nondeterministic_count,
        )


def compare(
    base: Path,
    target: Path,
    *,
    masks: Path | None,
    working_folder: Path,
    strict: bool,
    reexecute: bool,
) -> CompareResult:
    """Compare two bundles and write the reports of the project around `working_folder`.

    With `reexecute`, what differs is executed again with the code of that project.
    """
    project = project_around(working_folder)
    executor = executor_of_project(project) if reexecute else None
    return _compare(base, target, masks, project.reports, strict=strict, executor=executor)


def _compare(
    base: Path,
    target: Path,
    masks: Path | None,
    folder: Path,
    *,
    strict: bool,
    executor: Reexecutor | None,
    is_origin: bool = False,
) -> CompareResult:
    def report(comparison: Mapping[str, Any]) -> Sequence[Path]:
        require_comparable(comparison)
        return reports.write_snapshot_diff(comparison, folder)

    require_qualified()
    # `folder` is the reports of the project, or of the output of a run: its snapshots are beside.
    places = folder.parent / "snapshots"
    result = compare_command(
        base,
        target,
        masks=masks,
        strict=strict,
        report=report,
        executor=executor,
        # Two bundles somewhere are no project, and nothing is left behind there.
        memory=Memory(tree_index_home(places)) if places.is_dir() else None,
        here=Here(places / "runs", programs(), is_origin=is_origin),
    )
    review = opened(result.comparison.to_json(), base, snapshots_folder=places)
    return replace(result, review=review)


def replay(
    source: str,
    chosen: Chosen,
    *,
    masks: Path | None,
    any_engine: bool,
    wall_limit_s: float,
    working_folder: Path,
    told: Callable[[int, int], None],
) -> Replay:
    """Execute a bundle, or the one of a run, again with the project around `working_folder`."""
    require_qualified()
    project = project_around(working_folder)
    return snapshots.replay(
        target_at(bundle_called(source, project, working_folder), base=[]),
        executor_of_project(project, wall_limit_s=wall_limit_s),
        chosen,
        masks=snapshots.NO_MASKS if masks is None else snapshots.load_masks(masks),
        any_engine=any_engine,
        told=told,
    )


def bundle_called(source: str, project: Project, working_folder: Path) -> Path:
    """A path, a bundle's file name, a run id or the beginning of one."""
    for path in (working_folder / source, project.snapshots / source):
        if path.exists():
            return path
    if (found := run_bundle_called(source, project.snapshots)) is not None:
        return found
    raise BadInput(
        f"there is no run or bundle {source!r} (looked in {project.snapshots})",
        fix="name a file, or a run id that `testops run` printed",
    )
