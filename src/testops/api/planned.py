"""From a request to a planned run: the workspace that it names, and what is wrong with it."""

from collections.abc import Sequence
from typing import Any

from testops.api.ports import ApiServices
from testops.api.problems import INVALID, INVALID_SUITE, Problem, error_at, problem_of_input
from testops.api.schemas import TestRunAsked
from testops.domain.errors import BadInput
from testops.domain.run import RUN_ID_LENGTH
from testops.domain.run_view import RunView
from testops.domain.snapshot import KeptBundle
from testops.domain.workspace import Workspace, WorkspaceKind
from testops.runner.asking import Place, asked_of
from testops.runner.planning import Planned, plan
from testops.warroom.rules import Rules

_SEEDS_SHOWN_MAX = 100


def place_in(services: ApiServices, name: str) -> Place:
    """The workspace as planning sees it; a `Problem` where there is none."""
    workspace = services.workspaces.get(name)
    if workspace is None:
        detail = f"there is no workspace {name}"
        errors = [error_at("body", "/workspace", detail)]
        raise Problem(INVALID, detail, errors=errors)
    return place_of(services, workspace)


def place_of(services: ApiServices, workspace: Workspace) -> Place:
    """A workspace as planning sees it."""
    return Place(
        name=workspace.name,
        root=services.workspaces.root_of(workspace),
        is_own=workspace.kind is WorkspaceKind.PATH,
        allow_commands=workspace.allow_commands,
    )


def body_of(asked: TestRunAsked) -> dict[str, Any]:
    """The request as it is kept: without what nobody said."""
    return asked.model_dump(mode="json", by_alias=True, exclude_none=True)


def planned_run(services: ApiServices, body: dict[str, Any]) -> Planned:
    """The run that `body` asks for, planned; reads files, and git where no build is named."""
    place = place_in(services, body.get("workspace", "default"))
    body = with_baseline(services, body)
    try:
        return plan(asked_of(body, place), services.means)
    except BadInput as error:
        raise _without_places_of_ours(problem_of_input(error), place) from error


def with_baseline(services: ApiServices, body: dict[str, Any]) -> dict[str, Any]:
    """The request with its baseline, if it names one, as the identity of a bundle.

    A run is named for what it left, and could leave something else in another attempt.
    """
    named = body.get("baseline")
    if named is None:
        return body
    workspace = body.get("workspace", "default")
    found: Sequence[KeptBundle] = ()
    if len(named) == RUN_ID_LENGTH:
        kept = services.snapshots.of_run(named)
        found = [] if kept is None or kept.workspace != workspace else [kept]
    else:
        found = services.snapshots.get(named, frozenset({workspace}))
    if not found:
        detail = f"workspace {workspace} has no bundle {named}"
        raise Problem(INVALID, detail, errors=[error_at("body", "/baseline", detail)])
    return {**body, "baseline": found[0].identity}


def _without_places_of_ours(problem: Problem, place: Place) -> Problem:
    """A client learns what is wrong, not where the server keeps it."""
    root = f"{place.root}/"
    errors = [
        {name: text.replace(root, "") for name, text in error.items()} for error in problem.errors
    ]
    return Problem(INVALID_SUITE, problem.detail.replace(root, ""), errors=errors)


def plan_shown(planned: Planned, existing: RunView | None) -> dict[str, Any]:
    """The plan as a dry run answers it."""
    sim = planned.found.sim
    kernels = () if sim is None else sim.kernels
    by = Rules.of(planned.found.suite_file.suite, planned.found.policy)
    rules = [rule for stage in planned.stages for rule in by.for_stage(stage)]
    return {
        "run_id": planned.run_id,
        "existing": None if existing is None else existing.state.value,
        "workspace": planned.workspace,
        "suite": planned.suite,
        "profile": planned.profile,
        "seeds": planned.seeds.to_json(),
        "build": planned.build.to_json(),
        "engine_version": planned.engine_version,
        "baseline": planned.question.get("baseline"),
        "stages": [
            {
                "name": name.value,
                "timeout_s": stage.timeout_s,
                "attempts_max": stage.attempts_max,
            }
            for name, stage in planned.found.stages.items()
        ],
        "kernels": [
            {
                "name": kernel.name,
                "run": f"{kernel.shown}::{kernel.function}",
                "verify": kernel.verify,
            }
            for kernel in kernels
        ],
        "sim_seed_count": len(planned.sim_seeds),
        "sim_seeds": list(planned.sim_seeds[:_SEEDS_SHOWN_MAX]),
        "executions": len(planned.sim_seeds) * len(kernels),
        "gates": [
            {
                "name": rule.name,
                "kind": rule.kind.value,
                "condition": rule.condition,
                "stage": rule.stage.value,
                "metric": rule.metric,
                "op": rule.op.value,
                "threshold": rule.threshold,
                "severity": rule.severity.value,
                "weight": rule.weight,
                "key": rule.key,
            }
            for rule in rules
        ],
        "reproduce": planned.reproduce,
    }
