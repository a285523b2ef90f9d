"""`/v1/hardening/execute`, `/v1/chaos/run`, `/v1/load/run`: a run of one stage.

The stages are not built yet (`domain.stage.STAGES_TO_COME`): the request is checked, and answered
with a problem that says so, never with a run that would have nothing to say.
"""

from typing import Any, NoReturn

from starlette.responses import Response

from testops.api.answers import problems
from testops.api.problems import NOT_BUILT, Problem
from testops.api.routing import Admitted, permits, router
from testops.api.schemas import HardeningAsked, RunShown, StageRunAsked
from testops.domain.access import Permission
from testops.domain.stage import STAGES_TO_COME, StageName

routes = router("stages")

_TO_COME: dict[int | str, dict[str, Any]] = {
    202: {"model": RunShown, "description": "Asked for (not in this version)"}
}


@routes.post(
    "/v1/hardening/execute",
    operation_id="executeHardening",
    summary="Ask for a hardening run",
    status_code=202,
    responses={**problems(body=True), **_TO_COME},
)
@permits(Permission.RUNS_CREATE)
async def execute_hardening(asked: HardeningAsked, caller: Admitted) -> Response:
    """Answers 422 until the hardening stage exists."""
    await caller.enter(asked.workspace)
    _not_yet(StageName.HARDENING)


@routes.post(
    "/v1/chaos/run",
    operation_id="runChaos",
    summary="Ask for a chaos run",
    status_code=202,
    responses={**problems(body=True), **_TO_COME},
)
@permits(Permission.RUNS_CREATE)
async def run_chaos(asked: StageRunAsked, caller: Admitted) -> Response:
    """Answers 422 until the chaos stage exists."""
    await caller.enter(asked.workspace)
    _not_yet(StageName.CHAOS)


@routes.post(
    "/v1/load/run",
    operation_id="runLoad",
    summary="Ask for a load run",
    status_code=202,
    responses={**problems(body=True), **_TO_COME},
)
@permits(Permission.RUNS_CREATE)
async def run_load(asked: StageRunAsked, caller: Admitted) -> Response:
    """Answers 422 until the load stage exists."""
    await caller.enter(asked.workspace)
    _not_yet(StageName.LOAD)


def _not_yet(stage: StageName) -> NoReturn:
    assert stage in STAGES_TO_COME, f"{stage} exists: make a run of it"
    raise Problem(
        NOT_BUILT, f"the stage {stage} does not exist in this version; no run was created"
    )
