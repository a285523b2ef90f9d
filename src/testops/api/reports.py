"""`/v1/test-runs/{run_id}/report` and `/v1/reports/trends`: the reports of the command line."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import encode, matches, problems
from testops.api.ports import ApiServices
from testops.api.problems import INVALID, Problem, error_at
from testops.api.routing import Admitted, permits, router
from testops.api.runs import RunPath, existing_run
from testops.api.schemas import Wire, WorkspaceName
from testops.domain.access import Permission
from testops.domain.errors import BadInput
from testops.domain.execution import Artifact
from testops.domain.history import PastRun
from testops.domain.run import RunState
from testops.domain.run_view import RunFilter, RunView
from testops.reports.page import policy
from testops.reports.run_beside import (
    COMPARISON,
    DETERMINISM,
    FILE_BYTES_MAX,
    HARDENING,
    of_the_run,
)
from testops.reports.run_model import Beside, Left
from testops.reports.run_page import render_run
from testops.reports.trends import RUNS_DEFAULT, Trends, limits_of, trends_of
from testops.reports.trends_page import render_trends

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
    return _answer(request, page, "text/html")


def _answer(request: Request, text: str, media_type: str) -> Response:
    """A report with its entity tag, or 304 where the client has it; a page has its own policy."""
    raw = text.encode("utf-8", "backslashreplace")
    tag = f'"{hashlib.sha256(raw).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache", "vary": "accept"}
    if media_type == "text/html":
        headers["content-security-policy"] = f"{policy()}; frame-ancestors 'none'"
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    return Response(raw, headers=headers, media_type=media_type)


def page_or_json(request: Request, text: str, accept: str) -> Response:
    """A report that is a page where `accept` asks for one, and JSON elsewhere."""
    media_type = "text/html" if "text/html" in accept else "application/json"
    return _answer(request, text, media_type)


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
        hardening=_json(services, by_path.get(HARDENING)),
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


class TrendRun(Wire):
    """One run of the trends."""

    run_id: str
    attempt: int
    profile: str
    state: str
    verdict: str
    finished_at: str
    commit: str | None
    engine_version: str


class TrendBand(Wire):
    """What passed runs usually measure: the median, and three scaled deviations around it."""

    low: float
    median: float
    high: float
    runs: int


class TrendLimit(Wire):
    """What a gate wants."""

    op: str
    value: float


class TrendChange(Wire):
    """Where another level begins: `index` is of the first run after, `p` how likely by chance."""

    index: int
    before: float
    after: float
    percent: float | None
    p: float
    sense: str
    last_run_before: str
    first_run_after: str
    commits: list[str | None]


class TrendSeries(Wire):
    """One metric over the runs; null where a run did not measure it."""

    stage: str
    metric: str
    unit: str
    values: list[float | None]
    band: TrendBand | None
    threshold: TrendLimit | None
    changes: list[TrendChange]


class TrendsShown(Wire):
    """What a suite measured, the oldest run first."""

    suite: str
    profile: str | None
    runs: list[TrendRun]
    series: list[TrendSeries]


_Plain = r"^[^\x00-\x1f\x7f]+$"


@routes.get(
    "/v1/reports/trends",
    operation_id="getTrends",
    summary="What a suite measured over its runs",
    responses={
        **problems(),
        200: {
            "model": TrendsShown,
            "content": {"text/html": {}, "text/csv": {}},
            "description": "As JSON, or as Accept asks: a page, or a table",
        },
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.RUNS_READ)
async def get_trends(
    request: Request,
    caller: Admitted,
    suite: Annotated[str, Query(min_length=1, max_length=200, pattern=_Plain)],
    workspace: Annotated[WorkspaceName, Query()] = "default",
    profile: Annotated[str | None, Query(max_length=200, pattern=_Plain)] = None,
    metric: Annotated[
        list[Annotated[str, Query(max_length=200, pattern=_Plain)]] | None,
        Query(max_length=50, description="`stage.metric`; left out: all of them."),
    ] = None,
    runs: Annotated[int, Query(ge=1, le=500)] = RUNS_DEFAULT,
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """Each metric with what is usual, what a gate wants, and where it changed to another level.

    Every change names the two commits between which it happened.
    """
    await caller.enter(workspace)

    def found() -> Trends:
        services = caller.services
        wanted = RunFilter(
            suite=suite,
            profile=profile,
            state=RunState.FINISHED.value,
            workspaces=frozenset({workspace}),
        )
        newest = services.runs.list(wanted, limit=1).runs
        whole = services.runs.get(newest[0].run_id) if newest else None
        gates: Sequence[Mapping[str, Any]] = () if whole is None else whole.gates
        return trends_of(
            services.history_of(workspace),
            suite=suite,
            profile=profile,
            metrics=metric or (),
            limits=limits_of(gates),
            count=runs,
        )

    try:
        trends = await run_in_threadpool(found)
    except BadInput as error:
        detail = str(error)
        raise Problem(INVALID, detail, errors=[error_at("query", "/metric", detail)]) from error
    if "text/html" in accept:
        return _answer(request, await run_in_threadpool(render_trends, trends, _href), "text/html")
    if "text/csv" in accept:
        return _answer(request, trends.to_csv(), "text/csv")
    return _answer(request, encode(trends.to_json()).decode(), "application/json")


def _href(run: PastRun) -> str:
    return f"/v1/test-runs/{run.run_id}/report"
