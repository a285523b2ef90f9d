"""`/v1/schedules`: requests for runs that are asked again at their times. The runner fires them."""

import hashlib
import re
from typing import Annotated

from fastapi import Header, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, problems, tagged
from testops.api.planned import body_of, planned_run, with_baseline
from testops.api.problems import CONFLICT, NO_PRECONDITION, OUTDATED, Problem, problem_of_input
from testops.api.routing import Admitted, Caller, missing, permits, router
from testops.api.schemas import ScheduleAsked, ScheduleList, ScheduleShown
from testops.domain.access import Permission
from testops.domain.errors import BadInput
from testops.domain.schedule import NewSchedule, Schedule, Timetable
from testops.runner.timetables import check_timetable

routes = router("schedules")

_Id = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The id of a schedule.")]
_IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=200, description="The ETag that the change is based on."),
]
_TAG = {"ETag": {"description": "Of its version.", "schema": {"type": "string"}}}


@routes.get(
    "/v1/schedules",
    operation_id="listSchedules",
    summary="The schedules that the caller may see",
    responses={**problems(), 200: {"model": ScheduleList}},
)
@permits(Permission.SCHEDULES_READ)
async def list_schedules(caller: Admitted) -> Response:
    """By workspace and name, each with its next time and what became of its last."""
    found = await run_in_threadpool(caller.services.schedules.all, caller.workspaces)
    return answer({"schedules": [one.to_json() for one in found]})


@routes.post(
    "/v1/schedules",
    operation_id="createSchedule",
    summary="Repeat a request",
    status_code=201,
    responses={
        **problems(409, body=True),
        201: {
            "model": ScheduleShown,
            "headers": {"Location": {"schema": {"type": "string"}}, **_TAG},
        },
    },
)
@permits(Permission.SCHEDULES_MANAGE)
async def create_schedule(asked: ScheduleAsked, caller: Admitted) -> Response:
    """The request is planned once now, so that one which cannot be a run is refused today."""
    new = await _wanted(asked, caller)
    made = await run_in_threadpool(caller.services.schedules.add, new)
    if made is None:
        raise Problem(CONFLICT, f"there is a schedule {new.name} in workspace {new.workspace}")
    await caller.done("schedule.create", made.schedule_id, made.workspace)
    headers = {"location": f"/v1/schedules/{made.schedule_id}", "etag": _tag(made)}
    return answer(made.to_json(), 201, headers)


async def _wanted(asked: ScheduleAsked, caller: Caller) -> NewSchedule:
    workspace = asked.request.workspace
    await caller.enter(workspace)
    timetable = Timetable(asked.cron, asked.time_zone)
    body = body_of(asked.request)
    try:
        check_timetable(timetable)
    except BadInput as error:
        raise problem_of_input(error, document="body") from error
    body = await run_in_threadpool(with_baseline, caller.services, body)
    await run_in_threadpool(planned_run, caller.services, body)
    return NewSchedule(
        schedule_id=_id_of(workspace, asked.name),
        workspace=workspace,
        name=asked.name,
        timetable=timetable,
        request=body,
        enabled=asked.enabled,
        created_by=caller.principal.name,
    )


def _id_of(workspace: str, name: str) -> str:
    return hashlib.sha256(f"{workspace}\0{name}".encode()).hexdigest()[:16]


@routes.get(
    "/v1/schedules/{schedule_id}",
    operation_id="getSchedule",
    summary="One schedule",
    responses={
        **problems(),
        200: {"model": ScheduleShown, "headers": _TAG},
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.SCHEDULES_READ)
async def get_schedule(request: Request, schedule_id: _Id, caller: Admitted) -> Response:
    """What it repeats, when it is due next, and what became of its last time."""
    found = await _existing(schedule_id, caller)
    return tagged(request, found.to_json(), tag=_tag(found))


@routes.put(
    "/v1/schedules/{schedule_id}",
    operation_id="replaceSchedule",
    summary="Change a schedule",
    responses={**problems(409, 412, 428, body=True), 200: {"model": ScheduleShown}},
)
@permits(Permission.SCHEDULES_MANAGE)
async def replace_schedule(
    schedule_id: _Id, asked: ScheduleAsked, caller: Admitted, if_match: _IfMatch = None
) -> Response:
    """Needs `If-Match`, so that nobody overwrites what they have not seen."""
    found = await _existing(schedule_id, caller)
    if if_match is None:
        raise Problem(NO_PRECONDITION, "send If-Match with the ETag of the schedule")
    _require_match(if_match, found)
    new = await _wanted(asked, caller)
    if new.schedule_id != schedule_id:
        raise Problem(CONFLICT, "name and workspace are what makes a schedule this one")
    changed = await run_in_threadpool(caller.services.schedules.replace, new, version=found.version)
    if changed is None:
        raise Problem(OUTDATED, "somebody changed or removed the schedule just now")
    await caller.done("schedule.replace", schedule_id, found.workspace)
    return answer(changed.to_json(), headers={"etag": _tag(changed)})


@routes.delete(
    "/v1/schedules/{schedule_id}",
    operation_id="deleteSchedule",
    summary="Stop repeating",
    status_code=204,
    response_class=Response,
    responses={**problems(412), 204: {"description": "It is gone; its runs stay"}},
)
@permits(Permission.SCHEDULES_MANAGE)
async def delete_schedule(
    schedule_id: _Id, caller: Admitted, if_match: _IfMatch = None
) -> Response:
    """Runs that it made stay."""
    found = await _existing(schedule_id, caller)
    if if_match is not None:
        _require_match(if_match, found)
    version = None if if_match is None else found.version
    gone = await run_in_threadpool(caller.services.schedules.remove, schedule_id, version=version)
    if not gone:
        raise Problem(OUTDATED, "somebody changed or removed the schedule just now")
    await caller.done("schedule.delete", schedule_id, found.workspace)
    return Response(status_code=204)


async def _existing(schedule_id: str, caller: Caller) -> Schedule:
    found = await run_in_threadpool(caller.services.schedules.get, schedule_id)
    if found is None:
        raise missing(f"schedule {schedule_id}")
    await caller.find(found.workspace, f"schedule {schedule_id}")
    return found


def _tag(schedule: Schedule) -> str:
    # Of what is shown, so it changes when the schedule fires; only the version must still match.
    due = schedule.next_due_ms or 0
    return f'"{schedule.version}.{due}"'


def _require_match(if_match: str, schedule: Schedule) -> None:
    versions = re.findall(r'"(\d+)\.\d+"', if_match)
    if if_match.strip() != "*" and str(schedule.version) not in versions:
        raise Problem(OUTDATED, "the schedule has changed since you read it")
