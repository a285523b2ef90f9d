"""What asking again means, as the request that asks it: the same, what failed, or new seeds.

The build is always looked at anew, unless a client stated it: a rerun under another build is
another question, and gets the id of that one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from testops.api.problems import CONFLICT, Problem
from testops.domain.run_view import RunView
from testops.domain.verdict import Verdict
from testops.runner.asking import seeds_again

_BLOCKING = frozenset({Verdict.FAIL.value, Verdict.INCONCLUSIVE.value})


def request_again(view: RunView, mode: str, draw_seed: Callable[[], int]) -> dict[str, Any]:
    """The body of a request that asks `view`'s question again."""
    question = view.question
    body: dict[str, Any] = {
        "suite": question["suite"],
        "profile": question["profile"],
        "seeds": _seeds(view, draw_seed if mode == "new-seed" else None),
        "stages": _failed(view) if mode == "failed" else list(question["stages"]),
        "workspace": view.workspace,
        "labels": dict(view.labels),
        "priority": view.priority,
    }
    if question.get("salt") is not None:
        body["salt"] = question["salt"]
    if question.get("policy") is not None:
        # As it was: what a server calls by its name may have another version by now.
        body["policy"] = question["policy"]["definition"]
    if question.get("baseline") is not None:
        body["baseline"] = question["baseline"]
    if view.build.stated:
        stated = {"commit": view.build.commit, "version": view.build.version}
        body["build"] = {name: value for name, value in stated.items() if value is not None}
    return body


def comparing(suite: Mapping[str, Any]) -> dict[str, Any]:
    """The suite with a stage that compares, where it has none."""
    stages = dict(suite["stages"])
    stages["snapshot-compare"] = stages.get("snapshot-compare") or {}
    return {**suite, "stages": stages}


def _failed(view: RunView) -> list[str]:
    verdicts = {stage.name: (stage.report or {}).get("verdict") for stage in view.stages}
    failed = [name for name, verdict in verdicts.items() if verdict in _BLOCKING]
    if not failed:
        raise Problem(CONFLICT, "nothing failed in the newest attempt; ask for `same` instead")
    if "snapshot-compare" in failed and "sim" not in failed:
        # It compares what sim leaves in the same run.
        failed.insert(0, "sim")
    return failed


def _seeds(view: RunView, draw_seed: Callable[[], int] | None) -> dict[str, Any]:
    sim_seeds = view.question["sim_seeds"]
    sim, chaos = view.seeds.sim, view.seeds.chaos
    if draw_seed is not None:
        sim, chaos = draw_seed(), draw_seed()
    again = seeds_again(sim_seeds, sim=sim, chaos=chaos)
    if draw_seed is not None and "sim_range" in again:
        first = min(sim, 2**64 - len(sim_seeds))
        again["sim_range"] = f"{first}:{first + len(sim_seeds)}"
    return again
