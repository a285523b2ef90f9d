"""`/v1/snapshots/reviews`, `baselines`, and the decisions about a bundle: approve and reject.

Who decides is always the caller. What may follow what is said by `domain.review`; that nobody
decides about what they have not seen, by `If-Match`.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Path as InPath
from fastapi import Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, problems, tagged
from testops.api.bundles import (
    BUNDLE_BYTES_MAX,
    Identity,
    IfMatch,
    InWorkspace,
    existing_bundle,
    fetched,
    require_seen,
    shown_standing,
)
from testops.api.cursors import cursor_of, place_of
from testops.api.ports import ApiServices
from testops.api.problems import CONFLICT, INVALID, OUTDATED, Problem, error_at
from testops.api.routing import Admitted, Caller, missing, permits, router
from testops.api.snapshot_schemas import (
    ApprovalAsked,
    BaselineList,
    BundleStanding,
    DecisionsAsked,
    ReasonAsked,
    ReviewList,
    ReviewShown,
)
from testops.domain.access import Permission
from testops.domain.errors import BadInput, IllegalMove
from testops.domain.review import (
    Decision,
    GroupState,
    Review,
    ReviewState,
    decided,
)
from testops.domain.snapshot import KeptBundle, KeptReview, Outdated, Standing
from testops.runner.left_bundles import review_of_report
from testops.runner.versions import sides_of
from testops.snapshots import compare_bundles, read_bundle
from testops.snapshots.review_rules import DETERMINISM_PERCENT_MIN

routes = router("snapshots")

_Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_ReviewId = Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$", description="The id of a review.")]
_TAG = {"ETag": {"description": "Of its version.", "schema": {"type": "string"}}}
_LINK = {"Link": {"description": "rel=next", "schema": {"type": "string"}}}
_DECIDED: dict[int | str, dict[str, Any]] = {
    **problems(409, 412, 428, body=True),
    200: {"model": BundleStanding, "headers": _TAG},
}
_STATES = {
    "accept": GroupState.ACCEPTED,
    "reject": GroupState.REJECTED,
    "mask": GroupState.MASKED,
}


@routes.get(
    "/v1/snapshots/reviews",
    operation_id="listReviews",
    summary="What waits for a decision, and what was decided",
    responses={**problems(), 200: {"model": ReviewList, "headers": _LINK}},
)
@permits(Permission.SNAPSHOTS_READ)
async def list_reviews(
    request: Request,
    caller: Admitted,
    state: ReviewState | None = None,
    workspace: _Text = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Newest first."""
    workspaces = caller.workspaces
    if workspace is not None:
        await caller.enter(workspace)
        workspaces = frozenset({workspace})
    found, following = await run_in_threadpool(
        caller.services.snapshots.reviews,
        workspaces,
        state=None if state is None else state.value,
        after=None if cursor is None else place_of(cursor),
        limit=limit,
    )
    next_cursor = None if following is None else cursor_of(following)
    headers = {}
    if next_cursor is not None:
        link = request.url.include_query_params(cursor=next_cursor)
        headers["link"] = f'<{link.path}?{link.query}>; rel="next"'
    shown = {"reviews": [one.to_json() for one in found], "next_cursor": next_cursor}
    return answer(shown, headers=headers)


@routes.get(
    "/v1/snapshots/reviews/{review_id}",
    operation_id="getReview",
    summary="One review",
    responses={
        **problems(),
        200: {"model": ReviewShown, "headers": _TAG},
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.SNAPSHOTS_READ)
async def get_review(request: Request, review_id: _ReviewId, caller: Admitted) -> Response:
    """What moved, field by field, and what was decided about each."""
    found = await _existing(review_id, caller)
    return tagged(request, found.to_json(), tag=_tag(found))


async def _existing(review_id: str, caller: Caller) -> KeptReview:
    found = await run_in_threadpool(caller.services.snapshots.review, review_id)
    if found is None:
        raise missing(f"review {review_id}")
    await caller.find(found.workspace, f"review {review_id}")
    return found


def _tag(kept: KeptReview) -> str:
    # Only decisions change it, so the version says it all; spelled as the tag of a bundle is.
    return f'"0.{kept.version}.{0:016x}"'


@routes.post(
    "/v1/snapshots/reviews/{review_id}/decisions",
    operation_id="decideReview",
    summary="Accept, reject or mask what moved",
    responses={
        **problems(409, 412, 428, body=True),
        200: {"model": ReviewShown, "headers": _TAG},
    },
)
@permits(Permission.SNAPSHOTS_APPROVE)
async def decide_review(
    asked: DecisionsAsked, review_id: _ReviewId, caller: Admitted, if_match: IfMatch = None
) -> Response:
    """Of several groups that are named, all or none are decided.

    When every group is accepted or masked, an approval of the bundle makes it the baseline.
    """
    found = await _existing(review_id, caller)
    require_seen(if_match, f"0.{found.version}", "review")
    decision, state = _decision(caller, asked.why), _STATES[asked.decision]

    def change(review: Review) -> Review:
        for group in asked.groups:
            review = review.decide(state, decision, kernel=group.kernel, field=group.field)
        return review if asked.groups else review.decide(state, decision)

    saved = await _changed(caller, found, change)
    detail: dict[str, str | int | bool] = {"decision": asked.decision, "why": asked.why}
    await caller.done("snapshot.decide", saved.review.target, saved.workspace, detail)
    return answer(saved.to_json(), headers={"etag": _tag(saved)})


async def _changed(
    caller: Caller, found: KeptReview, change: Callable[[Review], Review]
) -> KeptReview:
    snapshots = caller.services.snapshots
    try:
        return await run_in_threadpool(snapshots.decide, found.review_id, found.version, change)
    except Outdated as error:
        raise Problem(OUTDATED, "somebody has decided about the review just now") from error
    except IllegalMove as error:
        raise Problem(CONFLICT, str(error)) from error
    except BadInput as error:
        detail = str(error)
        raise Problem(INVALID, detail, errors=[error_at("body", "/groups", detail)]) from error


def _decision(caller: Caller, why: str) -> Decision:
    try:
        return decided(caller.principal.name, why, caller.services.clock.now())
    except BadInput as error:
        detail = str(error)
        raise Problem(INVALID, detail, errors=[error_at("body", "/why", detail)]) from error


@routes.get(
    "/v1/snapshots/baselines",
    operation_id="listBaselines",
    summary="What is approved",
    responses={**problems(), 200: {"model": BaselineList}},
)
@permits(Permission.SNAPSHOTS_READ)
async def list_baselines(
    caller: Admitted, suite: _Text = None, profile: _Text = None, workspace: _Text = None
) -> Response:
    """By workspace and key, each with who approved it and what was approved before."""
    workspaces = caller.workspaces
    if workspace is not None:
        await caller.enter(workspace)
        workspaces = frozenset({workspace})
    found = await run_in_threadpool(caller.services.snapshots.baselines, workspaces, suite, profile)
    return answer({"baselines": [one.to_json() for one in found]})


@routes.post(
    "/v1/snapshots/{identity}/approve",
    operation_id="approveSnapshot",
    summary="Approve a bundle as the baseline of its key",
    responses=_DECIDED,
)
@permits(Permission.SNAPSHOTS_APPROVE)
async def approve_snapshot(
    asked: ApprovalAsked,
    identity: Identity,
    caller: Admitted,
    workspace: InWorkspace = None,
    if_match: IfMatch = None,
) -> Response:
    """What is still pending is accepted; with enough different people it is the baseline.

    A new engine minor needs a run whose determinism is at least 98 %, or what its suite demands.
    """
    kept = await existing_bundle(caller, identity, workspace)
    decision = _decision(caller, asked.why)
    saved = await run_in_threadpool(
        _approve, caller.services, kept, if_match, decision, asked.allow_failing
    )
    detail: dict[str, str | int | bool] = {
        "why": asked.why,
        "in_force": saved.review.state is ReviewState.ACCEPTED,
        "allow_failing": asked.allow_failing,
    }
    await caller.done("snapshot.approve", identity, kept.workspace, detail)
    kept = await existing_bundle(caller, identity, kept.workspace)
    return await run_in_threadpool(shown_standing, caller.services, kept)


def _approve(
    services: ApiServices,
    kept: KeptBundle,
    if_match: str | None,
    decision: Decision,
    allow_failing: bool,
) -> KeptReview:
    seen = services.snapshots.standing(kept)
    require_seen(if_match, seen.tag, "bundle")
    if kept.baseline == "current":
        raise Problem(CONFLICT, f"the bundle {kept.identity} is the baseline of its key already")
    _require_passing(kept, allow_failing=allow_failing)
    _require_determinism(services, kept)
    reviewed = _under_review(services, kept, seen)
    if not allow_failing:
        _require_stable(reviewed)
    try:
        return services.snapshots.approve(kept, reviewed, decision)
    except Outdated as error:
        raise Problem(OUTDATED, "somebody has decided about the bundle just now") from error
    except IllegalMove as error:
        raise Problem(CONFLICT, str(error)) from error


def _require_passing(kept: KeptBundle, *, allow_failing: bool) -> None:
    failing, executions = (kept.bundle.provenance.get(n) for n in ("failing", "executions"))
    if executions == 0:
        raise Problem(CONFLICT, "the bundle holds no execution")
    if failing and not allow_failing:
        raise Problem(
            CONFLICT,
            f"{failing} of its {executions} executions did not pass; mend them, or send"
            " allow_failing and say in why",
        )


def _require_determinism(services: ApiServices, kept: KeptBundle) -> None:
    """A new engine minor is believed only where the run has shown that it is deterministic."""
    key = kept.bundle.key
    other = services.snapshots.other_engine_baseline(kept.workspace, key)
    if other is None:
        return
    own = [
        one
        for one in services.snapshots.baselines(frozenset({kept.workspace}), key.suite, key.profile)
        if one.key.engine_version == key.engine_version
    ]
    if own:
        return
    provenance = kept.bundle.provenance
    reached = provenance.get("determinism_percent")
    required = provenance.get("determinism_required", DETERMINISM_PERCENT_MIN)
    doubtful = provenance.get("kernels_inconclusive") != 0
    if reached is None or reached < required or doubtful:
        said = "unknown" if reached is None or doubtful else f"{reached:g} %"
        raise Problem(
            CONFLICT,
            f"engine {key.engine_version} is new here (the baseline is of"
            f" {other.key.engine_version}): it needs a run whose determinism is at least"
            f" {required:g} %, and that of this one is {said}; mend what moves, and run again",
        )


def _require_stable(standing: Standing) -> None:
    unstable = () if standing.review is None else standing.review.review.unstable
    if unstable:
        raise Problem(
            CONFLICT,
            f"{unstable[0].name}: two executions of one seed disagree; mend or mask it, or send"
            " allow_failing and say in why",
        )


def _under_review(services: ApiServices, kept: KeptBundle, seen: Standing) -> Standing:
    """The standing with a review against the baseline that is in force, opened where none is."""
    review = seen.review
    if review is not None and review.review.state is not ReviewState.SUPERSEDED:
        return seen
    new = review.review if review is not None else _compared(services, kept, seen.base)
    services.snapshots.open(kept.workspace, new)
    now = services.snapshots.standing(kept)
    if now.baseline_number != seen.baseline_number:
        raise Problem(OUTDATED, "somebody has approved another baseline just now")
    return now


def _compared(services: ApiServices, kept: KeptBundle, base: str | None) -> Review:
    """What moved between the baseline in force and the bundle, where no run has compared them."""
    opened_at = services.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    found = None
    if base is not None:
        former = services.snapshots.get(base, frozenset({kept.workspace}))
        for one in (kept, *former):
            if one.bundle.size > BUNDLE_BYTES_MAX:
                raise Problem(CONFLICT, f"the bundle {one.identity} is too large to compare here")
        with tempfile.TemporaryDirectory(prefix="testops-approve-") as name:
            sides = [
                read_bundle(fetched(services, one, Path(name) / str(number)))
                for number, one in enumerate((former[0], kept))
            ]
            body = compare_bundles(*sides).to_json()
            services.versions.matrix.require_comparable(*sides_of(body))
            found = review_of_report(body, opened_at=opened_at, opened_by_run=None)
    empty = Review(base, kept.identity, kept.bundle.key, opened_at, None)
    return found or empty


@routes.post(
    "/v1/snapshots/{identity}/reject",
    operation_id="rejectSnapshot",
    summary="Reject what moved in a bundle",
    responses=_DECIDED,
)
@permits(Permission.SNAPSHOTS_APPROVE)
async def reject_snapshot(
    asked: ReasonAsked,
    identity: Identity,
    caller: Admitted,
    workspace: InWorkspace = None,
    if_match: IfMatch = None,
) -> Response:
    """It cannot become the baseline any more, until the behaviour has changed."""
    kept = await existing_bundle(caller, identity, workspace)
    decision = _decision(caller, asked.why)
    review = await run_in_threadpool(_to_reject, caller.services, kept, if_match)
    await _changed(caller, review, lambda one: one.decide(GroupState.REJECTED, decision))
    await caller.done("snapshot.reject", identity, kept.workspace, {"why": asked.why})
    return await run_in_threadpool(shown_standing, caller.services, kept)


def _to_reject(services: ApiServices, kept: KeptBundle, if_match: str | None) -> KeptReview:
    seen = services.snapshots.standing(kept)
    require_seen(if_match, seen.tag, "bundle")
    if kept.baseline == "current":
        raise Problem(CONFLICT, f"the bundle {kept.identity} is the baseline of its key")
    review = _under_review(services, kept, seen).review
    assert review is not None
    return review
