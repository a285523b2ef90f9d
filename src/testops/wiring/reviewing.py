"""Reviews of this project's baselines: opened by comparisons, decided by people, on files."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testops import snapshots
from testops.domain.errors import BadInput, IllegalMove
from testops.domain.review import Group, GroupState, Review, ReviewState, decided
from testops.domain.verdict import Verdict
from testops.snapshots.approve import Evidence, failing_executions
from testops.snapshots.bundle import Bundle
from testops.snapshots.executions import read_executions
from testops.snapshots.locate import bundles_at, pick_base
from testops.snapshots.masks import Mask, load_masks
from testops.snapshots.migrate import identities_of
from testops.snapshots.provenance import provenance_of, require_verified, run_record_of
from testops.snapshots.review import key_of
from testops.snapshots.review_folder import ReviewFolder
from testops.snapshots.review_masks import (
    Documents,
    append_masks,
    masks_for,
    require_something_left,
)
from testops.snapshots.review_rules import ReviewRules, rules_for
from testops.telemetry.clock import SystemClock
from testops.wiring.person import person
from testops.wiring.review_desk import (
    Desk,
    compared_today,
    fresh_review,
    required_bundle,
    run_id_in,
    subject_called,
)

_SETTLED = (Verdict.PASS.value, Verdict.WARN.value)
_log = logging.getLogger("testops.review")


def opened(comparison: Mapping[str, Any], base: Path, *, snapshots_folder: Path) -> Path | None:
    """The file of the review that `comparison` opened; None when it opened none.

    Only a comparison with the project's own baselines does. Never raises: the comparison holds
    whether or not a review of it could be kept.
    """
    golden = snapshots_folder / "golden"
    try:
        if not base.resolve().is_relative_to(golden.resolve()) or comparison["base"] is None:
            return None
        return _open(comparison, golden, ReviewFolder(snapshots_folder / "reviews"))
    except Exception as error:  # noqa: BLE001 - recording a review may never break a run
        _log.warning("no review of this comparison is kept: %s", error)
        return None


def _open(comparison: Mapping[str, Any], golden: Path, folder: ReviewFolder) -> Path | None:
    target = comparison["target"]
    if comparison["verdict"] in _SETTLED:
        folder.settle(comparison["base"]["identity"], target["identity"], key_of(target))
    if not comparison["delta_count"]:
        return None
    return folder.path_of(folder.open(fresh_review(golden, comparison)).target)


def open_reviews(desk: Desk) -> list[Review]:
    """Every review that waits for somebody, the oldest first."""
    return [review for review in desk.folder.all() if review.is_open]


def review_called(desk: Desk, source: str) -> Review:
    """The review of a run, of a bundle, or of what it is called by itself; compared where new."""
    review = subject_called(desk, source).review
    assert review is not None
    return review


@contextlib.contextmanager
def _held(desk: Desk, source: str) -> Iterator[None]:
    """Nobody else decides meanwhile; in a project without snapshots, `source` is looked for first.

    The lock is a file of its own, and what cannot be done leaves none behind.
    """
    if not desk.project.snapshots.is_dir():
        subject_called(desk, source)
    with desk.folder.held():
        yield


def decide(
    desk: Desk,
    source: str,
    state: GroupState,
    *,
    kernel: str | None,
    field: str | None,
    who: str | None,
    why: str,
) -> Review:
    """The review after its groups of `kernel` and `field` went to `state`."""
    decision = decided(who or person(), why, SystemClock().now())
    with _held(desk, source):
        subject = subject_called(desk, source)
        assert subject.review is not None
        rules_for(desk.golden, subject.suite).require_person(decision.who, subject.suite)
        review = subject.review.decide(state, decision, kernel=kernel, field=field)
        desk.folder.save(review)
    return review


@dataclass(frozen=True, slots=True)
class Approved:
    """What an approval has changed; `baseline` is None while another person is needed."""

    source: str
    baseline: str | None
    who: str
    why: str
    review: Review
    review_file: str | None
    needed: str = ""


def approve(desk: Desk, source: str, *, who: str | None, why: str, allow_failing: bool) -> Approved:
    """One approval more, and the baseline once there are as many as the rules ask for."""
    decision = decided(who or person(), why, SystemClock().now())
    with _held(desk, source):
        subject = subject_called(desk, source)
        bundle = required_bundle(subject, source)
        rules = rules_for(desk.golden, subject.suite)
        rules.require_person(decision.who, subject.suite)
        failing_executions(bundle, allow_failing=allow_failing)
        run_id = run_id_in(bundle.origin)
        record = run_record_of(desk.runs, *identities_of(bundle), run_id=run_id)
        require_verified(bundle, desk.golden, record, rules)
        assert subject.review is not None
        if not allow_failing:
            _require_deterministic(subject.review)
        review = _countable(subject.review, rules).approve(decision)
        baseline = None
        if review.state is ReviewState.ACCEPTED:
            # The baseline before the review: killed between the two, the review still is pending,
            # and approving again does the same once more.
            baseline = snapshots.approve(
                bundle.origin,
                desk.golden,
                who=decision.who,
                why=decision.why,
                at=SystemClock().now(),
                allow_failing=allow_failing,
                evidence=Evidence(review.approvals, provenance_of(bundle, record)),
                seen=bundle.identity,
            )
            desk.folder.supersede_others(review)
        file = _keep(desk, review)
    shown = desk.project.shown
    return Approved(
        source=shown(bundle.origin),
        baseline=None if baseline is None else shown(baseline),
        who=decision.who,
        why=decision.why,
        review=review,
        review_file=None if file is None else shown(file),
        needed=rules.others([approval.who for approval in review.approvals]),
    )


def _require_deterministic(review: Review) -> None:
    if review.unstable:
        raise BadInput(
            f"{review.unstable[0].name}: two executions of one seed disagree",
            where=f"review {review.target[:16]}",
            fix="mend or mask it, or approve with --allow-failing and say why in --why",
        )


def _countable(review: Review, rules: ReviewRules) -> Review:
    """The review under the rules of today: an approval of somebody who may not is none."""
    valid = tuple(approval for approval in review.approvals if rules.allows(approval.who))
    return replace(review.requiring(rules.approvals), approvals=valid)


def _keep(desk: Desk, review: Review) -> Path | None:
    """A review that began and ended with one approval tells nothing that the record does not."""
    path = desk.folder.path_of(review.target)
    if review.state is ReviewState.ACCEPTED and not path.exists():
        return None
    return desk.folder.save(review)


@dataclass(frozen=True, slots=True)
class Masked:
    """What a new mask does."""

    file: str
    rules: tuple[Mask, ...]
    hits: int
    hid: int
    review: Review


def mask(desk: Desk, source: str, *, kernel: str, field: str, who: str | None, why: str) -> Masked:
    """Add a mask for the deltas of `kernel` and `field`, compare again, and say what it hides."""
    decision = decided(who or person(), why, SystemClock().now())
    with _held(desk, source):
        subject = subject_called(desk, source)
        bundle = required_bundle(subject, source)
        rules_for(desk.golden, subject.suite).require_person(decision.who, subject.suite)
        assert subject.review is not None
        assert subject.comparison is not None
        groups = _maskable(subject.review, kernel, field)
        file = _masks_file(desk, subject.suite)
        documents = _documents(desk, bundle)
        reason = " ".join(decision.why.split())
        found = masks_for(
            groups, subject.comparison["deltas"], documents, why=reason, who=decision.who
        )
        former = load_masks(file)
        require_something_left(found, replace(former, rules=(*former.rules, *found)), documents)
        append_masks(file, found)
        review = subject.review.decide(GroupState.MASKED, decision, kernel=kernel, field=field)
        comparison = compared_today(desk, bundle)
        fresh = fresh_review(desk.golden, comparison)
        review = replace(review.renewed(fresh), masks=fresh.masks)
        if comparison["verdict"] in _SETTLED and review.base is not None:
            review = review.superseded(review.base)
        desk.folder.save(review)
    done = [
        rule
        for rule in comparison["masks"]["rules"]
        if (rule["files"], rule["pointer"]) in {(one.files, one.pointer) for one in found}
    ]
    return Masked(
        file=desk.project.shown(file),
        rules=found,
        hits=sum(rule["hits"] for rule in done),
        hid=sum(rule["hid"] for rule in done),
        review=review,
    )


def _maskable(review: Review, kernel: str, field: str) -> tuple[Group, ...]:
    groups = review.named(kernel=kernel, field=field)
    pending = tuple(group for group in groups if group.state is GroupState.PENDING)
    if not pending:
        raise IllegalMove(
            f"cannot go from {groups[0].state} to masked",
            where=groups[0].name,
            fix="only what nobody has decided yet can be masked",
        )
    return pending


def _masks_file(desk: Desk, suite: str) -> Path:
    file = desk.masks_of(suite)
    if file is None:
        raise BadInput(
            f"suite {suite} names no file of masks",
            where=f"suites/{suite}.yaml: /stages/snapshot-compare/masks",
            fix=f"write `snapshot-compare: {{masks: masks/{suite}.yaml}}` there, and `masks: []` "
            f"into masks/{suite}.yaml",
        )
    return file


def _documents(desk: Desk, bundle: Bundle) -> Documents:
    """Each kernel file that the baseline and the target share."""
    base = pick_base(bundles_at(desk.golden), bundle, desk.golden)
    assert isinstance(base, Bundle), base
    old, new = read_executions(base), read_executions(bundle)
    return [
        (record.path, dict(old[key].document), dict(record.document))
        for key, record in new.items()
        if key in old
    ]
