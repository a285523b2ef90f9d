"""`/v1/snapshots`: the bundles that runs have left, what is kept of them, and how two compare.

What was approved, and by whom, is in `snapshot_reviews`.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, encode, matches, problems
from testops.api.artifacts import file_response, headers_of, part_of
from testops.api.bundles import (
    BUNDLE_BYTES_MAX,
    Identity,
    InWorkspace,
    bundle_of_run,
    digest_of,
    existing_bundle,
    fetched,
    shown_standing,
)
from testops.api.cursors import cursor_of, place_of
from testops.api.ports import ApiServices
from testops.api.problems import CONFLICT, INVALID, Problem, error_at
from testops.api.routing import Admitted, Caller, missing, permits, router
from testops.api.runs import replayed_run
from testops.api.schemas import CompareAsked, ComparisonShown, RunShown
from testops.api.snapshot_schemas import (
    BundleList,
    BundleShown,
    BundleStanding,
    CaptureAsked,
    CollectionAsked,
    CollectionShown,
    ReasonAsked,
    ReplayAsked,
    VerificationShown,
)
from testops.domain.access import Permission, timestamp
from testops.domain.errors import BadInput
from testops.domain.execution import Artifact
from testops.domain.run import RUN_ID_LENGTH
from testops.domain.snapshot import BundleFilter, KeptBundle, Mark
from testops.domain.verdict import exit_code_of
from testops.runner.versions import sides_of
from testops.snapshots import compare_paths, read_bundle
from testops.snapshots.canonical import Json

routes = router("snapshots")

_Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_LOCATION = {"Location": {"description": "The bundle.", "schema": {"type": "string"}}}
_TAG = {"ETag": {"description": "Of this representation.", "schema": {"type": "string"}}}
_LINK = {"Link": {"description": "rel=next", "schema": {"type": "string"}}}
_SAME: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it already"}}


@routes.get(
    "/v1/snapshots",
    operation_id="listSnapshots",
    summary="Find bundles",
    responses={**problems(), 200: {"model": BundleList, "headers": _LINK}},
)
@permits(Permission.SNAPSHOTS_READ)
async def list_snapshots(
    request: Request,
    caller: Admitted,
    suite: _Text = None,
    profile: _Text = None,
    engine: _Text = None,
    python: _Text = None,
    baseline: Annotated[bool | None, Query(description="Whether it is in force.")] = None,
    pinned: bool | None = None,
    workspace: _Text = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Newest first. New bundles do not move what a cursor finds."""
    workspaces = caller.workspaces
    if workspace is not None:
        await caller.enter(workspace)
        workspaces = frozenset({workspace})
    wanted = BundleFilter(suite, profile, engine, python, baseline, pinned, workspaces)
    after = None if cursor is None else place_of(cursor)
    found, following = await run_in_threadpool(
        caller.services.snapshots.list, wanted, after=after, limit=limit
    )
    next_cursor = None if following is None else cursor_of(following)
    headers = {}
    if next_cursor is not None:
        link = request.url.include_query_params(cursor=next_cursor)
        headers["link"] = f'<{link.path}?{link.query}>; rel="next"'
    shown = {"snapshots": [one.to_json() for one in found], "next_cursor": next_cursor}
    return answer(shown, headers=headers)


@routes.post(
    "/v1/snapshots",
    operation_id="captureSnapshot",
    summary="Keep the bundle of a run",
    status_code=201,
    responses={
        **problems(409, body=True),
        200: {"model": BundleShown, "description": "It is kept already", "headers": _LOCATION},
        201: {"model": BundleShown, "description": "It is kept", "headers": _LOCATION},
    },
)
@permits(Permission.SNAPSHOTS_CAPTURE)
async def capture_snapshot(asked: CaptureAsked, caller: Admitted) -> Response:
    """Retention removes it only after somebody has let it go."""
    kept = await bundle_of_run(caller, asked.run)
    made = kept.captured is None
    if made:
        kept = await _mark(caller, kept, "captured", asked.why)
    return answer(kept.to_json(), 201 if made else 200, {"location": kept.url})


@routes.post(
    "/v1/snapshots/compare",
    operation_id="compareSnapshots",
    summary="Compare two bundles",
    responses={**problems(409, body=True), 200: {"model": ComparisonShown}},
)
@permits(Permission.SNAPSHOTS_COMPARE)
async def compare_snapshots(asked: CompareAsked, caller: Admitted) -> Response:
    """The verdict, every delta, and the command that shows it; as the command line prints it.

    Nothing is executed here: `cause` is what a run found that executed the same again.
    """
    base = await _named(caller, asked.base)
    target = await _named(caller, asked.target)
    masks = None if asked.masks is None else encode(asked.masks.model_dump())
    return await run_in_threadpool(_compare, caller.services, base, target, masks)


async def _named(caller: Caller, name: str) -> KeptBundle:
    """The bundle that a run id or an identity names, where the caller may see it."""
    if len(name) == RUN_ID_LENGTH:
        kept = await bundle_of_run(caller, name)
    else:
        found = await run_in_threadpool(caller.services.snapshots.get, name, caller.workspaces)
        if not found:
            raise missing(f"bundle {name}")
        kept = found[0]
    if kept.bundle.size > BUNDLE_BYTES_MAX:
        raise Problem(CONFLICT, f"the bundle {kept.identity} is too large to compare here")
    return kept


def _compare(
    services: ApiServices, base: KeptBundle, target: KeptBundle, masks: bytes | None
) -> Response:
    with tempfile.TemporaryDirectory(prefix="testops-compare-") as name:
        folder = Path(name)
        masks_file = None
        if masks is not None:
            masks_file = folder / "masks.json"
            masks_file.write_bytes(masks)
        paths = [
            fetched(services, kept, folder / side)
            for side, kept in (("base", base), ("target", target))
        ]
        try:
            comparison = compare_paths(paths[0], paths[1], masks=masks_file)
        except BadInput as error:
            detail = str(error).replace(f"{folder}/", "")
            raise Problem(INVALID, detail, errors=[error_at("body", "/masks", detail)]) from error
        services.versions.matrix.require_comparable(*sides_of(comparison.to_json()))
        shown = comparison.to_json() | {"exit_code": int(exit_code_of(comparison.verdict))}
        # The command line names files there; here nobody has them.
        return answer_without(shown | _cause(services, base, target), f"{folder}/")


def _cause(services: ApiServices, base: KeptBundle, target: KeptBundle) -> dict[str, Json]:
    """Whether the runner has told a regression from nondeterminism, about these very two."""
    review = services.snapshots.standing(target).review
    known = review is not None and review.review.base == base.identity and review.cause
    return {"cause": str(known)} if known else {"cause": "unknown"}


def answer_without(shown: object, folder: str) -> Response:
    """`shown` as JSON, without the folder in which it was made."""
    raw = encode(shown).replace(encode(folder)[1:-1], b"")
    return Response(raw, media_type="application/json")


@routes.post(
    "/v1/snapshots/gc",
    operation_id="collectSnapshots",
    summary="Remove the bundles that nobody holds",
    responses={**problems(body=True), 200: {"model": CollectionShown}},
)
@permits(Permission.SNAPSHOTS_MANAGE)
async def collect_snapshots(asked: CollectionAsked, caller: Admitted) -> Response:
    """Those that no run is left of, and that are neither captured, pinned, nor a baseline.

    A baseline is held as long as it is in the history of its key, and so is what an open review
    is about. Retention does the same once an hour.
    """
    workspaces = caller.workspaces
    if asked.workspace is not None:
        await caller.enter(asked.workspace)
        workspaces = frozenset({asked.workspace})
    freed = await run_in_threadpool(
        caller.services.collector.collect, workspaces, dry_run=asked.dry_run
    )
    if not asked.dry_run:
        detail = {"bundles": len(freed.identities), "bytes": freed.bytes_freed}
        await caller.done("snapshot.gc", "", asked.workspace or "", detail)
    return answer(freed.to_json())


@routes.get(
    "/v1/snapshots/{identity}",
    operation_id="getSnapshot",
    summary="One bundle",
    responses={**problems(409), 200: {"model": BundleStanding, "headers": _TAG}, **_SAME},
)
@permits(Permission.SNAPSHOTS_READ)
async def get_snapshot(
    request: Request, identity: Identity, caller: Admitted, workspace: InWorkspace = None
) -> Response:
    """What it holds, which runs left it, and how it stands to its baseline.

    Its ETag is what an approval is based on (`If-Match`).
    """
    kept = await existing_bundle(caller, identity, workspace)
    return await run_in_threadpool(shown_standing, caller.services, kept, request)


@routes.get(
    "/v1/snapshots/{identity}/content",
    operation_id="getSnapshotContent",
    summary="The bundle itself",
    response_class=Response,
    responses={
        **problems(409, 416),
        200: {"description": "The tar.gz", "content": {"application/gzip": {}}},
        206: {"description": "The part that was asked for", "content": {"application/gzip": {}}},
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.SNAPSHOTS_READ)
async def get_snapshot_content(
    request: Request,
    identity: Identity,
    caller: Admitted,
    workspace: InWorkspace = None,
    range_: Annotated[str | None, Header(alias="Range", description="One range of bytes.")] = None,
) -> Response:
    """The packed bytes as the run left them; every tool that reads bundles reads it."""
    kept = await existing_bundle(caller, identity, workspace)
    name = f"bundle-{identity[:16]}.tar.gz"
    artifact = Artifact(name, kept.bundle.sha256, kept.bundle.size, "application/gzip")
    tag = f'"{kept.bundle.sha256}"'
    headers = headers_of(artifact, tag)
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    if_range = request.headers.get("if-range")
    part = part_of(range_ if if_range in (None, tag) else None, artifact.size)
    return await file_response(caller.services.contents, artifact, part, headers)


@routes.put(
    "/v1/snapshots/{identity}/pin",
    operation_id="pinSnapshot",
    summary="Keep a bundle, whoever lets it go",
    responses={**problems(409, body=True), 200: {"model": BundleShown}},
)
@permits(Permission.SNAPSHOTS_MANAGE)
async def pin_snapshot(
    asked: ReasonAsked, identity: Identity, caller: Admitted, workspace: InWorkspace = None
) -> Response:
    """Nothing removes it while it is pinned."""
    kept = await existing_bundle(caller, identity, workspace)
    return answer((await _mark(caller, kept, "pinned", asked.why)).to_json())


@routes.delete(
    "/v1/snapshots/{identity}/pin",
    operation_id="unpinSnapshot",
    summary="Keep a bundle no longer than others",
    responses={**problems(409), 200: {"model": BundleShown}},
)
@permits(Permission.SNAPSHOTS_MANAGE)
async def unpin_snapshot(
    identity: Identity, caller: Admitted, workspace: InWorkspace = None
) -> Response:
    """What else holds it goes on holding it."""
    kept = await existing_bundle(caller, identity, workspace)
    return answer((await _mark(caller, kept, "pinned", None)).to_json())


@routes.delete(
    "/v1/snapshots/{identity}/capture",
    operation_id="releaseSnapshot",
    summary="Let a captured bundle go",
    responses={**problems(409), 200: {"model": BundleShown}},
)
@permits(Permission.SNAPSHOTS_MANAGE)
async def release_snapshot(
    identity: Identity, caller: Admitted, workspace: InWorkspace = None
) -> Response:
    """It stays for as long as a run, a pin, a baseline or an open review holds it."""
    kept = await existing_bundle(caller, identity, workspace)
    return answer((await _mark(caller, kept, "captured", None)).to_json())


async def _mark(caller: Caller, kept: KeptBundle, name: str, why: str | None) -> KeptBundle:
    now = timestamp(caller.services.clock.now())
    mark = None if why is None else Mark(caller.principal.name, why, now)
    marked = await run_in_threadpool(
        caller.services.snapshots.mark, kept.workspace, kept.identity, name, mark
    )
    if marked is None:
        raise missing(f"bundle {kept.identity}")
    action = {"pinned": ("unpin", "pin"), "captured": ("release", "capture")}[name]
    detail = {} if why is None else {"why": why}
    await caller.done(f"snapshot.{action[mark is not None]}", kept.identity, kept.workspace, detail)
    return marked


@routes.post(
    "/v1/snapshots/{identity}/replay",
    operation_id="replaySnapshot",
    summary="Execute what a bundle recorded again",
    status_code=202,
    responses={
        **problems(409, body=True),
        200: {"model": RunShown, "description": "It is being executed already"},
        202: {
            "model": RunShown,
            "description": "Asked for",
            "headers": {"Location": {"description": "The run.", "schema": {"type": "string"}}},
        },
    },
)
@permits(Permission.SNAPSHOTS_CAPTURE)
async def replay_snapshot(
    asked: ReplayAsked, identity: Identity, caller: Admitted, workspace: InWorkspace = None
) -> Response:
    """A run of the stages sim and snapshot-compare, on the build as it is now.

    It passes when it reaches what the bundle recorded, whatever is approved.
    """
    kept = await existing_bundle(caller, identity, workspace)
    ours, own = caller.services.means.engine_version, kept.bundle.key.engine_version
    if ours != own and not asked.allow_other_engine:
        raise Problem(
            CONFLICT,
            f"the bundle was made by engine {own}, and this server has {ours}: its traces differ"
            " by nature. Replay it where that engine is, or send allow_other_engine to see what"
            " has changed",
        )
    return await replayed_run(caller, kept, asked.priority)


@routes.post(
    "/v1/snapshots/{identity}/verify",
    operation_id="verifySnapshot",
    summary="Hash the content of a bundle again",
    responses={**problems(409), 200: {"model": VerificationShown}},
)
@permits(Permission.SNAPSHOTS_CAPTURE)
async def verify_snapshot(
    identity: Identity, caller: Admitted, workspace: InWorkspace = None
) -> Response:
    """`ok` is false where a byte of it has changed, or where it is gone."""
    kept = await existing_bundle(caller, identity, workspace)
    shown = await run_in_threadpool(_verified, caller.services, kept)
    await caller.done("snapshot.verify", identity, kept.workspace, {"ok": bool(shown["ok"])})
    return answer(shown)


def _verified(services: ApiServices, kept: KeptBundle) -> dict[str, Any]:
    found, sha256, problem = None, None, ""
    with tempfile.TemporaryDirectory(prefix="testops-verify-") as name:
        folder = Path(name)
        try:
            path = fetched(services, kept, folder / "bundle")
            sha256 = digest_of(path)
            found = read_bundle(path).identity
        except Problem as gone:
            problem = gone.detail
        except BadInput as error:
            problem = str(error).replace(f"{folder}/", "")
    if not problem and sha256 != kept.bundle.sha256:
        problem = f"the packed file is {sha256}, and {kept.bundle.sha256} was recorded"
    if not problem and found != kept.identity:
        problem = f"what is kept is the bundle {found}"
    shown = {"identity": kept.identity, "ok": not problem, "sha256": sha256, "found": found}
    return shown | {"problem": problem}
