"""`/v1/workspaces`: the projects that runs execute, and how one gets here from elsewhere."""

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, problems
from testops.api.limits import ARCHIVE_BYTES_MAX
from testops.api.ports import ApiServices
from testops.api.problems import CONFLICT, INVALID, WRONG_MEDIA_TYPE, Problem
from testops.api.routing import Admitted, Caller, permits, router
from testops.api.schemas import WorkspaceKept, WorkspaceList, WorkspaceName
from testops.domain.access import Permission
from testops.domain.errors import BadInput

routes = router("workspaces")

_MEDIA_TYPE = "application/gzip"


@routes.get(
    "/v1/workspaces",
    operation_id="listWorkspaces",
    summary="The workspaces that the caller may see",
    responses={**problems(), 200: {"model": WorkspaceList}},
)
@permits(Permission.WORKSPACES_READ)
async def list_workspaces(caller: Admitted) -> Response:
    """By name. Where their files are stays with the server."""
    found = await run_in_threadpool(caller.services.workspaces.all)
    shown = [
        {
            "name": one.name,
            "kind": one.kind,
            "allow_commands": one.allow_commands,
            "approvals_required": one.approvals_required,
        }
        for one in sorted(found, key=lambda one: one.name)
        if caller.principal.sees(one.name)
    ]
    return answer({"workspaces": shown})


@routes.put(
    "/v1/workspaces/{name}/archive",
    operation_id="putWorkspaceArchive",
    summary="Send a project as the content of a workspace",
    responses={**problems(409, body=True), 200: {"model": WorkspaceKept}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": f"A tar of the project in gzip, at most {ARCHIVE_BYTES_MAX} bytes; "
            "`testops run --upload` packs one.",
            "content": {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
@permits(Permission.WORKSPACES_MANAGE)
async def put_archive(
    request: Request, caller: Admitted, name: Annotated[WorkspaceName, InPath()]
) -> Response:
    """Replaces what was there; the same bytes again change nothing.

    Whether its suites may choose commands stays as the operator left it: for a new workspace, no.
    """
    await caller.enter(name)
    if request.headers.get("content-type", "").split(";")[0].strip() != _MEDIA_TYPE:
        raise Problem(WRONG_MEDIA_TYPE, f"send the archive as {_MEDIA_TYPE}")
    with tempfile.NamedTemporaryFile(prefix="testops-upload-", suffix=".tar.gz") as file:
        async for part in request.stream():
            await run_in_threadpool(file.write, part)
        file.flush()
        kept = await run_in_threadpool(_keep, caller.services, caller, name, Path(file.name))
    await caller.done("workspace.put", name, name)
    return answer(kept)


def _keep(services: ApiServices, caller: Caller, name: str, archive: Path) -> dict[str, object]:
    known = services.workspaces.get(name)
    if known is not None and known.kind != "archive":
        raise Problem(CONFLICT, f"workspace {name} is a folder of the server; choose another name")
    try:
        kept = services.workspaces.add_archive_file(
            name,
            archive,
            allow_commands=known is not None and known.allow_commands,
            by=caller.principal.name,
        )
    except BadInput as error:
        busy = error.where == name
        raise Problem(CONFLICT if busy else INVALID, str(error)) from error
    return {
        "name": kept.name,
        "kind": kept.kind,
        "allow_commands": kept.allow_commands,
        "approvals_required": kept.approvals_required,
        "sha256": kept.place,
    }
