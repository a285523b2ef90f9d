"""`/v1/gates/selftest` and `/v1/gates/evaluate`: gates tried, and a run judged again."""

from typing import Annotated, Any

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from testops.api.answers import answer, problems
from testops.api.ports import ApiServices
from testops.api.problems import INVALID, Problem, error_at
from testops.api.routing import Admitted, permits, router
from testops.api.runs import existing_run
from testops.api.schemas import GateShown, ScoreShown, Wire
from testops.domain.access import Permission
from testops.domain.policy import Gate, Policy, ServerPolicy
from testops.domain.run_view import RunView
from testops.domain.shapes import Strict
from testops.domain.suite import Suite
from testops.domain.verdict import Verdict
from testops.runner.policies import policy_given
from testops.runner.rejudging import record_of, rejudge
from testops.warroom.rules import Rules
from testops.warroom.selftest import selftest

routes = router("policies")

_PolicyAsked = ServerPolicy | Policy


class GatesTried(Strict):
    """Gates of a suite, and a policy; what neither names is judged by the defaults."""

    gates: list[Gate] = Field(default_factory=list, max_length=200)
    policy: _PolicyAsked | None = None


class TriedShown(Wire):
    """One gate: evidence that it rejects, evidence that it takes, and what is wrong with it."""

    name: str
    condition: str
    bad: str
    good: str
    ok: bool
    problem: str


class TriedList(Wire):
    """Every gate, and the score where there is one."""

    ok: bool
    gates: list[TriedShown]


class EvaluationAsked(Strict):
    """A run, and what it is judged by: left out, the policy that it had."""

    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    policy: _PolicyAsked | None = None
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")] | None = Field(
        None, description="What is of another build proves nothing."
    )


class EvaluationShown(Wire):
    """What the newest attempt is worth by these rules; `was` is what it was worth when it ended."""

    run_id: str
    attempt: int
    verdict: Verdict
    exit_code: int
    score: ScoreShown | None
    was: Verdict | None
    gates: list[GateShown]
    waivers_unused: list[str]


@routes.post(
    "/v1/gates/selftest",
    operation_id="tryGates",
    summary="Show that gates can go red",
    responses={**problems(body=True), 200: {"model": TriedList}},
)
@permits(Permission.POLICIES_READ)
async def try_gates(asked: GatesTried, caller: Admitted) -> Response:
    """Each is given evidence that it must reject, and evidence that it must take."""

    def tried() -> list[dict[str, Any]]:
        policy = _policy(caller.services, asked.policy)
        rules = Rules(tuple(gate.as_rule() for gate in asked.gates), policy)
        return [one.to_json() for one in selftest(rules)]

    found = await run_in_threadpool(tried)
    return answer({"ok": all(one["ok"] for one in found), "gates": found})


@routes.post(
    "/v1/gates/evaluate",
    operation_id="evaluateGates",
    summary="Judge a run again",
    responses={**problems(body=True), 200: {"model": EvaluationShown}},
)
@permits(Permission.RUNS_READ)
async def evaluate_gates(asked: EvaluationAsked, caller: Admitted) -> Response:
    """Its newest attempt, by another policy or by what is known now. The run keeps its verdict."""
    view = await existing_run(caller, asked.run_id)
    return answer(await run_in_threadpool(_evaluated, caller.services, view, asked))


def _evaluated(services: ApiServices, view: RunView, asked: EvaluationAsked) -> dict[str, Any]:
    record = record_of(view)
    policy = _policy(services, asked.policy)
    if policy is None and record.definition is not None:
        policy = policy_given(record.definition)
    done = rejudge(
        record,
        Rules.of(Suite.model_validate(view.question["suite"]), policy),
        history=services.history_of(view.workspace),
        waivers=services.waivers.all(frozenset({view.workspace})),
        clock=services.clock,
        commit=asked.commit,
    )
    return done.to_json(record)


def _policy(services: ApiServices, asked: _PolicyAsked | None) -> Policy | None:
    if not isinstance(asked, ServerPolicy):
        return asked
    kept = services.policies.get(asked.server)
    if kept is None:
        detail = f"the server has no policy {asked.server}"
        errors = [error_at("body", "/policy/server", detail, f"PUT /v1/policies/{asked.server}")]
        raise Problem(INVALID, detail, errors=errors)
    return policy_given(kept.definition)
