"""`/v1/test-runs/{run_id}/artifacts`: what a run left, byte for byte.

An artifact is found by the name under which it was recorded, never by a path on the disk, and a
browser that opens one runs nothing of it: a report of a test run may hold what a test printed.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Header, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from testops.api.answers import matches, problems, tagged
from testops.api.ports import Contents
from testops.api.problems import BAD_RANGE, NOT_FOUND, Problem
from testops.api.routing import Admitted, Caller, missing, permits, router
from testops.api.runs import RunPath, existing_run
from testops.api.schemas import ArtifactList
from testops.domain.access import Permission
from testops.domain.execution import Artifact

routes = router("artifacts")

CHUNK_BYTES = 256 * 1024
# No script, no request, an origin of its own: whatever stands in the file.
FILE_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
)
# Shown in the browser; anything else is saved, because a browser would guess what to do with it.
_SHOWN = frozenset(
    {"application/json", "application/xml", "text/html", "text/plain", "text/xml", "image/png"}
)
_TEXT = frozenset({"text/html", "text/plain", "text/xml", "application/xml"})
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,80}")
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")

_Attempt = Annotated[
    int | None, Query(ge=1, le=100_000, description="Left out: the newest attempt.")
]


@routes.get(
    "/v1/test-runs/{run_id}/artifacts",
    operation_id="listArtifacts",
    summary="What a run left",
    responses={
        **problems(),
        200: {"model": ArtifactList},
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.RUNS_READ)
async def list_artifacts(
    request: Request, run_id: RunPath, caller: Admitted, attempt: _Attempt = None
) -> Response:
    """Every file of one attempt, by path, with its digest."""
    number, found = await _artifacts(caller, run_id, attempt)
    shown = [
        {
            "path": one.path,
            "sha256": one.sha256,
            "size": one.size,
            "media_type": one.media_type,
            "url": f"/v1/test-runs/{run_id}/artifacts/{quote(one.path)}?attempt={number}",
        }
        for one in found.values()
    ]
    return tagged(request, {"run_id": run_id, "attempt": number, "artifacts": shown})


async def _artifacts(
    caller: Caller, run_id: str, attempt: int | None
) -> tuple[int, dict[str, Artifact]]:
    view = await existing_run(caller, run_id)
    number = attempt or view.attempt
    found = await run_in_threadpool(caller.services.runs.artifacts, run_id, number)
    return number, {one.path: one for one in found}


@routes.get(
    "/v1/test-runs/{run_id}/artifacts/{path:path}",
    operation_id="getArtifact",
    summary="One file that a run left",
    response_class=Response,
    responses={
        **problems(416),
        200: {"description": "The file", "content": {"*/*": {}}},
        206: {"description": "The part that was asked for", "content": {"*/*": {}}},
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.RUNS_READ)
async def get_artifact(
    request: Request,
    run_id: RunPath,
    path: Annotated[str, Path(max_length=500)],
    caller: Admitted,
    attempt: _Attempt = None,
    range_: Annotated[str | None, Header(alias="Range", description="One range of bytes.")] = None,
) -> Response:
    """The bytes as they were recorded. The entity tag is their digest, so it holds for ever."""
    _, found = await _artifacts(caller, run_id, attempt)
    artifact = found.get(path)
    if artifact is None:
        raise missing(f"artifact of that name in run {run_id}")
    tag = f'"{artifact.sha256}"'
    headers = headers_of(artifact, tag)
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    if_range = request.headers.get("if-range")
    part = part_of(range_ if if_range in (None, tag) else None, artifact.size)
    return await file_response(caller.services.contents, artifact, part, headers)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes from `start` up to `end`, which is left out."""

    start: int
    end: int
    whole: bool


def part_of(header: str | None, size: int) -> Part:
    """What a Range header asks for. One that we do not read is ignored, as RFC 9110 has it."""
    found = None if header is None else _RANGE.fullmatch(header.strip())
    if found is None:
        return Part(0, size, whole=True)
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if start >= end:
        if last and int(last) < int(first):
            return Part(0, size, whole=True)
        raise Problem(
            BAD_RANGE, f"the file has {size} bytes", headers={"content-range": f"bytes */{size}"}
        )
    return Part(start, end, whole=False)


def headers_of(artifact: Artifact, tag: str) -> dict[str, str]:
    """What is said of a file: its kind, its name, and that nothing in it is run."""
    kind = artifact.media_type if _MEDIA_TYPE.fullmatch(artifact.media_type) else ""
    kind = kind or "application/octet-stream"
    name = PurePosixPath(artifact.path).name
    disposition = "inline" if kind in _SHOWN else "attachment"
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", name)
    return {
        "content-type": f"{kind}; charset=utf-8" if kind in _TEXT else kind,
        "content-disposition": (
            f"{disposition}; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
        ),
        "content-security-policy": FILE_POLICY,
        "accept-ranges": "bytes",
        "etag": tag,
        "cache-control": "private, no-cache",
    }


async def file_response(
    contents: Contents, artifact: Artifact, part: Part, headers: dict[str, str]
) -> Response:
    """`part` of a file, in bounded pieces."""
    sizes: dict[str, Any] = {"content-length": str(part.end - part.start)}
    if not part.whole:
        sizes["content-range"] = f"bytes {part.start}-{part.end - 1}/{artifact.size}"
    first = await _read(contents, artifact, part.start, part.end)
    return StreamingResponse(
        _chunks(contents, artifact, part, first),
        200 if part.whole else 206,
        headers={**headers, **sizes},
    )


async def _chunks(
    contents: Contents, artifact: Artifact, part: Part, first: bytes
) -> AsyncIterator[bytes]:
    """The part in bounded pieces; `first` was read before the answer began, so it could fail."""
    chunk, at = first, part.start
    while chunk:
        yield chunk
        at += len(chunk)
        chunk = await _read(contents, artifact, at, part.end) if at < part.end else b""


async def _read(contents: Contents, artifact: Artifact, start: int, end: int) -> bytes:
    length = min(CHUNK_BYTES, end - start)
    if length == 0:
        return b""
    try:
        return await run_in_threadpool(contents.read, artifact.sha256, offset=start, length=length)
    except FileNotFoundError as error:
        detail = "retention has removed the content of this artifact"
        raise Problem(NOT_FOUND, detail) from error
