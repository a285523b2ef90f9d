"""Bundles and baselines on this machine's disk: for the pipeline, and for `testops snapshot`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testops import engine, reports, snapshots
from testops.domain.errors import BadInput
from testops.domain.seeds import Seeds
from testops.runner.ports import Comparison, Delta, Execution
from testops.runner.projects import Project, project_around
from testops.snapshots import CompareResult, compare_command
from testops.telemetry.clock import SystemClock
from testops.wiring.person import person

PYTHON_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


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
    path = bundle_called(source, project, working_folder)
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


def bundle_called(source: str, project: Project, working_folder: Path) -> Path:
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
