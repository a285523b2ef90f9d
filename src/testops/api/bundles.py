"""Finding a bundle for a caller, its content as a file, and how it is shown."""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

from fastapi import Header, Query
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, encode, tagged
from testops.api.ports import ApiServices
from testops.api.problems import CONFLICT, NO_PRECONDITION, NOT_FOUND, OUTDATED, Problem
from testops.api.routing import Caller, missing
from testops.api.runs import existing_run
from testops.domain.snapshot import KeptBundle, Standing

BUNDLE_BYTES_MAX = 256 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_SEEN = re.compile(r'"(\d+\.\d+)\.[0-9a-f]{16}"')

Identity = Annotated[
    str, InPath(pattern=r"^[0-9a-f]{64}$", description="The identity of a bundle.")
]
InWorkspace = Annotated[
    str | None,
    Query(
        max_length=64,
        pattern=r"^[a-z0-9][a-z0-9_.-]*$",
        description="Where several workspaces have the same bundle: which one is meant.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=200, description="The ETag that the change is based on."),
]


async def existing_bundle(caller: Caller, identity: str, workspace: str | None) -> KeptBundle:
    """The bundle, where the caller may know of it; in the workspace that is named, if one is."""
    found = await run_in_threadpool(caller.services.snapshots.get, identity, caller.workspaces)
    here = [kept for kept in found if workspace in (None, kept.workspace)]
    if not here:
        raise missing(f"bundle {identity}")
    if len(here) > 1:
        names = ", ".join(kept.workspace for kept in here)
        raise Problem(CONFLICT, f"several workspaces have it; add ?workspace= with one of: {names}")
    await caller.find(here[0].workspace, f"bundle {identity}")
    return here[0]


async def bundle_of_run(caller: Caller, run_id: str) -> KeptBundle:
    """What a run of the caller's has left."""
    view = await existing_run(caller, run_id)
    kept = await run_in_threadpool(caller.services.snapshots.of_run, run_id)
    if kept is None:
        raise Problem(CONFLICT, f"run {run_id} has left no bundle (it is {view.state.value})")
    return kept


def fetched(services: ApiServices, kept: KeptBundle, folder: Path) -> Path:
    """The bundle as a file in a new `folder`: comparing reads files."""
    folder.mkdir()
    path = folder / f"bundle-{kept.identity[:16]}.tar.gz"
    with path.open("wb") as file:
        for offset in range(0, kept.bundle.size, _CHUNK_BYTES):
            try:
                chunk = services.contents.read(
                    kept.bundle.sha256, offset=offset, length=_CHUNK_BYTES
                )
            except FileNotFoundError as error:
                detail = f"the content of the bundle {kept.identity} is not kept any more"
                raise Problem(NOT_FOUND, detail) from error
            file.write(chunk)
    return path


def digest_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown_standing(
    services: ApiServices, kept: KeptBundle, request: Request | None = None
) -> Response:
    """The bundle and how it stands to its baseline, with the ETag of both."""
    standing = services.snapshots.standing(kept)
    shown = _standing_json(kept, standing)
    tag = f'"{standing.tag}.{hashlib.sha256(encode(shown)).hexdigest()[:16]}"'
    if request is None:
        return answer(shown, headers={"etag": tag})
    return tagged(request, shown, tag=tag)


def _standing_json(kept: KeptBundle, standing: Standing) -> dict[str, Any]:
    review = None if standing.review is None else standing.review.to_json()
    return kept.to_json() | {"base": standing.base, "review": review}


def require_seen(if_match: str | None, tag: str, what: str) -> None:
    """Refuse a change by somebody who has not seen what there is now.

    Only decisions count: another run that left the same bundle changes the page, and no decision.
    """
    if if_match is None:
        raise Problem(NO_PRECONDITION, f"send If-Match with the ETag of the {what}")
    if if_match.strip() != "*" and tag not in _SEEN.findall(if_match):
        raise Problem(OUTDATED, f"somebody has decided about the {what} since you read it")
