"""`/v1/test-runs`: asking for a run, finding runs, and what may be done with one."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Header, Path, Query
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, encode, problems, tagged
from testops.api.cursors import cursor_of, place_of
from testops.api.planned import body_of, plan_shown, planned_run
from testops.api.ports import ApiServices, Idempotency
from testops.api.problems import CONFLICT, IN_FLIGHT, KEY_REUSED, MALFORMED, Problem
from testops.api.rerun import comparing, request_again
from testops.api.routing import Admitted, Caller, Services, missing, permits, router
from testops.api.schemas import PlanShown, RerunAsked, RunList, RunShown, TestRunAsked
from testops.domain.access import Permission
from testops.domain.idempotency import Standing
from testops.domain.run import TERMINAL, RunState
from testops.domain.run_view import Created, NewRun, RunFilter, RunView
from testops.domain.snapshot import KeptBundle
from testops.domain.verdict import Verdict
from testops.runner.asking import Wish, new_run

routes = router("test-runs")

WAIT_S_MAX = 60
_WAIT_POLL_S = 0.2
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,6})(?=$|[,;\s])")

RunPath = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The id of a run.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key and body never ask twice, for a day; another body is refused.",
    ),
]
Prefer = Annotated[
    str | None,
    Header(description=f"`wait=N`: answer when the run has ended, or after N s (≤ {WAIT_S_MAX})."),
]
_Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_LOCATION = {"Location": {"description": "The run.", "schema": {"type": "string"}}}
_TAG = {"ETag": {"description": "Of this representation.", "schema": {"type": "string"}}}
_SAME: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it already"}}
_MADE: dict[int | str, dict[str, Any]] = {
    200: {
        "model": RunShown,
        "description": "The run that answers it already",
        "headers": _LOCATION,
    },
    202: {"model": RunShown, "description": "Asked for", "headers": _LOCATION},
}


@routes.post(
    "/v1/test-runs",
    operation_id="createTestRun",
    summary="Ask for a run",
    status_code=202,
    responses={
        **problems(409, body=True),
        **_MADE,
        200: {
            "model": RunShown | PlanShown,
            "description": "The run that answers it already; or, of a dry run, the plan",
            "headers": _LOCATION,
        },
    },
)
@permits(Permission.RUNS_CREATE)
async def create_test_run(
    asked: TestRunAsked,
    caller: Admitted,
    dry_run: Annotated[bool, Query(description="Answer the plan, and create nothing.")] = False,
    key: Key = None,
    prefer: Prefer = None,
) -> Response:
    """Equal questions are one run: the first gets 202, the same question again 200.

    Where the last attempt was cancelled or errored, the question has no answer and gets another
    attempt (202). An explicit `salt` makes it another question.
    """
    await caller.enter(asked.workspace)
    body = body_of(asked)
    if dry_run:
        return await run_in_threadpool(_dry_run, caller.services, body)
    made = await _once(caller, key, body, lambda: _create(caller, body))
    return await _made(caller, made, prefer)


def _dry_run(services: ApiServices, body: dict[str, Any]) -> Response:
    planned = planned_run(services, body)
    return answer(plan_shown(planned, services.runs.get(planned.run_id)))


async def _once(
    caller: Caller, key: str | None, said: Any, make: Callable[[], Awaitable[Created]]
) -> Created:
    """What `make` makes; with a key what the first request with it made, whatever became of it."""
    if key is None:
        return await make()
    if not _KEY.fullmatch(key):
        raise Problem(MALFORMED, "Idempotency-Key is not 1 to 255 visible ASCII characters")
    idempotency = caller.services.idempotency
    owner = f"{caller.principal.kind}:{caller.principal.id}"
    fingerprint = hashlib.sha256(caller.request.path.encode() + b"\0" + encode(said)).hexdigest()
    claim = await run_in_threadpool(idempotency.claim, owner, key, fingerprint)
    match claim.standing:
        case Standing.OTHER_BODY:
            raise Problem(KEY_REUSED, "this Idempotency-Key came with another request before")
        case Standing.IN_FLIGHT:
            raise Problem(
                IN_FLIGHT,
                "the first request with this Idempotency-Key is not done; ask again",
                headers={"retry-after": "1"},
            )
        case Standing.DONE:
            return Created(await existing_run(caller, claim.run_id or ""), "existing")
        case Standing.FIRST:
            return await _first(idempotency, owner, key, make)


async def _first(
    idempotency: Idempotency, owner: str, key: str, make: Callable[[], Awaitable[Created]]
) -> Created:
    try:
        made = await make()
    except BaseException:
        # Nothing was made, so the key is free; shielded, because the client may have hung up.
        await asyncio.shield(run_in_threadpool(idempotency.release, owner, key))
        raise
    await asyncio.shield(run_in_threadpool(idempotency.finish, owner, key, made.run.run_id))
    return made


async def _create(caller: Caller, body: dict[str, Any], *, again: bool = False) -> Created:
    made = await run_in_threadpool(_plan_and_create, caller, body, again)
    if made.outcome != "existing":
        await caller.done("run.create", made.run.run_id, made.run.workspace)
    return made


def _plan_and_create(caller: Caller, body: dict[str, Any], again: bool) -> Created:
    services = caller.services
    planned = planned_run(services, body)
    known = services.runs.get(planned.run_id)
    if known is not None and not again and _answers(known):
        # The common case of a retry: seen without waiting for a turn to write.
        return Created(known, "existing")
    wish = Wish(
        created_by=caller.principal.name,
        labels=body.get("labels", {}),
        priority=body["priority"],
        deadline_s=body.get("deadline_s"),
    )
    new: NewRun = new_run(planned, wish)
    return services.runs.create(new, again=True) if again else services.runs.create(new)


def _answers(view: RunView) -> bool:
    return view.state not in (RunState.CANCELLED, RunState.ERRORED)


async def _made(caller: Caller, made: Created, prefer: str | None) -> Response:
    headers = {"location": f"/v1/test-runs/{made.run.run_id}"}
    view, waited = await _waited(caller.services, made.run, prefer)
    if waited is not None:
        headers["preference-applied"] = f"wait={waited}"
    return answer(view.to_json(), 200 if made.outcome == "existing" else 202, headers)


async def _waited(
    services: ApiServices, view: RunView, prefer: str | None
) -> tuple[RunView, int | None]:
    """The run when it has ended, or as it is after the preferred wait."""
    found = _WAIT.search(prefer or "")
    if found is None:
        return view, None
    seconds = min(int(found[1]), WAIT_S_MAX)
    ends_s = services.clock.elapsed_s() + seconds
    while view.state not in TERMINAL and services.clock.elapsed_s() < ends_s:
        await asyncio.sleep(_WAIT_POLL_S)
        newer = await run_in_threadpool(services.runs.get, view.run_id)
        if newer is None:
            break
        view = newer
    return view, seconds


async def existing_run(caller: Caller, run_id: str) -> RunView:
    """The run, where the caller may know of it."""
    view = await run_in_threadpool(caller.services.runs.get, run_id)
    if view is None:
        raise missing(f"run {run_id}")
    await caller.services.guard.permit(
        caller.principal, caller.request, run_id=run_id, workspace=view.workspace
    )
    return view


@routes.get(
    "/v1/test-runs",
    operation_id="listTestRuns",
    summary="Find runs",
    responses={
        **problems(),
        200: {
            "model": RunList,
            "headers": {"Link": {"description": "rel=next", "schema": {"type": "string"}}},
        },
    },
)
@permits(Permission.RUNS_READ)
async def list_test_runs(
    request: Request,
    caller: Admitted,
    suite: _Text = None,
    profile: _Text = None,
    state: RunState | None = None,
    verdict: Verdict | None = None,
    workspace: _Text = None,
    label: Annotated[
        str | None,
        Query(
            max_length=264,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}=[^\x00-\x1f\x7f]*$",
            description="`NAME=VALUE`",
        ),
    ] = None,
    commit: _Text = None,
    created_from: Annotated[
        int | None, Query(ge=0, le=10**14, description="Milliseconds since 1970, included.")
    ] = None,
    created_to: Annotated[
        int | None, Query(ge=0, le=10**14, description="Milliseconds since 1970, left out.")
    ] = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Newest first, without their stages. New runs do not move what a cursor finds."""
    workspaces = caller.workspaces
    if workspace is not None:
        await caller.enter(workspace)
        workspaces = frozenset({workspace})
    name, _, value = (label or "").partition("=")
    wanted = RunFilter(
        suite=suite,
        profile=profile,
        state=None if state is None else state.value,
        verdict=None if verdict is None else verdict.value,
        workspaces=workspaces,
        label=None if label is None else (name, value),
        commit=commit,
        created_from_ms=created_from,
        created_to_ms=created_to,
    )
    after = None if cursor is None else place_of(cursor)
    page = await run_in_threadpool(caller.services.runs.list, wanted, after=after, limit=limit)
    following = None if page.following is None else cursor_of(page.following)
    headers = {}
    if following is not None:
        link = request.url.include_query_params(cursor=following)
        headers["link"] = f'<{link.path}?{link.query}>; rel="next"'
    shown = {"runs": [summary_of(view) for view in page.runs], "next_cursor": following}
    return answer(shown, headers=headers)


def summary_of(view: RunView) -> dict[str, Any]:
    """The run without what lists leave out."""
    return {k: v for k, v in view.to_json().items() if k not in ("stages", "gates")}


@routes.get(
    "/v1/test-runs/{run_id}",
    operation_id="getTestRun",
    summary="How a run goes",
    responses={
        **problems(),
        200: {"model": RunShown, "headers": _TAG},
        **_SAME,
    },
)
@permits(Permission.RUNS_READ)
async def get_test_run(
    request: Request, run_id: RunPath, caller: Admitted, prefer: Prefer = None
) -> Response:
    """The run with the stages and gates of its newest attempt."""
    view, waited = await _waited(caller.services, await existing_run(caller, run_id), prefer)
    headers = {} if waited is None else {"preference-applied": f"wait={waited}"}
    return tagged(request, view.to_json(), headers)


@routes.get(
    "/v1/test-runs/{run_id}/attempts",
    operation_id="listAttempts",
    summary="Every attempt of a run",
    responses={**problems(), 200: {"description": "The attempts, the first one first"}},
)
@permits(Permission.RUNS_READ)
async def list_attempts(run_id: RunPath, caller: Admitted) -> Response:
    """How each attempt began and ended."""
    await existing_run(caller, run_id)
    found = await run_in_threadpool(caller.services.runs.attempts, run_id)
    return answer({"run_id": run_id, "attempts": [_attempt(one) for one in found]})


def _attempt(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("attempt", "state", "verdict", "exit_code", "reason")
    times = ("queued_at", "started_at", "finished_at")
    return {name: row[name] for name in (*names, *times)}


@routes.get(
    "/v1/test-runs/{run_id}/suite",
    operation_id="getTestRunSuite",
    summary="The suite of a run, as a file",
    responses={**problems(), 200: {"description": "The definition", "headers": _TAG}, **_SAME},
)
@permits(Permission.RUNS_READ)
async def get_test_run_suite(request: Request, run_id: RunPath, caller: Admitted) -> Response:
    """The definition that the run was asked with: `testops run` takes it as a file."""
    return tagged(request, (await existing_run(caller, run_id)).question["suite"])


@routes.get(
    "/v1/test-runs/{run_id}/profile",
    operation_id="getTestRunProfile",
    summary="The profile of a run, as a file",
    responses={**problems(), 200: {"description": "The definition", "headers": _TAG}, **_SAME},
)
@permits(Permission.RUNS_READ)
async def get_test_run_profile(request: Request, run_id: RunPath, caller: Admitted) -> Response:
    """The definition that the run was asked with: `testops run --profile` takes it as a file."""
    return tagged(request, (await existing_run(caller, run_id)).question["profile"])


@routes.post(
    "/v1/test-runs/{run_id}/cancel",
    operation_id="cancelTestRun",
    summary="End a run",
    status_code=202,
    responses={
        **problems(409),
        200: {"model": RunShown, "description": "It is cancelled"},
        202: {"model": RunShown, "description": "Its runner was told to end it"},
    },
)
@permits(Permission.RUNS_CANCEL)
async def cancel_test_run(run_id: RunPath, caller: Admitted) -> Response:
    """A queued run is cancelled at once, a running one within seconds by its runner."""
    view = await existing_run(caller, run_id)
    if view.state not in TERMINAL:
        name = caller.principal.name
        asked = await run_in_threadpool(caller.services.runs.request_cancel, run_id, name)
        view = asked or view
        await caller.done("run.cancel", run_id, view.workspace)
    if view.state is RunState.CANCELLED:
        return answer(view.to_json())
    if view.state in TERMINAL:
        raise Problem(CONFLICT, f"run {run_id} is {view.state.value} already")
    return answer(view.to_json(), 202)


@routes.post(
    "/v1/test-runs/{run_id}/rerun",
    operation_id="rerunTestRun",
    summary="Ask again",
    status_code=202,
    responses={**problems(409, body=True), **_MADE},
)
@permits(Permission.RUNS_CREATE)
async def rerun_test_run(
    asked: RerunAsked,
    run_id: RunPath,
    caller: Admitted,
    key: Key = None,
    prefer: Prefer = None,
) -> Response:
    """`same`: the question again, as another attempt while the build is the same.

    `failed`: only the stages that block. `new-seed`: all of it under newly drawn seeds.
    """
    view = await existing_run(caller, run_id)
    made = await _once(caller, key, asked.model_dump(), lambda: _again(caller, view, asked.mode))
    return await _made(caller, made, prefer)


async def _again(caller: Caller, view: RunView, mode: str) -> Created:
    if view.state not in TERMINAL:
        problem = f"run {view.run_id} is {view.state.value}; let it end, or cancel it"
        raise Problem(CONFLICT, problem)
    body = request_again(view, mode, caller.services.means.draw_seed)
    made = await _create(caller, body, again=True)
    if made.outcome == "existing":
        raise Problem(CONFLICT, f"run {made.run.run_id} is {made.run.state.value} already")
    return made


async def replayed_run(caller: Caller, kept: KeptBundle, priority: int) -> Response:
    """A run that executes what the bundle recorded again, and compares with exactly that."""
    body = {
        **kept.bundle.request,
        "suite": comparing(kept.bundle.request["suite"]),
        "stages": ["sim", "snapshot-compare"],
        "baseline": kept.identity,
        "workspace": kept.workspace,
        "labels": {"replay": kept.identity[:16]},
        "priority": priority,
    }
    made = await _create(caller, body, again=True)
    return await _made(caller, made, None)


@routes.put(
    "/v1/test-runs/{run_id}/pin",
    operation_id="pinTestRun",
    summary="Keep a run",
    responses={**problems(), 200: {"model": RunShown}},
)
@permits(Permission.RUNS_PIN)
async def pin_test_run(run_id: RunPath, caller: Admitted) -> Response:
    """Retention removes neither the run nor its artifacts."""
    return await _pin(run_id, caller, pinned=True)


@routes.delete(
    "/v1/test-runs/{run_id}/pin",
    operation_id="unpinTestRun",
    summary="Keep a run no longer than others",
    responses={**problems(), 200: {"model": RunShown}},
)
@permits(Permission.RUNS_PIN)
async def unpin_test_run(run_id: RunPath, caller: Admitted) -> Response:
    """Retention may remove it in its time."""
    return await _pin(run_id, caller, pinned=False)


async def _pin(run_id: str, caller: Caller, *, pinned: bool) -> Response:
    view = await existing_run(caller, run_id)
    await run_in_threadpool(caller.services.runs.pin, run_id, pinned=pinned)
    await caller.done("run.pin" if pinned else "run.unpin", run_id, view.workspace)
    return answer((await existing_run(caller, run_id)).to_json())


@routes.get(
    "/r/{run_id}",
    operation_id="shortLink",
    summary="A short link to the page of a run",
    status_code=307,
    response_class=Response,
    responses={**problems(), 307: {"description": "To the page", "headers": _LOCATION}},
)
@permits(Permission.RUNS_READ)
async def short_link(run_id: RunPath, caller: Admitted, services: Services) -> Response:
    """Where a person reads about the run."""
    await existing_run(caller, run_id)
    return RedirectResponse(f"/runs/{run_id}", 307)
