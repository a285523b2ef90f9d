"""`/`, `/runs/{run_id}` and `/docs`: plain pages, rendered here, until the dashboard lands."""

from html import escape
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from testops.api.answers import problem_doc, problems
from testops.api.cursors import cursor_of, place_of
from testops.api.page_parts import page, table, verdict_html
from testops.api.reference import reference_html
from testops.api.routing import Admitted, permits, router, unprivileged
from testops.api.runs import RunPath, existing_run
from testops.domain.access import Permission
from testops.domain.execution import Artifact
from testops.domain.run import TERMINAL
from testops.domain.run_view import RunFilter, RunView

routes = router("pages")

_LISTED = 50
_METRICS_SHOWN_MAX = 12
_FINDINGS_SHOWN_MAX = 20
_IN_A_BROWSER = problem_doc(401)
_IN_A_BROWSER["content"]["text/html"] = {}
_HTML: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {}}},
    401: _IN_A_BROWSER,
}


@routes.get(
    "/",
    operation_id="pageOfRuns",
    summary="The runs, for people",
    response_class=HTMLResponse,
    responses={**problems(), **_HTML},
)
@permits(Permission.RUNS_READ)
async def page_of_runs(
    caller: Admitted, cursor: Annotated[str | None, Query(max_length=200)] = None
) -> Response:
    """Newest first."""
    after = None if cursor is None else place_of(cursor)
    wanted = RunFilter(workspaces=caller.workspaces)
    found = await run_in_threadpool(caller.services.runs.list, wanted, after=after, limit=_LISTED)
    if not found.runs:
        empty = "<p>No run yet. Ask for one:</p><pre>testops run SUITE</pre>"
        return page("Runs", empty)
    body = table(
        "Runs, newest first",
        ["Run", "Suite", "Verdict", "State", "Seeds", "Created"],
        [_line(view) for view in found.runs],
    )
    if found.following is not None:
        body += (
            f'<p><a rel="next" href="/?cursor={quote(cursor_of(found.following))}">Older</a></p>'
        )
    return page("Runs", body)


def _line(view: RunView) -> list[str]:
    return [
        f'<a href="/runs/{view.run_id}"><code>{view.run_id}</code></a>',
        escape(view.suite),
        verdict_html(view.verdict, view.state),
        escape(view.state.value),
        f"{view.seeds.sim} / {view.seeds.chaos}",
        f'<time datetime="{escape(view.created_at)}">{escape(view.created_at)}</time>',
    ]


@routes.get(
    "/runs/{run_id}",
    operation_id="pageOfRun",
    summary="One run, for people",
    response_class=HTMLResponse,
    responses={**problems(), **_HTML},
)
@permits(Permission.RUNS_READ)
async def page_of_run(run_id: RunPath, caller: Admitted) -> Response:
    """Its stages and gates, the command that reproduces it, and what it left."""
    view = await existing_run(caller, run_id)
    artifacts = await run_in_threadpool(caller.services.runs.artifacts, run_id, view.attempt)
    events = None
    if view.state not in TERMINAL:
        # From the very event that the page shows: nothing is missed between it and the stream.
        events = f"{view.events_url}?last_event_id={view.last_seq}"
    parts = [_head(view), _stages(view), _gates(view), _artifacts(view, artifacts)]
    body = f'<div id="live" aria-live="polite">{"".join(parts)}</div>'
    return page(f"{view.suite}: run {run_id}", body, events=events)


def _head(view: RunView) -> str:
    because = f" <span>{escape(view.reason)}</span>" if view.reason else ""
    build = view.build.commit or view.build.version or "no commit"
    facts = [
        ["Profile", escape(view.profile)],
        ["Build", escape(build) + (" with changes" if view.build.dirty else "")],
        ["Engine", escape(view.engine_version)],
        ["Attempt", str(view.attempt)],
        ["Asked for by", escape(view.created_by)],
    ]
    verdict = verdict_html(view.verdict, view.state)
    # Without a verdict the state stands in its place, and once is enough.
    state = f" <span class='soft'>{escape(view.state.value)}</span>" if view.verdict else ""
    return (
        f"<p>{verdict}{state}{because}</p>"
        f'<p><a href="/v1/test-runs/{view.run_id}/report">Report: this run on one page</a></p>'
        f"{table('Facts', ['', ''], facts)}"
        f"<h2>Reproduce</h2><pre>{escape(view.reproduce)}</pre>"
    )


def _stages(view: RunView) -> str:
    rows = []
    for stage in view.stages:
        shown = stage.to_json()
        metrics = list(shown["metrics"].items())[:_METRICS_SHOWN_MAX]
        rows.append(
            [
                escape(stage.name),
                verdict_html(shown["verdict"], str(shown["state"])),
                ", ".join(f"{escape(name)} {value:g}" for name, value in metrics),
                escape(str(shown["reason"])) + _findings(shown["findings"]),
            ]
        )
    return "<h2>Stages</h2>" + table("Stages", ["Stage", "Verdict", "Metrics", "Reason"], rows)


def _findings(findings: list[dict[str, Any]]) -> str:
    lines = [
        f"<li>{escape(str(one.get('where', '')))}: {escape(str(one.get('message', '')))}"
        + (f"<br><code>{escape(str(one['reproduce']))}</code>" if one.get("reproduce") else "")
        + "</li>"
        for one in findings[:_FINDINGS_SHOWN_MAX]
    ]
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _gates(view: RunView) -> str:
    rows = [
        [
            escape(f"{gate['stage']}: {gate['metric']} {gate['op']} {gate['threshold']:g}"),
            verdict_html(gate["verdict"], ""),
            escape(str(gate["reason"])),
        ]
        for gate in view.gates
    ]
    return "<h2>Gates</h2>" + table("Gates", ["Gate", "Verdict", "Why"], rows)


def _artifacts(view: RunView, artifacts: Any) -> str:
    found: list[Artifact] = list(artifacts)
    base = f"/v1/test-runs/{view.run_id}/artifacts"
    rows = [
        [
            f'<a href="{base}/{quote(one.path)}?attempt={view.attempt}">{escape(one.path)}</a>',
            f"{one.size:,} bytes",
            f"<code>{escape(one.sha256[:16])}</code>",
        ]
        for one in found
    ]
    return "<h2>Artifacts</h2>" + table("Artifacts", ["File", "Size", "SHA-256"], rows)


@routes.get(
    "/docs",
    operation_id="pageOfDocs",
    summary="The API reference, for people",
    response_class=HTMLResponse,
    responses={**problems(), **_HTML},
)
@unprivileged
async def page_of_docs(request: Request) -> Response:
    """Rendered from the OpenAPI document; works offline."""
    return page("API reference", reference_html(request.app.openapi()))
