"""What a stage left for the snapshot service, read by somebody else than the stage.

A stage says which bundle it left; a kernel is not trusted with that, so the file is read here
before it is registered. What differed from the baseline becomes a review with a group for each
field, from the report that the comparison wrote.
"""

import json
import platform
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.execution import Artifact, OpenedReview, StageRecord
from testops.domain.policy import DETERMINISM
from testops.domain.review import Review
from testops.domain.review_record import review_from_json
from testops.domain.run_view import RunView
from testops.domain.snapshot import NewBundle
from testops.domain.stage import StageName
from testops.runner.asking import request_of
from testops.runner.stage_jobs import StageDone, StageJob
from testops.snapshots import read_bundle, read_executions
from testops.snapshots.canonical import integer_json
from testops.snapshots.provenance import verification_in
from testops.snapshots.review import review_of
from testops.snapshots.review_rules import DETERMINISM_PERCENT_MIN

DIFF_REPORT = "snapshot_diff.json"
_REPORT_BYTES_MAX = 64_000_000


def with_snapshots(
    run: RunView, job: StageJob, done: StageDone, record: StageRecord, now: datetime
) -> StageRecord:
    """The record with the bundle that its stage has left, or the review of what it has found.

    BadInput when what the stage left is not what it says.
    """
    if job.stage == StageName.SIM and done.bundle is not None:
        kept = dict(zip(done.artifacts, record.artifacts, strict=True))
        artifact = kept.get(done.bundle)
        if artifact is None:
            raise BadInput("is none of the files that the stage left", where=str(done.bundle))
        said = done.bundle_identity or ""
        bundle = left_bundle(run, done.bundle, artifact, said, record.report, record.gates)
        return replace(record, bundle=bundle)
    # Compared with a bundle that somebody named, it says nothing about the baseline.
    if job.stage != StageName.SNAPSHOT_COMPARE or run.question.get("baseline") is not None:
        return record
    report = read_report(done.artifacts)
    return record if report is None else replace(record, opened=_opened(run, job, report, now))


def _opened(
    run: RunView, job: StageJob, report: Mapping[str, Any], now: datetime
) -> OpenedReview | None:
    opened_at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        review = review_of_report(report, opened_at=opened_at, opened_by_run=run.run_id)
        if review is None:
            return None
        # As whoever reads it back will: what is refused then must not be kept.
        review_from_json(review.to_json())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput("is no report of a comparison", where=DIFF_REPORT) from error
    if review.target != job.bundle_identity:
        raise BadInput(f"is about {review.target}, and not about this run", where=DIFF_REPORT)
    return OpenedReview(review, cause_of_report(report))


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
        "sim_seed": integer_json(run.seeds.sim),
        "chaos_seed": integer_json(run.seeds.chaos),
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
        key=header.key,
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
        # Relative ones have no threshold of their own.
        and gate.get("kind", "absolute") == "absolute"
        # One that only warns lets the run pass, so it does not stop an approval either.
        and gate.get("severity") != "warn"
    ]
    return max([DETERMINISM_PERCENT_MIN, *own])


def read_report(paths: Sequence[Path]) -> Mapping[str, Any] | None:
    """What the comparison wrote, where it wrote something that can be read."""
    for path in paths:
        if path.name == DIFF_REPORT and path.stat().st_size <= _REPORT_BYTES_MAX:
            try:
                body = json.loads(path.read_bytes())
            except (ValueError, RecursionError) as error:
                raise BadInput("cannot be read", where=DIFF_REPORT) from error
            if not isinstance(body, dict):
                raise BadInput("is no object", where=DIFF_REPORT)
            return body
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
