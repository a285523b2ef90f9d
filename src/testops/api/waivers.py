"""`/v1/waivers`: who answers for a gate that may fail for a while, why, and until when."""

from typing import Annotated, Any

from fastapi import Path
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from testops.api.answers import answer, problems
from testops.api.problems import INVALID, Problem, error_at
from testops.api.routing import Admitted, Caller, missing, permits, router
from testops.api.schemas import WaiverAsked, WaiverList, WaiverShown
from testops.domain.access import Permission
from testops.domain.waiver import Refused, Waiver, WaiverEntry, waiver_of

routes = router("waivers")

_Id = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The id of a waiver.")]


@routes.get(
    "/v1/waivers",
    operation_id="listWaivers",
    summary="The waivers that the caller may see",
    responses={**problems(), 200: {"model": WaiverList}},
)
@permits(Permission.WAIVERS_READ)
async def list_waivers(caller: Admitted) -> Response:
    """The newest first, at most 500; those that were withdrawn are not shown."""
    found = await run_in_threadpool(caller.services.waivers.all, caller.workspaces)
    return answer({"waivers": [_shown(one, caller) for one in found]})


@routes.post(
    "/v1/waivers",
    operation_id="createWaiver",
    summary="Waive a gate of a suite for a while",
    status_code=201,
    responses={
        **problems(body=True),
        201: {"model": WaiverShown, "headers": {"Location": {"schema": {"type": "string"}}}},
    },
)
@permits(Permission.WAIVERS_MANAGE)
async def create_waiver(asked: WaiverAsked, caller: Admitted) -> Response:
    """At most 90 days. A failing gate becomes a warning; missing evidence cannot be waived."""
    await caller.enter(asked.workspace)
    if await run_in_threadpool(caller.services.workspaces.get, asked.workspace) is None:
        detail = f"there is no workspace {asked.workspace}"
        raise Problem(INVALID, detail, errors=[error_at("body", "/workspace", detail)])
    entry = WaiverEntry.model_validate(asked.model_dump(exclude={"workspace"}))
    try:
        new = waiver_of(entry, caller.services.clock.now())
    except Refused as error:
        errors = [error_at("body", f"/{error.field}", str(error))]
        raise Problem(INVALID, f"/{error.field}: {error}", errors=errors) from error
    if not new.lives(caller.services.clock.now()):
        detail = "it has expired already"
        raise Problem(INVALID, detail, errors=[error_at("body", "/expires", detail)])
    made = await run_in_threadpool(
        caller.services.waivers.add, new, workspace=asked.workspace, by=caller.principal.name
    )
    await caller.done("waiver.create", f"{made.waiver_id} {made.gate}", made.workspace)
    headers = {"location": f"/v1/waivers/{made.waiver_id}"}
    return answer(_shown(made, caller), 201, headers)


@routes.get(
    "/v1/waivers/{waiver_id}",
    operation_id="getWaiver",
    summary="One waiver",
    responses={**problems(), 200: {"model": WaiverShown}},
)
@permits(Permission.WAIVERS_READ)
async def get_waiver(waiver_id: _Id, caller: Admitted) -> Response:
    """Who answers for what, why, and until when."""
    return answer(_shown(await _existing(waiver_id, caller), caller))


@routes.delete(
    "/v1/waivers/{waiver_id}",
    operation_id="withdrawWaiver",
    summary="End a waiver before it expires",
    status_code=204,
    response_class=Response,
    responses={**problems(), 204: {"description": "It waives nothing from now on"}},
)
@permits(Permission.WAIVERS_MANAGE)
async def withdraw_waiver(waiver_id: _Id, caller: Admitted) -> Response:
    """Runs that it let through keep what they said."""
    found = await _existing(waiver_id, caller)
    by = caller.principal.name
    if not await run_in_threadpool(caller.services.waivers.withdraw, waiver_id, by=by):
        raise missing(f"waiver {waiver_id}")
    await caller.done("waiver.withdraw", f"{waiver_id} {found.gate}", found.workspace)
    return Response(status_code=204)


async def _existing(waiver_id: str, caller: Caller) -> Waiver:
    found = await run_in_threadpool(caller.services.waivers.get, waiver_id)
    if found is None:
        raise missing(f"waiver {waiver_id}")
    await caller.find(found.workspace, f"waiver {waiver_id}")
    return found


def _shown(one: Waiver, caller: Caller) -> dict[str, Any]:
    lives = one.lives(caller.services.clock.now())
    return {**one.to_json(), "state": "active" if lives else "expired"}
