"""What a stage left for the snapshot service, read by somebody else than the stage.

A stage says which bundle it left; a kernel is not trusted with that, so the file is read here
before it is registered. What differed from the baseline becomes a review with a group for each
field, from the report that the comparison wrote.
"""

import json
import platform
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.execution import Artifact
from testops.domain.policy import DETERMINISM
from testops.domain.review import Review
from testops.domain.run_view import RunView
from testops.domain.snapshot import NewBundle, SnapshotKey
from testops.runner.asking import request_of
from testops.snapshots import read_bundle, read_executions
from testops.snapshots.provenance import verification_in
from testops.snapshots.review import review_of
from testops.snapshots.review_rules import DETERMINISM_PERCENT_MIN

DIFF_REPORT = "snapshot_diff.json"
_REPORT_BYTES_MAX = 64_000_000


def left_bundle(
    run: RunView,
    path: Path,
    artifact: Artifact,
    said: str | None,
    report: Mapping[str, Any],
    gates: Iterable[Mapping[str, Any]],
) -> NewBundle:
    """The bundle at `path`, which its stage calls `said`; BadInput when it is another."""
    found = read_bundle(path)
    if said not in (None, found.identity):
        raise BadInput(
            f"is the bundle {found.identity}, and the stage says {said}", where=artifact.path
        )
    header = found.header
    records = read_executions(found)
    measured = verification_in({"stages": [report]})
    provenance = {
        "commit": run.build.commit,
        "dirty": run.build.dirty,
        "run_id": run.run_id,
        "attempt": run.attempt,
        "sim_seed": run.seeds.sim,
        "chaos_seed": run.seeds.chaos,
        "engine_version": header.engine_version,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "masks_version": header.masks_version,
        "determinism_percent": measured.percent,
        "kernels_inconclusive": measured.kernels_inconclusive,
        "determinism_required": _determinism_required(gates),
        "executions": len(records),
        "failing": sum(record.verdict.blocks for record in records.values()),
    }
    return NewBundle(
        identity=found.identity,
        key=SnapshotKey(header.suite, header.profile, header.engine_version, header.python),
        sim_seed=header.sim_seed,
        chaos_seed=header.chaos_seed,
        masks_version=header.masks_version,
        sha256=artifact.sha256,
        size=artifact.size,
        provenance=provenance,
        request=request_of(run),
    )


def _determinism_required(gates: Iterable[Mapping[str, Any]]) -> float:
    """What the suite demands of its determinism; never less than a new engine minor does."""
    own = [
        float(gate["threshold"])
        for gate in gates
        if gate.get("metric") == DETERMINISM
        and "threshold" in gate
        # One that only warns lets the run pass, so it does not stop an approval either.
        and gate.get("severity") != "warn"
    ]
    return max([DETERMINISM_PERCENT_MIN, *own])


def read_report(paths: Sequence[Path]) -> Mapping[str, Any] | None:
    """What the comparison wrote, where it wrote something that can be read."""
    for path in paths:
        if path.name == DIFF_REPORT and path.stat().st_size <= _REPORT_BYTES_MAX:
            body = json.loads(path.read_bytes())
            return body if isinstance(body, dict) else None
    return None


def review_of_report(
    body: Mapping[str, Any], *, opened_at: str, opened_by_run: str | None
) -> Review | None:
    """The review of what a comparison found; None where nothing moved, or nothing was compared."""
    counts = ("delta_count", "only_in_base_count", "only_in_target_count")
    if body["base"] is None or not any(body[name] for name in counts):
        return None
    return review_of(body, at=opened_at, run_id=opened_by_run, approvals_required=1)


def cause_of_report(body: Mapping[str, Any]) -> str | None:
    """Whether executing it again told a regression from nondeterminism, where it was executed."""
    cause = body.get("cause")
    return cause if isinstance(cause, str) else None
