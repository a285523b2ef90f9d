"""Reports of other tools, read by the server; and the tests that its runs make doubtful."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import ClientOf, World, problem

from testops.domain.access import Role
from testops.domain.test_case import Outcome, TestCase
from testops.reports.test_record import Circumstances, write_test_record

FILES = Path(__file__).parents[1] / "fixtures" / "reports"


def read(client: httpx.Client, name: str, **more: Any) -> httpx.Response:
    content = (FILES / name).read_text()
    return client.post("/v1/reports/import", json={"name": name, "content": content, **more})


def test_a_report_is_read_with_the_metrics_of_gates(client: httpx.Client) -> None:
    said = read(client, "k6-handle-summary.json", suite="checkout").json()
    assert (said["format"], said["suite"]) == ("k6", "checkout")
    assert said["metrics"]["p95_ms"] == pytest.approx(13.9947, abs=0.001)
    assert said["performance"]["tool"] == "k6"
    assert read(client, "pytest-junit.xml", format="junit").json()["metrics"]["failed"] == 2


def test_a_report_that_cannot_be_read_is_a_problem_that_names_the_place(
    client: httpx.Client,
) -> None:
    body = {"name": "k6.json", "content": '{"metrics": {"http_reqs": [1], "iterations": {}}}'}
    said = problem(client.post("/v1/reports/import", json=body), 422, "invalid-request")
    assert said["errors"][0]["pointer"] == "/content"
    assert "k6.json: /metrics/http_reqs: a list where an object must be" in said["detail"]
    body = {"name": "x", "content": "<a/>", "format": "tap"}
    problem(client.post("/v1/reports/import", json=body), 422, "invalid-request")


def test_a_report_cannot_ask_for_files_of_the_server(client: httpx.Client, tmp_path: Path) -> None:
    def fingerprint(path: str) -> str:
        place = {"artifactLocation": {"uri": path}, "region": {"startLine": 1}}
        result = {"message": {"text": "m"}, "locations": [{"physicalLocation": place}]}
        run = {"tool": {"driver": {"name": "t"}}, "results": [result]}
        body = json.dumps({"version": "2.1.0", "runs": [run]})
        answer = client.post("/v1/reports/import", json={"name": "s", "content": body}).json()
        return str(answer["findings"][0]["fingerprint"])

    secret = tmp_path / "secret"
    before = fingerprint(str(secret))
    secret.write_text("what nobody may learn\n")
    assert fingerprint(str(secret)) == before


def test_load_tests_are_shown_as_json_or_as_a_page(client: httpx.Client) -> None:
    content = (FILES / "k6-handle-summary.json").read_text()
    body = {"files": [{"name": "k6.json", "content": content}]}
    said = client.post("/v1/reports/performance", json=body)
    assert [one["tool"] for one in said.json()["tests"]] == ["k6"]
    page = client.post("/v1/reports/performance", json=body, headers={"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "k6" in page.text
    junit = {"name": "j.xml", "content": (FILES / "pytest-junit.xml").read_text()}
    refused = client.post("/v1/reports/performance", json={"files": [junit]})
    assert "no load test" in problem(refused, 422, "invalid-request")["detail"]


def test_hardening_is_told_by_results_and_old_ones_are_stale(client: httpx.Client) -> None:
    def stands(at: str) -> dict[str, Any]:
        check = {"phase": 6, "name": "sast", "verdict": "pass", "at": at}
        content = json.dumps({"schema": 1, "checks": [check]})
        body = {"files": [{"name": "results.json", "content": content}]}
        phases = client.post("/v1/reports/hardening", json=body).json()["phases"]
        return dict(next(phase for phase in phases if phase["phase"] == 6))

    assert stands(datetime.now(UTC).isoformat())["stale"] == []
    old = stands("2020-01-01T00:00:00+00:00")
    assert (old["stale"], old["verdict"]) == (["sast"], "inconclusive")
    wrong = {"files": [{"name": "r.json", "content": "{}"}]}
    said = problem(client.post("/v1/reports/hardening", json=wrong), 422, "invalid-request")
    assert "r.json: it is not of schema 1" in said["detail"]


def test_reading_needs_an_operator(client_of: ClientOf) -> None:
    body = {"name": "x", "content": "SF:a\nend_of_record\n"}
    viewer = client_of(Role.VIEWER)
    assert viewer.post("/v1/reports/import", json=body).status_code == 403
    assert viewer.get("/v1/reports/flaky").status_code == 200
    other = client_of(Role.VIEWER, frozenset({"other"}))
    assert other.get("/v1/reports/flaky", params={"workspace": "default"}).status_code >= 403


def record(outcome: Outcome, seed: int = 42) -> dict[str, bytes]:
    cases = [TestCase("t.py::test_it", outcome)]
    text = write_test_record(Circumstances("seeded", seed, "loopback-only"), cases)
    return {"reports/tests.json": text.encode()}


def test_a_test_that_ended_both_ways_in_two_attempts_of_a_run_is_flaky(
    client: httpx.Client, world: World
) -> None:
    run_id = client.post("/v1/test-runs", json={"suite": "core"}).json()["run_id"]
    world.execute(run_id, files=record(Outcome.PASSED))
    assert client.get("/v1/reports/flaky").json()["suspects"] == []
    again = client.post(f"/v1/test-runs/{run_id}/rerun", json={"mode": "same"}).json()
    assert again["run_id"] == run_id
    world.execute(run_id, files=record(Outcome.FAILED))
    response = client.get("/v1/reports/flaky", params={"suite": "core"})
    (suspect,) = response.json()["suspects"]
    assert (suspect["test"], suspect["kind"]) == ("t.py::test_it", "flaky")
    assert response.json()["runs"] == 2
    held = {"if-none-match": response.headers["etag"]}
    assert client.get("/v1/reports/flaky?suite=core", headers=held).status_code == 304
    assert client.get("/v1/reports/flaky?suite=other").json()["runs"] == 0


def test_a_record_that_is_none_leaves_its_run_out(client: httpx.Client, world: World) -> None:
    run_id = client.post("/v1/test-runs", json={"suite": "core"}).json()["run_id"]
    world.execute(run_id, files={"reports/tests.json": b"{}"})
    assert client.get("/v1/reports/flaky").json()["runs"] == 0
