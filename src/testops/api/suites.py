"""`/v1/suites` and `/v1/profiles`: what can be asked for."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, problems, tagged
from testops.api.planned import place_in
from testops.api.ports import ApiServices
from testops.api.problems import problem_of_input
from testops.api.routing import Admitted, missing, permits, router
from testops.api.schemas import Definition, ProfileList, SuiteList, WorkspaceName
from testops.domain.access import Permission
from testops.domain.errors import BadInput
from testops.runner.projects import Project
from testops.runner.suites import (
    known_names,
    profile_named,
    profile_schema,
    suite_named,
    suite_schema,
)

routes = router("suites")

_LISTED_MAX = 500
_Workspace = Annotated[WorkspaceName, Query()]
_NamePath = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
_SCHEMA: dict[int | str, dict[str, Any]] = {200: {"description": "JSON Schema, draft 2020-12"}}
_TAGGED: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it already"}}


@routes.get(
    "/v1/suites",
    operation_id="listSuites",
    summary="The suites of a workspace",
    responses={**problems(), 200: {"model": SuiteList}},
)
@permits(Permission.SUITES_READ)
async def list_suites(caller: Admitted, workspace: _Workspace = "default") -> Response:
    """By name; one that cannot be used says why."""
    await caller.enter(workspace)
    return await run_in_threadpool(_suites, caller.services, workspace)


def _suites(services: ApiServices, workspace: str) -> Response:
    project = Project(place_in(services, workspace).root)
    names = known_names(project.suites)[:_LISTED_MAX]
    suites = [_entry(project, name) for name in names]
    return answer({"workspace": workspace, "suites": suites})


def _entry(project: Project, name: str) -> dict[str, Any]:
    try:
        suite = suite_named(name, project).suite
    except BadInput as error:
        return {"name": name, "problem": _without_root(str(error), project)}
    return {
        "name": name,
        "description": suite.description,
        "profile": suite.profile,
        "stages": [stage.value for stage in suite.stages.named()],
        "problem": None,
    }


def _without_root(text: str, project: Project) -> str:
    return text.replace(f"{project.root}/", "")


@routes.get(
    "/v1/suites/schema",
    operation_id="getSuiteSchema",
    summary="The schema of suites",
    responses={**problems(), **_SCHEMA, **_TAGGED},
)
@permits(Permission.SUITES_READ)
async def get_suite_schema(request: Request) -> Response:
    """What editors and this API check a suite by."""
    return tagged(request, suite_schema())


@routes.get(
    "/v1/suites/{name}",
    operation_id="getSuite",
    summary="One suite",
    responses={**problems(), 200: {"model": Definition}, **_TAGGED},
)
@permits(Permission.SUITES_READ)
async def get_suite(
    request: Request, name: _NamePath, caller: Admitted, workspace: _Workspace = "default"
) -> Response:
    """Its definition, with what was left to the defaults."""
    await caller.enter(workspace)
    found = await run_in_threadpool(_definition, caller.services, workspace, name, "suite")
    return tagged(request, found)


def _definition(services: ApiServices, workspace: str, name: str, kind: str) -> Mapping[str, Any]:
    project = Project(place_in(services, workspace).root)
    folder = project.suites if kind == "suite" else project.profiles
    if name not in known_names(folder) and (kind, name) != ("profile", "offline"):
        raise missing(f"{kind} {name} in workspace {workspace}")
    try:
        value = (
            suite_named(name, project).suite if kind == "suite" else profile_named(name, project)
        )
    except BadInput as error:
        problem = problem_of_input(error, document=kind)
        problem.detail = _without_root(problem.detail, project)
        raise problem from error
    definition = value.model_dump(mode="json", by_alias=True)
    return {"workspace": workspace, "name": name, "definition": definition}


@routes.get(
    "/v1/profiles",
    operation_id="listProfiles",
    summary="The profiles of a workspace",
    responses={**problems(), 200: {"model": ProfileList}},
)
@permits(Permission.SUITES_READ)
async def list_profiles(caller: Admitted, workspace: _Workspace = "default") -> Response:
    """By name; `offline` is always there."""
    await caller.enter(workspace)
    return await run_in_threadpool(_profiles, caller.services, workspace)


def _profiles(services: ApiServices, workspace: str) -> Response:
    project = Project(place_in(services, workspace).root)
    names = sorted({"offline", *known_names(project.profiles)})[:_LISTED_MAX]
    profiles = [_profile_entry(project, name) for name in names]
    return answer({"workspace": workspace, "profiles": profiles})


def _profile_entry(project: Project, name: str) -> dict[str, Any]:
    try:
        profile = profile_named(name, project)
    except BadInput as error:
        return {"name": name, "problem": _without_root(str(error), project)}
    return {
        "name": name,
        "description": profile.description,
        "network": profile.network.policy,
        "problem": None,
    }


@routes.get(
    "/v1/profiles/schema",
    operation_id="getProfileSchema",
    summary="The schema of profiles",
    responses={**problems(), **_SCHEMA, **_TAGGED},
)
@permits(Permission.SUITES_READ)
async def get_profile_schema(request: Request) -> Response:
    """What editors and this API check a profile by."""
    return tagged(request, profile_schema())


@routes.get(
    "/v1/profiles/{name}",
    operation_id="getProfile",
    summary="One profile",
    responses={**problems(), 200: {"model": Definition}, **_TAGGED},
)
@permits(Permission.SUITES_READ)
async def get_profile(
    request: Request, name: _NamePath, caller: Admitted, workspace: _Workspace = "default"
) -> Response:
    """Its definition, with what was left to the defaults."""
    await caller.enter(workspace)
    found = await run_in_threadpool(_definition, caller.services, workspace, name, "profile")
    return tagged(request, found)
