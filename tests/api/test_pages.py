"""The plain pages: readable without script, safe with hostile content, and complete offline."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import httpx
from tests.api.conftest import World, definition

from testops.api.page_parts import SCRIPT, STYLE
from testops.domain.verdict import Verdict


class Outline(HTMLParser):
    """What a page is made of; raises nothing, remembers tags, links and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(response: httpx.Response) -> Outline:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/html")
    made = Outline(response.text)
    assert made.open == []
    assert made.tags.count("h1") == made.tags.count("main") == 1
    # Nothing comes from another place.
    assert not [one for one in made.addresses if "//" in one]
    return made


def test_the_first_page_lists_runs_with_their_verdicts(client: httpx.Client, world: World) -> None:
    assert "No run yet" in client.get("/").text
    ids = [
        client.post("/v1/test-runs", json={"suite": "core", "salt": str(n)}).json()["run_id"]
        for n in range(51)
    ]
    world.execute(ids[0], Verdict.FAIL)
    first = client.get("/")
    made = outline(first)
    older = next(one for one in made.addresses if one.startswith("/?cursor="))
    second = client.get(older)
    outline(second)
    both = first.text + second.text
    assert all(f'href="/runs/{run_id}"' in both for run_id in ids)
    assert '<span class="verdict fail">fail</span>' in both


def test_the_page_of_a_run_has_what_a_person_needs(client: httpx.Client, world: World) -> None:
    run_id = client.post("/v1/test-runs", json={"suite": "core"}).json()["run_id"]
    waiting = client.get(f"/runs/{run_id}")
    outline(waiting)
    assert f'data-events="/v1/test-runs/{run_id}/events?last_event_id=1"' in waiting.text
    assert waiting.text.count("<script>") == 1
    world.execute(run_id, Verdict.FAIL, files={"reports/run.html": b"x"})
    ended = client.get(f"/runs/{run_id}")
    made = outline(ended)
    assert "testops run core --profile offline --seed 42 --chaos-seed 7" in ended.text
    assert f"/v1/test-runs/{run_id}/artifacts/reports/run.html?attempt=1" in made.addresses
    assert "<script>" not in ended.text


def test_a_person_without_a_session_is_told_how_to_get_one(address: str) -> None:
    for path in ("/", "/docs", f"/runs/{'0' * 16}"):
        held = {"accept": "text/html,application/xhtml+xml"}
        response = httpx.get(address + path, headers=held, trust_env=False)
        assert response.status_code == 401
        assert response.headers["content-type"].startswith("text/html")
        assert "testops login-link" in response.text


def test_the_policy_names_style_and_script_by_their_hashes(client: httpx.Client) -> None:
    run_id = client.post("/v1/test-runs", json={"suite": "core"}).json()["run_id"]
    response = client.get(f"/runs/{run_id}")
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    for tag, text in (("style", STYLE), ("script", SCRIPT)):
        [served] = re.findall(f"<{tag}>(.*?)</{tag}>", response.text, re.DOTALL)
        assert served == text
        digest = base64.b64encode(hashlib.sha256(served.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_what_others_wrote_is_text(client: httpx.Client, world: World) -> None:
    hostile = "<script>alert(1)</script>"
    suite = definition(description=hostile)
    asked = {"suite": suite, "build": {"version": hostile}, "labels": {"a": hostile}}
    run_id = client.post("/v1/test-runs", json=asked).json()["run_id"]
    world.execute(run_id, Verdict.FAIL, files={"a/<img src=x onerror=alert(1)>.txt": b"x"})
    for path in ("/", f"/runs/{run_id}"):
        response = client.get(path)
        outline(response)
        assert hostile not in response.text
        assert "<img" not in response.text


def test_the_reference_is_complete_and_needs_nothing_from_outside(client: httpx.Client) -> None:
    response = client.get("/docs")
    outline(response)
    assert "<script" not in response.text
    document = client.get("/openapi.json").json()
    for item in document["paths"].values():
        for operation in item.values():
            assert f"id='{operation['operationId']}'" in response.text
    for name in document["components"]["schemas"]:
        assert f"id='schema-{name}'" in response.text


def test_health_and_readiness_and_metrics(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "version": "0.1.0"}
    ready = client.get("/readyz")
    # Without a runner, requests are taken all the same; it is told.
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert {one["name"]: one["ok"] for one in ready.json()["checks"]} == {
        "database": True,
        "runner": False,
    }
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert client.get("/v1/runners").json() == {"runners": []}


def test_suites_and_profiles_are_listed_with_what_is_wrong(
    client: httpx.Client, world: World
) -> None:
    (world.root / "default" / "suites" / "broken.yaml").write_text("schema: 2\nname: broken\n")
    listed = {one["name"]: one for one in client.get("/v1/suites").json()["suites"]}
    assert listed["core"]["stages"] == ["sim"]
    assert listed["core"]["problem"] is None
    assert "/schema" in listed["broken"]["problem"]
    assert client.get("/v1/suites/core").json()["definition"]["seeds"] == {"sim": 42, "chaos": 7}
    assert client.get("/v1/suites/broken").status_code == 422
    assert client.get("/v1/suites/nothing").status_code == 404
    assert [one["name"] for one in client.get("/v1/profiles").json()["profiles"]] == ["offline"]
    assert client.get("/v1/profiles/offline").json()["definition"]["network"]
    for path in ("/v1/suites/schema", "/v1/profiles/schema"):
        schema = client.get(path)
        assert schema.json()["$schema"].startswith("https://json-schema.org/")
        held = {"if-none-match": schema.headers["etag"]}
        assert client.get(path, headers=held).status_code == 304


def test_a_run_without_a_verdict_says_its_state_once(client: httpx.Client) -> None:
    run_id = client.post("/v1/test-runs", json={"suite": "core"}).json()["run_id"]

    head = client.get(f"/runs/{run_id}").text.partition("<table")[0]

    assert head.count("queued") == 1
