"""What a person points at: a run, a bundle or a review, and where a project keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops import snapshots
from testops.domain.errors import BadInput
from testops.domain.review import Review, ReviewState, moment_of
from testops.runner.projects import Project, project_around
from testops.runner.suites import known_names, suite_named
from testops.snapshots.bundle import Bundle, is_unpacked, read_bundle
from testops.snapshots.provenance import run_record_of
from testops.snapshots.review import review_of
from testops.snapshots.review_folder import ReviewFolder
from testops.snapshots.review_rules import rules_for
from testops.telemetry.clock import SystemClock
from testops.wiring.run_bundles import run_bundle_called, run_id_in
from testops.wiring.versions import require_comparable, require_qualified


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the reviews, baselines and records of one project are."""

    project: Project
    working_folder: Path

    @property
    def golden(self) -> Path:
        return self.project.snapshots / "golden"

    @property
    def folder(self) -> ReviewFolder:
        return ReviewFolder(self.project.snapshots / "reviews")

    @property
    def runs(self) -> Path:
        return self.project.snapshots / "runs"

    def masks_of(self, suite: str) -> Path | None:
        """The file of masks that the suite names, as its snapshot-compare stage would read it."""
        if suite not in known_names(self.project.suites):
            return None
        compare = suite_named(suite, self.project).suite.stages.snapshot_compare
        if compare is None or compare.masks is None:
            return None
        where = f"suite {suite}: /stages/snapshot-compare/masks"
        return self.project.inside(compare.masks, where=where)


def desk_around(working_folder: Path) -> Desk:
    """The desk of the project that `working_folder` is in."""
    return Desk(project_around(working_folder), working_folder)


@dataclass(frozen=True, slots=True)
class Subject:
    """What somebody pointed at: a bundle, its review, or both."""

    bundle: Bundle | None
    review: Review | None
    comparison: Mapping[str, Any] | None = None

    @property
    def suite(self) -> str:
        assert self.bundle is not None or self.review is not None
        if self.bundle is not None:
            return self.bundle.header.suite
        return self.review.key.suite if self.review is not None else ""


def subject_called(desk: Desk, source: str) -> Subject:
    """What `source` means, with its review as a comparison of today has it."""
    path = _bundle_at(desk, source)
    if path is None:
        stored = _stored_called(desk, source)
        path = _bundle_of(desk, stored)
        # Whoever names a review means it as it stands; to name its run takes it up again.
        if path is None or stored.superseded_by is not None:
            return Subject(None if path is None else read_bundle(path), stored)
    bundle = read_bundle(path)
    comparison = compared_today(desk, bundle)
    return Subject(bundle, _renewed(desk, bundle, comparison), comparison)


def _renewed(desk: Desk, bundle: Bundle, comparison: Mapping[str, Any]) -> Review:
    fresh = fresh_review(desk.golden, comparison)
    stored = desk.folder.of(bundle.identity)
    if stored is None:
        return fresh
    is_done = stored.state is ReviewState.ACCEPTED and _is_recorded(comparison)
    if fresh.base == fresh.target and (stored.is_open or is_done):
        # It is the baseline. Where the review is open still, whoever made it so was killed before
        # the review said so; where it is accepted, all of it is done.
        return stored
    if stored.superseded_by is not None:
        stored = stored.reopened()
    return stored.renewed(fresh)


def _is_recorded(comparison: Mapping[str, Any]) -> bool:
    """Whether the record beside the baseline says that this very bundle was approved."""
    return all(one["kind"] != "baseline_not_approved" for one in comparison["findings"])


def fresh_review(golden: Path, comparison: Mapping[str, Any]) -> Review:
    """What a comparison (its JSON) found, with nothing decided yet."""
    target = comparison["target"]
    return review_of(
        comparison,
        at=moment_of(SystemClock().now()),
        run_id=run_id_in(Path(target["path"])),
        approvals_required=rules_for(golden, target["suite"]).approvals,
    )


def compared_today(desk: Desk, bundle: Bundle) -> Mapping[str, Any]:
    """The bundle against the baseline and the masks of now, as JSON."""
    masks = desk.masks_of(bundle.header.suite)
    require_qualified()
    compared = snapshots.compare_paths(desk.golden, bundle.origin, masks=masks).to_json()
    require_comparable(compared)
    return compared


def _bundle_at(desk: Desk, source: str) -> Path | None:
    """The bundle that `source` names: a path, a file name, a run id or the beginning of one."""
    for path in (desk.working_folder / source, desk.project.snapshots / source):
        if path.exists() and path.suffix != ".json":
            return _one_bundle(path, source)
    found = run_bundle_called(source, desk.project.snapshots)
    if found is not None and desk.folder.called(source):
        raise BadInput(
            f"{source!r} is a run ({found.name}) and a review", fix="give more of the id"
        )
    return found


def _one_bundle(path: Path, source: str) -> Path:
    if path.is_dir() and not is_unpacked(path):
        raise BadInput(f"{source!r} is a folder, not a bundle", fix="name one of its bundles")
    return path


def _stored_called(desk: Desk, source: str) -> Review:
    found = desk.folder.called(source)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(review.target[:16] for review in found[:5])
        raise BadInput(f"{source!r} is several reviews ({names})", fix="give more of the id")
    raise BadInput(
        f"there is no run or bundle {source!r}, nor a review of one (in {desk.project.snapshots})",
        fix="name a file, a run id that `testops run` printed, or see `testops snapshot review`",
    )


def _bundle_of(desk: Desk, review: Review) -> Path | None:
    """Where the bundle under review is: what a run left, or the unpacked one of the last run."""
    run_ids = [review.opened_by_run, run_record_of(desk.runs, review.target).get("run_id")]
    names = [f"run-{run_id}.tar.gz" for run_id in dict.fromkeys(run_ids) if run_id]
    for path in (desk.project.snapshots / name for name in (*names, "dev")):
        if path.exists() and read_bundle(path).identity == review.target:
            return path
    return None


def required_bundle(subject: Subject, source: str) -> Bundle:
    """The bundle itself; BadInput says how to make it where it is not here."""
    if subject.bundle is not None:
        return subject.bundle
    assert subject.review is not None
    key = subject.review.key
    raise BadInput(
        f"the bundle of review {source!r} is not on this machine",
        where=subject.review.target[:16],
        fix=f"make it with `python sim/run_suite.py --profile {key.profile} --suite {key.suite}`: "
        "the same behaviour is the same bundle",
    )
