"""What is checked in is what is served, and what is served is what is documented."""

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from tests.api.conftest import World, serving
from tests.api.test_snapshot_service import Left

from testops.api.application import contract
from testops.domain.access import Role

DOCUMENT = Path(__file__).parents[2] / "openapi" / "testops.v1.json"
# Served by the gateway, which has its own tests.
STREAMS = {"streamTestRun", "streamTestRuns"}
EXAMPLES = 5
EXAMPLES_LONG = 60


def test_the_document_that_is_checked_in_is_the_one_that_the_code_writes() -> None:
    assert DOCUMENT.read_text() == contract(), "run `make openapi` and review the difference"


def test_the_document_names_no_server_and_every_operation() -> None:
    document = json.loads(DOCUMENT.read_text())
    assert document["openapi"].startswith("3.1")
    assert "servers" not in document
    operations = [one for item in document["paths"].values() for one in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    for operation in operations:
        assert operation["summary"]
        assert operation["tags"]
        assert "x-permission" in operation or operation["operationId"] in {
            "getHealth",
            "getReadiness",
            "getOpenApi",
            "finishLoginByIssuer",
            "login",
            "loginByIssuer",
            "pageOfDocs",
        }


# An archive is bytes on the wire as it is; whatever is generated for one is none.
schemathesis.serializer.alias("application/gzip", "application/octet-stream")


def checks() -> list[Any]:
    load_all_checks()
    names = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
    return [CHECKS.get_one(name) for name in names]


def held_by(world: World) -> dict[str, str]:
    return {"authorization": f"Bearer {world.token(Role.MAINTAINER)}"}


def exercise(world: World, app: Any, document: dict[str, Any], examples: int) -> Counter[int]:
    """Every operation with what it takes and what it does not; how often each status came."""
    seen: Counter[int] = Counter()
    wanted = checks()
    headers = held_by(world)
    with serving(app) as address, requests.Session() as session:
        session.trust_env = False
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=address)
        for found in schema.get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]
            if operation.definition.raw["operationId"] in STREAMS:
                continue
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                strategy = operation.as_strategy(generation_mode=mode)

                def check_one(case: Any) -> None:
                    response = case.call(headers=headers, session=session)
                    seen[response.status_code] += 1
                    case.validate_response(response, checks=wanted, headers=headers)

                _run(check_one, strategy, examples)
    return seen


def _run(check_one: Any, strategy: Any, examples: int) -> None:
    run = settings(
        max_examples=examples,
        deadline=None,
        # The same cases in every run of the tests: a failure is there again.
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with contextlib.suppress(Unsatisfiable):
        # Of an operation that takes nothing, nothing is wrong.
        run(given(case=strategy)(check_one))()


def kept_in(world: World, client: httpx.Client) -> tuple[str, str]:
    """A bundle under review: its identity, and the id of its review."""
    left = Left(client, world)
    first, moved = left(100)[1], left(99)[1]
    world.services.workspaces.require_approvals("default", 2)  # type: ignore[attr-defined]
    answer: httpx.Response
    for identity in (first, moved):
        tag = client.get(f"/v1/snapshots/{identity}").headers["etag"]
        url = f"/v1/snapshots/{identity}/approve"
        answer = client.post(url, json={"why": "a first"}, headers={"if-match": tag})
        assert answer.status_code == 200, answer.text
    return moved, answer.json()["review"]["review_id"]


def pointed(world: World, app: Any) -> dict[str, Any]:
    """The document, with its ids and names narrowed to some that are there and one that is not."""
    with serving(app) as address:
        client = httpx.Client(base_url=address, headers=held_by(world), trust_env=False, timeout=30)
        with client:
            ids = [
                client.post("/v1/test-runs", json={"suite": "core", "salt": salt}).json()["run_id"]
                for salt in ("ended", "waiting")
            ]
            schedule = {"name": "nightly", "cron": "0 3 * * *", "request": {"suite": "core"}}
            made = client.post("/v1/schedules", json=schedule)
            identity, review_id = kept_in(world, client)
    world.execute(ids[0], files={"reports/run.html": b"<p>ok", "a/b.json": b"{}"})
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    known = {
        "run_id": [*ids, "0" * 16],
        "schedule_id": [made.json()["schedule_id"], "0" * 16],
        "path": ["reports/run.html", "a/b.json", "nothing"],
        "identity": [identity, "0" * 64],
        "review_id": [review_id, "0" * 16],
        "workspace": ["default", "nowhere"],
        "name": ["core", "offline", "nothing"],
    }
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] in known and parameter["in"] in ("path", "query"):
                    parameter["schema"] = {"enum": known[parameter["name"]]}
    asked = document["components"]["schemas"]["TestRunAsked"]["properties"]
    asked["suite"] = {"anyOf": [{"enum": ["core"]}, {"$ref": "#/components/schemas/Suite"}]}
    asked["workspace"] = {"enum": ["default"]}
    return document


def test_no_answer_is_undocumented_or_a_failure_of_ours(world: World, app: Any) -> None:
    seen = exercise(world, app, pointed(world, app), EXAMPLES)
    assert {200, 202, 404, 409, 422} <= set(seen), seen
    assert not [status for status in seen if status >= 500]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_answer_is_undocumented_or_a_failure_of_ours_at_length(world: World, app: Any) -> None:
    for document in (pointed(world, app), json.loads(DOCUMENT.read_text())):
        exercise(world, app, document, EXAMPLES_LONG)
