"""From the words of a request (and of a schedule, which is a request kept for later) to a run.

The words were checked against the schema by whoever took them; here they get their meaning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from testops.domain.policy import PolicyAsked
from testops.domain.run import Build
from testops.domain.run_view import PRIORITY_DEFAULT, NewRun, RunView
from testops.domain.schedule import Schedule
from testops.domain.stage import StageName
from testops.runner.planning import Asked, Means, Planned, plan
from testops.runner.seeding import SeedFlags

_POLICY: TypeAdapter[PolicyAsked] = TypeAdapter(PolicyAsked)


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace as planning sees it.

    `is_own`: its files are those of the server's operator, so a suite that is found there was
    chosen by them; `allow_commands`: so may be what anybody sends.
    """

    name: str
    root: Path
    is_own: bool
    allow_commands: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """How a run is wanted, which is no part of what it answers."""

    created_by: str
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = PRIORITY_DEFAULT
    deadline_s: float | None = None
    traceparent: str | None = None


def asked_of(body: Mapping[str, Any], place: Place) -> Asked:
    """What the body of `POST /v1/test-runs` asks for, in `place`."""
    stages = body.get("stages")
    return Asked(
        suite=body["suite"],
        folder=place.root,
        profile=body.get("profile"),
        seeds=_seeds(body.get("seeds") or {}),
        policy=_policy(body.get("policy")),
        only=None if stages is None else frozenset(StageName(stage) for stage in stages),
        build=_build(body.get("build")),
        salt=body.get("salt"),
        workspace=place.name,
        commands_allowed=place.allow_commands,
        own_files=place.is_own,
        baseline=body.get("baseline"),
    )


def new_run(planned: Planned, wish: Wish) -> NewRun:
    """The planned run, as a store keeps it."""
    return NewRun(
        run_id=planned.run_id,
        workspace=planned.workspace,
        suite=planned.suite,
        suite_shown=planned.suite_shown,
        profile=planned.profile,
        seeds=planned.seeds,
        question=planned.question,
        build=planned.build,
        engine_version=planned.engine_version,
        reproduce=planned.reproduce,
        created_by=wish.created_by,
        labels=wish.labels,
        priority=wish.priority,
        deadline_s=wish.deadline_s,
        traceparent=wish.traceparent,
    )


def request_of(view: RunView) -> dict[str, Any]:
    """The words that ask for the very same suite, profile and seeds as a run did."""
    question = view.question
    return {
        "suite": question["suite"],
        "profile": question["profile"],
        "seeds": seeds_again(question["sim_seeds"], sim=view.seeds.sim, chaos=view.seeds.chaos),
    }


def seeds_again(sim_seeds: Sequence[int], *, sim: int, chaos: int) -> dict[str, Any]:
    """The seeds of a run as a request spells them."""
    if not sim_seeds or sim_seeds[-1] < sim_seeds[0]:
        # No sim stage, or a count that went round the largest seed, which no range spells.
        return {"sim": sim, "chaos": chaos}
    first = sim_seeds[0]
    return {"sim_range": f"{first}:{first + len(sim_seeds)}", "chaos": chaos}


def _seeds(given: Mapping[str, Any]) -> SeedFlags:
    sim, chaos = given.get("sim"), given.get("chaos")
    return SeedFlags(
        sim=None if sim is None else str(sim),
        chaos=None if chaos is None else str(chaos),
        sim_range=given.get("sim_range"),
    )


def _policy(given: Any) -> PolicyAsked | None:
    return None if given is None else _POLICY.validate_python(given)


def _build(given: Mapping[str, Any] | None) -> Build | None:
    if given is None:
        return None
    return Build(given.get("commit"), None, given.get("version"), stated=True)


def run_due(
    schedule: Schedule, due_at: str, place_called: Callable[[str], Place], means: Means
) -> NewRun:
    """The run that a schedule asks for at one of its times; `BadInput` when it cannot be one.

    The due time is in its salt: a nightly run executes although nothing has changed.
    """
    body = dict(schedule.request)
    salt = f"{body.get('salt', '')}schedule {schedule.schedule_id} at {due_at}"
    asked = asked_of({**body, "salt": salt}, place_called(schedule.workspace))
    wish = Wish(
        created_by=f"schedule {schedule.name}",
        labels={**body.get("labels", {}), "schedule": schedule.name, "due": due_at},
        priority=body.get("priority", PRIORITY_DEFAULT),
        deadline_s=body.get("deadline_s"),
    )
    return new_run(plan(asked, means), wish)
