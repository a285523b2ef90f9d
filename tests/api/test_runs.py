"""Asking for runs: one question is one run, a mistake is pointed at, and nothing is asked twice."""


import httpx
from tests.api.conftest import World

RUNS = "/v1/test-runs"
ASKED = {"suite": "core", "seeds": {"sim": 42, "chaos": 7}}


def test_the_first_request_gets_202_and_the_place_of_its_run(
    client: httpx.Client, world: World
) -> None:
    response = client.post(RUNS, json=ASKED)
    assert response.status_code == 202, response.text
    body = response.json()
    assert response.headers["location"] == f"{RUNS}/{body['run_id']}"
    assert (body["state"], body["verdict"], body["attempt"]) == ("queued", None, 1)
    assert body["events_url"] == f"{RUNS}/{body['run_id']}/events"
    assert body["reproduce"] == "testops run core --profile offline --seed 42 --chaos-seed 7"
    assert [one.run_id for one in world.submitted] == [body["run_id"]]
    assert client.get(response.headers["location"]).json() == body


def test_an_identical_request_gets_200_and_the_same_run(client: httpx.Client, world: World) -> None:
    first = client.post(RUNS, json=ASKED)
    second = client.post(RUNS, json=ASKED)
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json()["run_id"] == first.json()["run_id"]
    assert len(world.submitted) == 1
