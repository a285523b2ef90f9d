"""A run's page from the server is the same page, of that attempt, for who may see the run."""

import json
from collections.abc import Mapping

import httpx
from tests.api.conftest import ClientOf, World, problem
from tests.support.report_pages import checked

from testops.domain.access import Role
from testops.domain.execution import Ending, StageRecord
from testops.domain.gate import GateResult, GateRule, Op
from testops.domain.run import RunState
from testops.domain.stage import Metric, Ran, StageName, StageReport, StageState
from testops.domain.verdict import ExitCode, Verdict
from testops.storage.executions import ExecutionsStore


def asked(client: httpx.Client, salt: str = "one") -> str:
    made = client.post("/v1/test-runs", json={"suite": "core", "salt": salt})
    return str(made.json()["run_id"])


def executed(
    world: World, run_id: str, verdict: Verdict, files: Mapping[str, bytes], identity: str
) -> None:
    """A runner took the run, its one stage left `files`, and it ended with that bundle."""
    executions = ExecutionsStore(world.database)
    taken = executions.take(run_id, 1, "test-runner")
    assert taken is not None
    executions.begin_stage(taken, "sim", "test-runner")
    left = [world.keep(path, content) for path, content in files.items()]
    report = StageReport(
        StageName.SIM, StageState.RAN, verdict, artifacts=tuple(one.path for one in left)
    )
    executions.record(taken, StageRecord("sim", report.to_full_json(), [], left))
    ending = Ending(RunState.FINISHED, verdict, ExitCode.FAILED, bundle_identity=identity)
    executions.finish(taken, ending)


def test_the_page_has_the_verdict_and_what_the_run_left(client: httpx.Client, world: World) -> None:
    run_id = asked(client)
    kernels = [{"kernel": "echo", "executions": 2, "identical": 2, "determinism_percent": 100.0}]
    comparison = {
        "verdict": "fail",
        "reason": "1 delta",
        "target": {"identity": "a" * 64},
        "delta_count": 1,
        "executions": {"compared": 2, "equal": 1, "differing": 1},
        "summary": [{"kernel": "echo", "field": "/o", "kind": "changed", "executions": 1}],
        "deltas": [],
    }
    files = {
        "reports/determinism.json": json.dumps({"kernels": kernels}).encode(),
        "reports/snapshot_diff.json": json.dumps(comparison).encode(),
        "reports/<b>&.html": b"<script>",
    }
    executed(world, run_id, Verdict.FAIL, files, "a" * 64)
    answer = client.get(f"/v1/test-runs/{run_id}/report")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.endswith("frame-ancestors 'none'")
    page = checked(answer.text)
    assert "Fail · no-go" in page.words
    assert "echo 2 2 100%" in page.words
    assert "1 delta in 1 of 2 executions, by field." in page.words
    links = [url for url in page.loads if "/artifacts/" in url]
    assert len(links) == 3
    for link in links:
        assert client.get(link).status_code == 200


def test_the_client_that_has_it_gets_304_until_it_changes(
    client: httpx.Client, world: World
) -> None:
    run_id = asked(client)
    url = f"/v1/test-runs/{run_id}/report"
    waiting = client.get(url)
    assert "There is no verdict yet" not in waiting.text
    assert "Queued" in checked(waiting.text).words
    known = {"if-none-match": waiting.headers["etag"]}
    again = client.get(url, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    world.execute(run_id)
    ended = client.get(url, headers=known)
    assert ended.status_code == 200
    assert "Pass · go" in checked(ended.text).words


def test_a_comparison_of_another_bundle_is_not_shown(client: httpx.Client, world: World) -> None:
    run_id = asked(client)
    other = {"target": {"identity": "b" * 64}, "delta_count": 7}
    files = {"reports/snapshot_diff.json": json.dumps(other).encode()}
    executed(world, run_id, Verdict.PASS, files, "a" * 64)
    page = checked(client.get(f"/v1/test-runs/{run_id}/report").text)
    assert "Behaviour against the baseline" not in page.words


def test_a_broken_or_removed_report_is_left_out(client: httpx.Client, world: World) -> None:
    run_id = asked(client)
    files = {"reports/determinism.json": b"{", "reports/snapshot_diff.json": b"[]"}
    executed(world, run_id, Verdict.PASS, files, "a" * 64)
    assert client.get(f"/v1/test-runs/{run_id}/report").status_code == 200


def test_another_s_run_is_not_there(client_of: ClientOf, client: httpx.Client) -> None:
    run_id = asked(client)
    stranger = client_of(Role.VIEWER, frozenset({"other"}))
    problem(stranger.get(f"/v1/test-runs/{run_id}/report"), 404, "not-found")
    problem(client.get(f"/v1/test-runs/{'f' * 16}/report"), 404, "not-found")
    assert client_of(Role.VIEWER).get(f"/v1/test-runs/{run_id}/report").status_code == 200


def runs_that_measured(
    client: httpx.Client, world: World, values: list[float], **asked_for: object
) -> None:
    for number, value in enumerate(values):
        body = {"suite": "core", "salt": f"trend-{number}", **asked_for}
        run_id = client.post("/v1/test-runs", json=body).json()["run_id"]
        executions = ExecutionsStore(world.database)
        taken = executions.take(run_id, 1, "test-runner")
        assert taken is not None
        executions.begin_stage(taken, "sim", "test-runner")
        measured = Ran((Metric("p95_ms", value, "x", "ms"),))
        report = StageReport(
            StageName.SIM,
            StageState.RAN,
            Verdict.PASS,
            metrics={metric.name: metric for metric in measured.metrics},
        )
        rule = GateRule(StageName.SIM, "p95_ms", Op.AT_MOST, 250.0)
        gate = GateResult(rule, Verdict.PASS, value, "it is").to_full_json()
        executions.record(taken, StageRecord("sim", report.to_full_json(), [gate], []))
        executions.finish(taken, Ending(RunState.FINISHED, Verdict.PASS, ExitCode.HOLDS))


def test_trends_are_json_a_page_or_a_table_as_the_client_accepts(
    client: httpx.Client, world: World
) -> None:
    runs_that_measured(client, world, [100, 101, 99, 100, 101, 99, 150, 151, 149, 150, 151])
    url = "/v1/reports/trends?suite=core&metric=sim.p95_ms"
    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    (series,) = answer.json()["series"]
    assert series["values"] == [100, 101, 99, 100, 101, 99, 150, 151, 149, 150, 151]
    assert series["threshold"] == {"op": "<=", "value": 250}
    assert [change["index"] for change in series["changes"]] == [6]
    assert series["changes"][0]["sense"] == "worse"
    again = client.get(url, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    page = client.get(url, headers={"accept": "text/html"})
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    seen = checked(page.text)
    assert "1 of 1 metrics changed level" in seen.words
    links = {link for link in seen.loads if link.endswith("/report")}
    assert len(links) == 11
    assert client.get(links.pop()).status_code == 200
    table = client.get(url, headers={"accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert len(table.text.splitlines()) == 12


def test_trends_are_of_one_workspace_for_who_may_see_it(
    client: httpx.Client, client_of: ClientOf, world: World
) -> None:
    runs_that_measured(client, world, [100, 101])
    url = "/v1/reports/trends?suite=core"
    assert client.get(f"{url}&workspace=other").json()["runs"] == []
    stranger = client_of(Role.VIEWER, frozenset({"other"}))
    assert stranger.get(url).status_code in (403, 404)
    assert len(client.get(f"{url}&runs=1").json()["runs"]) == 1


def test_a_metric_that_nobody_measured_is_a_problem_that_names_those_that_were(
    client: httpx.Client, world: World
) -> None:
    runs_that_measured(client, world, [100])
    answer = client.get("/v1/reports/trends?suite=core&metric=sim.nope")
    body = problem(answer, 422, "invalid-request")
    assert "name one of sim.p95_ms" in body["detail"]
    problem(client.get("/v1/reports/trends"), 422, "invalid-request")
    problem(client.get("/v1/reports/trends?suite=core&runs=0"), 422, "invalid-request")
