"""What a project measured before is read from its records, the newest first; so is a server's."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.runner.conftest import FakeSimulator

from testops.domain.history import History, PastRun
from testops.domain.run import Run
from testops.domain.stage import StageName
from testops.domain.verdict import Verdict
from testops.runner.history import FileHistory
from testops.runner.projects import Project
from testops.runner.records import RunStore
from testops.runner.service import Request, Tools
from testops.runner.service import answer as answer_request

EVERY = frozenset(Verdict)


def run(request: Request, tools: Tools) -> Run:
    return answer_request(request, tools, listener=lambda _: None, told=lambda _: None)


def newest(project: Project, **asked: Any) -> list[PastRun]:
    history: History = FileHistory(RunStore(project))
    usual: dict[str, Any] = {"suite": "core", "profile": None, "verdicts": EVERY, "limit": 10}
    return list(history.runs(**{**usual, **asked}))


def test_a_run_is_remembered_with_its_exact_metrics_and_samples(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    done = run(request_for(), tools)
    [past] = newest(project)
    sim = next(stage for stage in done.stages if stage.name is StageName.SIM)
    assert (past.run_id, past.attempt, past.verdict) == (done.run_id, 1, Verdict.PASS)
    assert past.metrics[StageName.SIM] == {n: m.value for n, m in sim.metrics.items()}
    walls = sim.metrics["execution_wall_s"].samples
    assert past.samples == {StageName.SIM: {"execution_wall_s": walls}}
    assert past.engine_version == done.engine_version


def test_the_newest_come_first_and_no_more_than_asked_for(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    for seed in range(4):
        run(request_for(seeds=replace(request_for().seeds, sim=str(seed))), tools)
    past = newest(project, limit=3)
    assert len(past) == 3
    finished = [one.finished_at for one in past]
    assert finished == sorted(finished, reverse=True)


@pytest.mark.parametrize(
    "asked",
    [{"suite": "other"}, {"profile": "heavy"}, {"verdicts": frozenset({Verdict.FAIL})}],
    ids=str,
)
def test_only_what_was_asked_for_is_history(
    project: Project, tools: Tools, request_for: Callable[..., Request], asked: dict[str, Any]
) -> None:
    run(request_for(), tools)
    assert newest(project, **asked) == []


@pytest.mark.parametrize("state", ["cancelled", "errored", "running", "queued"])
def test_what_did_not_finish_is_no_history(
    project: Project, tools: Tools, request_for: Callable[..., Request], state: str
) -> None:
    done = run(request_for(), tools)
    path = _record(project, done)
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": state}))
    assert newest(project) == []


def test_every_ended_attempt_of_one_run_is_known_also_one_that_was_cut_short(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    first, second = run(request_for(), tools), run(request_for(), tools)
    for done, state in ((first, "cancelled"), (second, "finished")):
        path = _record(project, done)
        path.write_text(json.dumps({**json.loads(path.read_text()), "state": state}))
    found = FileHistory(RunStore(project)).attempts(first.run_id)
    assert [(past.attempt, past.state.value) for past in found] == [
        (2, "finished"),
        (1, "cancelled"),
    ]
    assert found[1].metrics[StageName.SIM]["determinism_percent"] == 100
    assert list(FileHistory(RunStore(project)).attempts("0" * 16)) == []


def test_a_record_that_cannot_be_read_hides_no_other(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    done = run(request_for(), tools)
    broken = project.snapshots / "runs" / ("0" * 16) / "attempt-1.json"
    broken.parent.mkdir()
    broken.write_text("{")
    strange = {"state": "finished", "suite": "core", "profile": "offline", "verdict": "pass"}
    broken.with_name("attempt-2.json").write_text(json.dumps(strange))
    assert [past.run_id for past in newest(project)] == [done.run_id]


def test_a_record_of_a_release_that_kept_less_is_read_as_far_as_it_goes(
    project: Project, tools: Tools, request_for: Callable[..., Request]
) -> None:
    done = run(request_for(), tools)
    body = done.to_json()
    for gate in body["gates"]:
        for name in ("name", "kind", "unit", "margin", "source", "weight", "key", "waiver"):
            del gate[name]
    _record(project, done).write_text(json.dumps(body))
    [past] = newest(project)
    assert past.metrics[StageName.SIM]["determinism_percent"] == 100
    assert past.samples == {}


def test_a_relative_gate_of_a_new_suite_is_open_and_closes_with_its_history(
    project: Project,
    tools: Tools,
    simulator: FakeSimulator,
    request_for: Callable[..., Request],
) -> None:
    """The whole way: a suite that lets its first runs warn, and then bites."""
    suite = project.suites / "core.yaml"
    gate = (
        "  - stage: sim\n    metric: executions\n"
        "    relative: {at_most_percent: 100, min_runs: 2, when_no_history: %s}\n"
    )
    plain = suite.read_text()
    suite.write_text(f"{plain}gates:\n{gate % 'inconclusive'}")
    assert run(request_for(), tools).verdict is Verdict.INCONCLUSIVE
    suite.write_text(f"{plain}gates:\n{gate % 'warn'}")
    assert [run(request_for(), tools).verdict for _ in range(3)] == [
        Verdict.WARN,
        Verdict.WARN,
        Verdict.PASS,
    ]
    more = replace(request_for().seeds, sim_range="0:9")
    done = run(request_for(seeds=more), tools)
    result = next(gate for gate in done.gates if gate.rule.metric == "executions")
    assert result.verdict is Verdict.FAIL
    assert len(result.baseline_runs) == 3


def _record(project: Project, done: Run) -> Path:
    return project.snapshots / "runs" / done.run_id / f"attempt-{done.attempt}.json"
