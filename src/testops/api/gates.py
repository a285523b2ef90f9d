"""`/v1/policies`: named sets of gates. A change is a new version; runs keep what judged them."""

import re
from typing import Annotated

from fastapi import Header, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, problems, tagged
from testops.api.problems import (
    FORBIDDEN,
    INVALID,
    NO_PRECONDITION,
    OUTDATED,
    Problem,
    error_at,
)
from testops.api.routing import Admitted, Caller, missing, permits, router
from testops.api.schemas import PolicyList, PolicyShown
from testops.domain.access import Permission
from testops.domain.policy import Policy
from testops.domain.scoring import KeptPolicy
from testops.runner.policies import digest_of
from testops.warroom.rules import Rules
from testops.warroom.selftest import tried_rule

routes = router("policies")

_Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="A policy.")]
_Version = Annotated[int, Path(ge=1, le=2**31 - 1, description="One of its versions.")]
_IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=200, description="The ETag that the change is based on."),
]
_TAG = {"ETag": {"description": "Of its version.", "schema": {"type": "string"}}}


@routes.get(
    "/v1/policies",
    operation_id="listPolicies",
    summary="The policies",
    responses={**problems(), 200: {"model": PolicyList}},
)
@permits(Permission.POLICIES_READ)
async def list_policies(caller: Admitted) -> Response:
    """By name, each in its newest version."""
    found = await run_in_threadpool(caller.services.policies.all)
    return answer({"policies": [one.to_json() for one in found]})


@routes.get(
    "/v1/policies/{name}",
    operation_id="getPolicy",
    summary="One policy",
    responses={
        **problems(),
        200: {"model": PolicyShown, "headers": _TAG},
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.POLICIES_READ)
async def get_policy(request: Request, name: _Name, caller: Admitted) -> Response:
    """Its newest version."""
    found = await _existing(name, None, caller)
    return tagged(request, found.to_json(), tag=_tag(found))


@routes.get(
    "/v1/policies/{name}/versions",
    operation_id="listPolicyVersions",
    summary="The versions of a policy",
    responses={**problems(), 200: {"model": PolicyList}},
)
@permits(Permission.POLICIES_READ)
async def list_policy_versions(name: _Name, caller: Admitted) -> Response:
    """The newest first; those of one that was removed too."""
    found = await run_in_threadpool(caller.services.policies.versions, name)
    if not found:
        raise missing(f"policy {name}")
    return answer({"policies": [one.to_json() for one in found]})


@routes.get(
    "/v1/policies/{name}/versions/{version}",
    operation_id="getPolicyVersion",
    summary="One version of a policy",
    responses={**problems(), 200: {"model": PolicyShown}},
)
@permits(Permission.POLICIES_READ)
async def get_policy_version(name: _Name, version: _Version, caller: Admitted) -> Response:
    """As it was when runs were judged by it."""
    found = await _existing(name, version, caller)
    return answer(found.to_json())


@routes.put(
    "/v1/policies/{name}",
    operation_id="putPolicy",
    summary="Keep a policy, as its next version",
    responses={
        **problems(412, 428, body=True),
        200: {"model": PolicyShown, "headers": _TAG},
        201: {"model": PolicyShown, "headers": _TAG},
    },
)
@permits(Permission.POLICIES_MANAGE)
async def put_policy(
    name: _Name, definition: Policy, caller: Admitted, if_match: _IfMatch = None
) -> Response:
    """A change needs `If-Match`. A gate that cannot go red is refused, as is one that never holds.

    The server counts the versions, whatever the body says. Runs that have begun keep theirs.
    """
    _require_everywhere(caller)
    await run_in_threadpool(_require_sound, name, definition)
    policies, by = caller.services.policies, caller.principal.name
    known = await run_in_threadpool(policies.get, name)
    base = _base(known, if_match)
    kept = await run_in_threadpool(policies.put, name, definition, digest_of, base=base, by=by)
    if kept is None:
        raise Problem(OUTDATED, "somebody changed or removed the policy just now")
    await caller.done("policy.put", f"{name} version {kept.version}", "")
    return answer(kept.to_json(), 201 if known is None else 200, {"etag": _tag(kept)})


@routes.delete(
    "/v1/policies/{name}",
    operation_id="deletePolicy",
    summary="Remove a policy",
    status_code=204,
    response_class=Response,
    responses={**problems(412), 204: {"description": "No run can ask for it any more"}},
)
@permits(Permission.POLICIES_MANAGE)
async def delete_policy(name: _Name, caller: Admitted, if_match: _IfMatch = None) -> Response:
    """Its versions stay, because runs were judged by them; suites that name it are refused."""
    _require_everywhere(caller)
    found = await _existing(name, None, caller)
    if if_match is not None:
        _require_match(if_match, found)
    base = None if if_match is None else found.version
    by = caller.principal.name
    if not await run_in_threadpool(caller.services.policies.remove, name, base=base, by=by):
        raise Problem(OUTDATED, "somebody changed or removed the policy just now")
    await caller.done("policy.delete", name, "")
    return Response(status_code=204)


def _require_everywhere(caller: Caller) -> None:
    """A policy is every workspace's: who may not work in all of them changes none."""
    if caller.workspaces is not None:
        raise Problem(FORBIDDEN, "policies are of all workspaces, and your key is of some")


def _require_sound(name: str, definition: Policy) -> None:
    if definition.name != name:
        detail = f"the policy calls itself {definition.name}, the address {name}"
        raise Problem(INVALID, detail, errors=[error_at("body", "/name", detail)])
    tried = [tried_rule(rule) for rule in Rules(policy=definition).of_policy]
    errors = [
        error_at("body", f"/gates/{number}", one.problem, "state what must not happen")
        for number, one in enumerate(tried)
        if one.problem
    ]
    if errors:
        raise Problem(INVALID, f"{errors[0]['pointer']}: {errors[0]['detail']}", errors=errors)


async def _existing(name: str, version: int | None, caller: Caller) -> KeptPolicy:
    found = await run_in_threadpool(caller.services.policies.get, name, version)
    if found is None:
        what = f"policy {name}" if version is None else f"version {version} of policy {name}"
        raise missing(what)
    return found


def _base(known: KeptPolicy | None, if_match: str | None) -> int | None:
    """The version that the change is based on; None where it makes a new policy."""
    if known is None:
        if if_match is not None:
            raise Problem(OUTDATED, "there is no such policy to change")
        return None
    if if_match is None:
        raise Problem(NO_PRECONDITION, "send If-Match with the ETag of the policy")
    _require_match(if_match, known)
    return known.version


def _tag(one: KeptPolicy) -> str:
    return f'"{one.version}.{one.digest[:16]}"'


def _require_match(if_match: str, known: KeptPolicy) -> None:
    tags = re.findall(r'"[^"]*"', if_match)
    if if_match.strip() != "*" and _tag(known) not in tags:
        raise Problem(OUTDATED, "the policy has changed since you read it")
