"""What a run left is served byte for byte, and a browser runs nothing of it."""

import hashlib

import httpx
import pytest
from tests.api.conftest import World, problem

CONTENT = bytes(range(256)) * 4000
HTML = b"<!doctype html><script>alert(1)</script>"


@pytest.fixture
def run_id(client: httpx.Client, world: World) -> str:
    made: str = client.post("/v1/test-runs", json={"suite": "core"}).json()["run_id"]
    world.execute(
        made,
        files={"reports/run.html": HTML, "snapshots/big.bin": CONTENT, "reports/ü b.txt": b"hi"},
    )
    return made


def at(run_id: str, path: str) -> str:
    return f"/v1/test-runs/{run_id}/artifacts/{path}"


def test_the_list_has_every_file_with_its_digest(client: httpx.Client, run_id: str) -> None:
    response = client.get(f"/v1/test-runs/{run_id}/artifacts")
    listed = {one["path"]: one for one in response.json()["artifacts"]}
    assert set(listed) == {"reports/run.html", "snapshots/big.bin", "reports/ü b.txt"}
    for one in listed.values():
        content = client.get(one["url"]).content
        assert hashlib.sha256(content).hexdigest() == one["sha256"]
        assert len(content) == one["size"]
    held = {"if-none-match": response.headers["etag"]}
    assert client.get(f"/v1/test-runs/{run_id}/artifacts", headers=held).status_code == 304


def test_html_is_shown_in_a_sandbox(client: httpx.Client, run_id: str) -> None:
    headers = client.get(at(run_id, "reports/run.html")).headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-disposition"].startswith('inline; filename="run.html"')
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"


def test_what_a_browser_would_guess_about_is_saved(client: httpx.Client, run_id: str) -> None:
    headers = client.get(at(run_id, "snapshots/big.bin")).headers
    assert headers["content-disposition"].startswith("attachment")
    named = client.get(at(run_id, "reports/ü b.txt")).headers["content-disposition"]
    assert "filename=\"__b.txt\"; filename*=UTF-8''%C3%BC%20b.txt" in named


def test_the_entity_tag_is_the_digest(client: httpx.Client, run_id: str) -> None:
    response = client.get(at(run_id, "snapshots/big.bin"))
    tag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert response.headers["etag"] == tag
    for given in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        same = client.get(at(run_id, "snapshots/big.bin"), headers={"if-none-match": given})
        assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, len(CONTENT)),
        ("bytes=-5", len(CONTENT) - 5, len(CONTENT)),
        ("bytes=500000-99999999", 500_000, len(CONTENT)),
        ("bytes=-99999999", 0, len(CONTENT)),
    ],
)
def test_a_range_is_that_part(
    client: httpx.Client, run_id: str, header: str, start: int, end: int
) -> None:
    response = client.get(at(run_id, "snapshots/big.bin"), headers={"range": header})
    assert response.status_code == 206
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert response.content == CONTENT[start:end]


def test_a_range_that_is_not_there_is_416(client: httpx.Client, run_id: str) -> None:
    held = {"range": f"bytes={len(CONTENT)}-"}
    response = client.get(at(run_id, "snapshots/big.bin"), headers=held)
    problem(response, 416, "range-not-satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize("header", ["bytes=5-2", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "x"])
def test_a_range_that_is_not_read_is_ignored(
    client: httpx.Client, run_id: str, header: str
) -> None:
    response = client.get(at(run_id, "snapshots/big.bin"), headers={"range": header})
    assert (response.status_code, response.content) == (200, CONTENT)


def test_a_range_of_an_older_content_is_the_whole(client: httpx.Client, run_id: str) -> None:
    held = {"range": "bytes=0-9", "if-range": '"other"'}
    response = client.get(at(run_id, "snapshots/big.bin"), headers=held)
    assert (response.status_code, len(response.content)) == (200, len(CONTENT))


def test_each_attempt_keeps_its_own(client: httpx.Client, run_id: str, world: World) -> None:
    client.post(f"/v1/test-runs/{run_id}/rerun", json={"mode": "same"})
    world.execute(run_id, files={"reports/run.html": b"second"})
    assert client.get(at(run_id, "reports/run.html")).content == b"second"
    assert client.get(at(run_id, "reports/run.html?attempt=1")).content == HTML
    problem(client.get(at(run_id, "reports/run.html?attempt=3")), 404, "not-found")


def test_content_that_retention_removed_is_not_there(
    client: httpx.Client, run_id: str, world: World
) -> None:
    sha256 = hashlib.sha256(HTML).hexdigest()
    (world.root / "blobs" / sha256[:2] / sha256).unlink()
    body = problem(client.get(at(run_id, "reports/run.html")), 404, "not-found")
    assert "retention" in body["detail"]
