"""`/v1/test-runs/{run_id}/report`: a run as the page that the command line writes, for browsers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import matches, problems
from testops.api.ports import ApiServices
from testops.api.routing import Admitted, permits, router
from testops.api.runs import RunPath, existing_run
from testops.domain.access import Permission
from testops.domain.execution import Artifact
from testops.domain.run_view import RunView
from testops.reports.page import policy
from testops.reports.run_beside import COMPARISON, DETERMINISM, FILE_BYTES_MAX, of_the_run
from testops.reports.run_model import Beside, Left
from testops.reports.run_page import render_run

routes = router("reports")


@routes.get(
    "/v1/test-runs/{run_id}/report",
    operation_id="getTestRunReport",
    summary="A run on one page",
    response_class=Response,
    responses={
        **problems(),
        200: {"description": "The page; it loads nothing", "content": {"text/html": {}}},
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.RUNS_READ)
async def get_test_run_report(request: Request, run_id: RunPath, caller: Admitted) -> Response:
    """The newest attempt: verdict and why, gates, stages, findings by cause, evidence.

    One file that needs no other: saved, it reads the same.
    """
    view = await existing_run(caller, run_id)
    page = await run_in_threadpool(_page, caller.services, view)
    return page_answer(request, page)


def page_answer(request: Request, page: str) -> Response:
    """A report page with its own policy and entity tag, or 304 where the client has it."""
    raw = page.encode("utf-8", "backslashreplace")
    tag = f'"{hashlib.sha256(raw).hexdigest()[:32]}"'
    headers = {
        "etag": tag,
        "cache-control": "private, no-cache",
        "content-security-policy": f"{policy()}; frame-ancestors 'none'",
    }
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    return Response(raw, headers=headers, media_type="text/html")


def _page(services: ApiServices, view: RunView) -> str:
    run = view.to_json()
    # With the sources and causes that the answer of the API leaves out.
    run["stages"] = [
        stage.to_json() if stage.report is None else dict(stage.report) for stage in view.stages
    ]
    found = services.runs.artifacts(view.run_id, view.attempt)
    by_path = {one.path: one for one in found}
    beside = Beside(
        comparison=of_the_run(run, _json(services, by_path.get(COMPARISON))),
        determinism=_json(services, by_path.get(DETERMINISM)),
        artifacts=[_left(view, one) for one in found],
        record=f"/v1/test-runs/{view.run_id}",
    )
    return render_run(run, beside)


def _left(view: RunView, one: Artifact) -> Left:
    base = f"/v1/test-runs/{view.run_id}/artifacts"
    href = f"{base}/{quote(one.path)}?attempt={view.attempt}"
    return Left(one.path, one.size, one.sha256, href)


def _json(services: ApiServices, artifact: Artifact | None) -> Mapping[str, Any] | None:
    """What an artifact says; None where there is none, it is too large, or it is no longer kept."""
    if artifact is None or artifact.size > FILE_BYTES_MAX:
        return None
    try:
        raw = services.contents.read(artifact.sha256, offset=0, length=artifact.size)
        found = json.loads(raw)
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
